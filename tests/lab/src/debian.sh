# Boots a Debian of the lab, in two stages of the same script that run in its chassis (debian.rs).
#
# `power`:  makes its own cgroup in that of the chassis, and new namespaces.
# `kernel`: PID 1, does the work of a kernel and an initrd: file systems, host name, root. Prints "ready" and
#           waits until the cables are plugged in. Then it becomes systemd, which mounts the rest.
#
# usage: LAB_SCRIPT="$this" bash -c 'eval "$LAB_SCRIPT"' lab power CGROUP
set -eu

power() {
  local cgroup=$1 h c f
  for h in /sys/fs/cgroup /sys/fs/cgroup/*; do
    c=$h/$cgroup/debian
    if [ -L "$h" ] || [ ! -d "$h/$cgroup" ]; then continue; fi
    if [ -d "$c" ]; then find "$c" -depth -type d -exec rmdir {} +; fi   # of the boot before
    mkdir "$c"
    for f in cpuset.cpus cpuset.mems; do   # cgroup v1 starts them empty, and then nobody may enter
      if [ -f "$c/$f" ] && [ ! -f "$c/cgroup.controllers" ]; then cat "$c/../$f" >"$c/$f"; fi
    done
    echo $$ >"$c/cgroup.procs"
  done
  exec unshare --fork --kill-child --pid --mount --net --uts --ipc --cgroup --propagation private \
    bash -c 'eval "$LAB_SCRIPT"' lab kernel
}

# The existing hierarchies, because systemd would join some of cgroup v1 that are separate here.
mount_cgroups() {
  local h name
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    return
  fi
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  for h in /sys/fs/cgroup/*; do
    name=${h##*/}
    if [ -L "$h" ]; then cp -P "$h" "sys/fs/cgroup/$name"; continue; fi
    mkdir "sys/fs/cgroup/$name"
    case $name in
      unified) mount -t cgroup2 cgroup2 "sys/fs/cgroup/$name" ;;
      systemd) mount -t cgroup -o none,name=systemd cgroup "sys/fs/cgroup/$name" ;;
      *) mount -t cgroup -o "$name" cgroup "sys/fs/cgroup/$name" ;;
    esac
  done
}

kernel() {
  umask 022
  cd /run/lab/root
  cat etc/hostname >/proc/sys/kernel/hostname
  mount -t proc proc proc
  # Everything in /proc/sys except the network's part belongs to the whole machine.
  mount --bind proc/sys proc/sys
  mount --bind proc/sys/net proc/sys/net
  mount -o remount,ro,bind proc/sys
  mount -t sysfs sysfs sys   # shows the links of this network namespace
  mount_cgroups
  mount -t tmpfs -o mode=755 tmpfs run
  mkdir -p run/lab/{home,proc}
  mount -t proc proc run/lab/proc   # a guest may mount its own only where a whole one is to be seen
  # AppArmor profiles are global to the kernel, so the servers in here must not find it.
  if [ -e sys/module/apparmor/parameters/enabled ]; then
    echo N >run/lab/apparmor
    mount --bind run/lab/apparmor sys/module/apparmor/parameters/enabled
  fi
  mount -t tmpfs -o mode=755 tmpfs dev
  mkdir dev/{pts,shm,net}
  cp -a /dev/{null,zero,full,random,urandom,tty,fuse} dev/
  cp -a /dev/net/tun dev/net/
  mount -t devpts -o newinstance,mode=620,ptmxmode=666,gid=5 devpts dev/pts
  mount -t tmpfs tmpfs dev/shm
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  ln -s fd/0 dev/stdin
  ln -s fd/1 dev/stdout
  ln -s fd/2 dev/stderr
  ip link set lo up
  echo ready
  read -r _ </run/lab/cables
  pivot_root . mnt
  umount -l /mnt
  exec env -i container=lab /lib/systemd/systemd </dev/null >/dev/null 2>&1
}

"$@"
