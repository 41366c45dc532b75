#!/bin/bash
# Runs every test, on a machine that tests/lab/setup.sh has prepared. This is `make test`. Every suite runs
# even if one before failed; in that case the script fails at the end.
#
# Suites that need the machine for themselves come first. Then the others run side by side, because the
# stories of `live` and `package` spend most of their time waiting. The lab decides how many run at a time
# (tests/lab/src/place.rs). The output of each suite comes in one piece, always in the same order, and is also
# in target/tests.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

export RUST_LIB_BACKTRACE=0
logs=target/tests
alone=(full_table kernel_full_table)
stories=(live package)

# Everything runs in its own process groups, which end with this script. Nothing is left after Ctrl-C.
set -m
jobs=()
end() {
  trap - INT TERM HUP
  for job in "${jobs[@]}"; do kill -INT -- "-$job" 2>/dev/null || :; done
  wait
  exit 130
}
trap end INT TERM HUP

# All suites except the named ones.
suites() {
  local all suite
  all=$(cargo metadata --no-deps --format-version 1 --locked |
    grep -oP '"kind":\["test"\],"crate_types":\["bin"\],"name":"\K[^"]+')
  for suite in $all; do
    if [[ " $* " != *" $suite "* ]]; then printf -- '--test %s ' "$suite"; fi
  done
}

# Runs cargo in the background: NAME THREADS ARGUMENT...
start() {
  local name=$1 threads=${RUST_TEST_THREADS:-$2} log=$logs/$1.log begun=$SECONDS status=0
  shift 2
  : >"$log" # before anybody follows it
  {
    RUST_TEST_THREADS=$threads cargo test --workspace --locked --no-fail-fast "$@" || status=$?
    echo "run.sh: $name took $((SECONDS - begun)) s"
    exit "$status"
  } </dev/null >>"$log" 2>&1 &
  jobs+=($!)
}

# Shows the output of the first of the jobs until it ends: NAME
status=0
show() {
  local job=${jobs[0]}
  tail -q -n +1 -f --pid="$job" "$logs/$1.log" &
  jobs+=($!)
  wait "$job" || status=$?
  wait "${jobs[-1]}" || :
  unset 'jobs[-1]'
  jobs=("${jobs[@]:1}")
}

mkdir -p "$logs"
rest=$(suites "${alone[@]}" "${stories[@]}")
[ -n "$rest" ] || { echo 'run.sh: cargo metadata names no suites' >&2; exit 1; }

start build 1 --quiet --no-run
show build
[ "$status" = 0 ] || exit "$status"

start alone 1 "${alone[@]/#/--test=}"
show alone

# shellcheck disable=SC2086
start rest 3 --lib --bins $rest
start live 6 --test live
start package 3 --test package
start doc 1 --doc
for name in rest live package doc; do show $name; done

if [ "$status" != 0 ]; then
  echo "run.sh: failed, after $SECONDS s:" >&2
  grep -hE '^test .* FAILED$' "$logs"/{alone,rest,live,package,doc}.log >&2 || :
  exit 1
fi
echo "run.sh: all is well, after $SECONDS s"
