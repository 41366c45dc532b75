#!/bin/bash
# Runs tests that need root but no server under the distribution's own kernel, in a VM that QEMU emulates, so that it
# needs nothing of the machine's processor: some minutes. Prints what they print, and exits as they do.
#
# usage: stock-kernel.sh TEST... [-- ARGUMENT...]     as for `cargo test --test`; what `setup.sh debian qemu` makes is needed
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../../target/lab/root
vm=$here/../../target/lab/vm
limit=20m

# Prints the paths of the executables of these tests.
build() {
  local selected=() test
  for test in "$@"; do selected+=(--test "$test"); done
  (cd "$here/../.." && cargo test --no-run --locked --message-format=json "${selected[@]}") |
    sed -n 's/.*"kind":\["test"\].*"executable":"\([^"]*\)".*/\1/p'
}

# A disk with the root file system, and upon it the tests and what starts them.
make_disk() {
  unshare --mount --propagation private bash -euc '
    root=$1 vm=$2; shift 2
    mount -t tmpfs tmpfs /mnt
    mkdir -p /mnt/{upper/tests,work,merged}
    cp -L "$@" /mnt/upper/tests/
    cp "$vm/init" /mnt/upper/init
    mount -t overlay -o "lowerdir=$root,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/merged
    mke2fs -q -t ext4 -F -d /mnt/merged "$vm/disk" 2G >/dev/null
  ' disk "$root" "$vm" "$@"
}

# PID 1 of the VM. The first serial port is what is printed, the second what is exited with.
print_init() {
  cat <<'INIT'
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/run
ip link set lo up
uname -sr
status=0
for test in /tests/*; do "$test" --color=never "$@" || status=$?; done
echo $status >/dev/ttyS1
busybox reboot -f
INIT
}

boot() {
  setpriv --pdeathsig KILL timeout --foreground "$limit" setpriv --pdeathsig KILL qemu-system-x86_64 \
    -accel tcg,thread=multi -cpu max -M q35 -smp 2 -m 1024 -display none -nodefaults -no-reboot \
    -kernel "$root"/vmlinuz -initrd "$root"/initrd.img \
    -append "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 panic=-1 init=/init -- $*" \
    -drive "file=$vm/disk,if=virtio,format=raw,cache=unsafe" \
    -serial stdio -serial "file:$vm/status" </dev/null | tr -d '\r'
}

tests=() arguments=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do tests+=("$1"); shift; done
[ $# -eq 0 ] || { shift; arguments=("$@"); }
[ ${#tests[@]} -gt 0 ] || { echo "usage: stock-kernel.sh TEST... [-- ARGUMENT...]" >&2; exit 2; }

mapfile -t executables < <(build "${tests[@]}")
[ ${#executables[@]} = ${#tests[@]} ] || { echo "stock-kernel: cargo did not build ${tests[*]}" >&2; exit 1; }
mkdir -p "$vm"
exec 9>"$vm.lock"
flock 9
trap 'rm -rf "$vm"' EXIT
trap 'exit 130' INT TERM HUP
: >"$vm/status"
print_init >"$vm/init"
chmod 755 "$vm/init"
make_disk "${executables[@]}"
boot "${arguments[@]}"
status=$(tr -d '\r' <"$vm/status")
[ -n "$status" ] || { echo "stock-kernel: the VM ended before its tests did" >&2; exit 1; }
exit "$status"
