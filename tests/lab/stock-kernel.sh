#!/bin/bash
# Runs tests that need root but no server under the distribution's own kernel, in a VM that QEMU emulates, so
# that it needs nothing of the machine's processor. It takes some minutes. Prints their output, and exits with
# their status.
#
# usage: stock-kernel.sh TEST... [-- ARGUMENT...]     as for `cargo test --test`; what `setup.sh debian qemu` makes is needed
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
vm=$here/../../target/lab/vm
limit=20m

# Prints the paths of the executables of these tests.
build() {
  local selected=() test
  for test in "$@"; do selected+=(--test "$test"); done
  (cd "$here/../.." && cargo test --no-run --locked --message-format=json "${selected[@]}") |
    sed -n 's/.*"kind":\["test"\].*"executable":"\([^"]*\)".*/\1/p'
}

# PID 1 of the VM. The first serial port carries the output, the second the exit status.
print_init() {
  cat <<'INIT'
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
uname -sr
status=0
for test in /tests/*; do "$test" --color=never "$@" || status=$?; done
echo $status >/dev/ttyS1
busybox reboot -f
INIT
}

boot() {
  setpriv --pdeathsig KILL timeout --foreground "$limit" setpriv --pdeathsig KILL "$here/vm.sh" "$vm" \
    "quiet panic=-1 init=/init -- $*" -no-reboot -serial "file:$vm/status" </dev/null | tr -d '\r'
}

tests=() arguments=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do tests+=("$1"); shift; done
[ $# -eq 0 ] || { shift; arguments=("$@"); }
[ ${#tests[@]} -gt 0 ] || { echo "usage: stock-kernel.sh TEST... [-- ARGUMENT...]" >&2; exit 2; }

mapfile -t executables < <(build "${tests[@]}")
[ ${#executables[@]} = ${#tests[@]} ] || { echo "stock-kernel: cargo did not build ${tests[*]}" >&2; exit 1; }
mkdir -p "$(dirname "$vm")"
exec 9>"$vm.lock"
flock 9
trap 'rm -rf "$vm"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$vm/files/tests"
: >"$vm/status"
cp -L "${executables[@]}" "$vm/files/tests/"
print_init >"$vm/files/init"
chmod 755 "$vm/files/init"
boot "${arguments[@]}"
status=$(tr -d '\r' <"$vm/status")
[ -n "$status" ] || { echo "stock-kernel: the VM ended before its tests did" >&2; exit 1; }
exit "$status"
