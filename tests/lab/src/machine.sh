# One machine of the lab, in two stages of the same script.
#
# `guardian`: outside, in a session of its own. Makes the cgroup, starts the init in new namespaces, reads the
#             same stdin to its end, helps frozen processes to die, and removes the cgroup, the one thing that
#             the kernel does not remove by itself.
# `init`:     PID 1 of the machine. Sets it up, prints "ready PID", and reads its stdin until that closes. The
#             process that made the lab holds the other end, so its end is also the end of PID 1, and that
#             ends every process, mount and namespace of the machine.
#
# usage: LAB_SCRIPT="$this" bash -c 'eval "$LAB_SCRIPT"' lab guardian NAME MACHINE_ID
set -eu

guardian() {
  local name=$1 hierarchies=() h pid never tries=0
  trap : INT TERM HUP
  for h in /sys/fs/cgroup /sys/fs/cgroup/*; do
    # cgroup v2: the folder itself; v1 and hybrid: one folder a hierarchy, where cpu may be a link to cpu,cpuacct
    if [ ! -L "$h" ] && [ -e "$h/cgroup.procs" ]; then hierarchies+=("$h"); fi
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then break; fi
  done
  remove_stale
  make_cgroups "${hierarchies[@]/%//mvlab-$$-$name}"
  (
    for h in "${hierarchies[@]}"; do echo $BASHPID >"$h/mvlab-$$-$name/init.scope/cgroup.procs"; done
    trap - INT TERM HUP
    exec unshare --fork --kill-child --pid --mount --net --uts --propagation private \
      bash -c 'eval "$LAB_SCRIPT"' lab init "$@"
  ) <&0 &
  pid=$!
  while read -r _; do :; done
  exec >/dev/null 2>&1   # whoever read these is gone
  exec {never}<> <(:)    # a pipe that says nothing: waiting for it costs less than running sleep
  while kill -0 "$pid"; do
    # It usually ends by itself.
    if [ $((tries += 1)) -gt 10 ]; then
      thaw "mvlab-$$-$name"
      wake "$(readlink "/proc/$pid/ns/pid_for_children")"
    fi
    read -r -t 0.02 -u "$never" _ || :
  done
  remove_cgroups "${hierarchies[@]/%//mvlab-$$-$name}"
}

# PID 1 lives in init.scope. LXC makes its own cgroups beside it, because it knows the systemd convention.
make_cgroups() {
  local top c f
  mkdir "$@"
  mkdir "${@/%//init.scope}"
  for top; do
    for c in "$top" "$top/init.scope"; do
      for f in cpuset.cpus cpuset.mems; do   # cgroup v1 starts them empty, and then nobody may enter
        if [ -f "$c/$f" ] && [ ! -f "$c/cgroup.controllers" ]; then echo "$(<"$c/../$f")" >"$c/$f"; fi
      done
    done
    if [ -f "$top/cgroup.controllers" ]; then
      for c in $(<"$top/cgroup.controllers"); do echo "+$c" >"$top/cgroup.subtree_control" 2>/dev/null || :; done
    fi
  done
}

# In cgroup v1, a paused guest cannot be killed, and then neither can its machine.
thaw() {
  local h f
  for h in "${hierarchies[@]}"; do
    [ -e "$h/$1/init.scope/freezer.state" ] || continue
    find "$h/$1" -name freezer.state | while read -r f; do echo THAWED >"$f" || :; done
  done
}

# A process that entered the machine from outside stops together with its program, and must go on to reap it.
wake() {
  find /proc/[0-9]*/ns/pid_for_children -lname "${1//[][]/?}" -printf '%h\n' 2>/dev/null |
    while IFS=/ read -r _ _ pid _; do kill -CONT "$pid" || :; done
}

remove_cgroups() {
  local tries left=("$@")
  for tries in {1..100}; do
    find "${left[@]}" -depth -type d -exec rmdir {} + 2>/dev/null || :
    mapfile -t left < <(for c; do if [ -d "$c" ]; then echo "$c"; fi; done)
    [ ${#left[@]} -gt 0 ] || return 0
    sleep 0.05   # the last processes of a dying PID namespace may still be on their way out
  done
}

# The leftovers of a guardian that was itself killed: empty cgroups named after a process that is gone.
remove_stale() {
  local c pid
  for h in "${hierarchies[@]}"; do
    for c in "$h"/mvlab-*; do
      pid=${c##*/mvlab-}
      pid=${pid%%-*}
      if [ -d "$c" ] && [ ! -d "/proc/$pid" ]; then find "$c" -depth -type d -exec rmdir {} + 2>/dev/null || :; fi
    done
  done
}

init() {
  local name=$1 id=$2 pid d
  read -r pid _ </proc/self/stat   # still the outer /proc, so this is the PID that the outside knows us by
  umask 022
  echo "$name" >/proc/sys/kernel/hostname
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/lab/{home,cgroup,etc,etc.work,lib,lib.work} /run/lock
  mount --rbind /sys/fs/cgroup /run/lab/cgroup
  mount -t sysfs sysfs /sys   # shows the links of this network namespace
  mount --rbind /run/lab/cgroup /sys/fs/cgroup
  umount -l /run/lab/cgroup
  mount -t proc proc /proc
  # AppArmor profiles are global to the kernel, so the servers in here must not find it.
  if [ -e /sys/module/apparmor/parameters/enabled ]; then
    echo N >/run/lab/apparmor
    mount --bind /run/lab/apparmor /sys/module/apparmor/parameters/enabled
  fi
  mount -t overlay -o lowerdir=/etc,upperdir=/run/lab/etc,workdir=/run/lab/etc.work overlay /etc
  mount -t overlay -o lowerdir=/var/lib,upperdir=/run/lab/lib,workdir=/run/lab/lib.work overlay /var/lib
  mount -t tmpfs -o mode=755 tmpfs /var/cache
  mount -t tmpfs -o mode=755 tmpfs /var/log
  mkdir -p /var/{log,lib,cache}/{lxd,incus} /var/lib/misc /etc/macvlan-shim
  for d in lxd incus; do
    mount -t tmpfs -o mode=711 tmpfs "/var/lib/$d"   # guests' root users must be able to traverse it
  done
  rm -rf /etc/machine-id /etc/macvlan-shim/* /etc/hostname /etc/hosts
  echo "$id" >/etc/machine-id
  echo "$name" >/etc/hostname
  printf '127.0.0.1 localhost %s\n::1 localhost %s\n' "$name" "$name" >/etc/hosts
  ip link set lo up
  echo "ready $pid"
  exec >/dev/null 2>&1
  while read -r _; do :; done
}

"$@"
