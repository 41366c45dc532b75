#!/bin/bash
# Boots the lab's Debian (root.sh) under its own kernel in a VM that QEMU emulates, so that it needs nothing
# of the machine's processor. Its console, the first serial port, is stdin and stdout. It ends when QEMU does.
#
# usage: vm.sh FOLDER KERNEL-ARGUMENTS QEMU-ARGUMENT...      FOLDER/files comes upon the root file system: FOLDER/disk
set -euo pipefail
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && realpath ../../target/lab/root)
folder=$1 kernel_arguments=$2
shift 2

make_disk() {
  unshare --mount --propagation private bash -euc '
    root=$1 folder=$2
    mount -t tmpfs tmpfs /mnt
    mkdir /mnt/{work,merged}
    cp -a "$folder/files" /mnt/upper
    mount -t overlay -o "lowerdir=$root,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/merged
    mke2fs -q -t ext4 -F -d /mnt/merged "$folder/disk" 2G >/dev/null
  ' disk "$root" "$folder"
}

make_disk
exec qemu-system-x86_64 -accel tcg,thread=multi -cpu max -M q35 -smp 2 -m 1024 -display none -nodefaults \
  -kernel "$root/vmlinuz" -initrd "$root/initrd.img" \
  -append "root=/dev/vda rw console=ttyS0 net.ifnames=0 $kernel_arguments" \
  -drive "file=$folder/disk,if=virtio,format=raw,cache=unsafe" -serial stdio "$@"
