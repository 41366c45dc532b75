#!/bin/bash
# libFuzzer on each target (or on those named) for this many seconds: run.sh SECONDS [TARGET…]. It begins with
# the corpus of the target. It keeps interesting words in target/fuzz/corpus for the next run, and words that
# break something in target/fuzz/found. The compiler is the ordinary one, because that can count the code that
# is reached.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

seconds=$1
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(ls tests/fuzz/corpus)

flags='-Cpasses=sancov-module -Ccodegen-units=1'
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  flags+=" -Cllvm-args=-sanitizer-coverage-$option"
done
host=$(rustc -vV | sed -n 's/^host: //p')
out=${CARGO_TARGET_DIR:-target}/fuzz
# With --target the flags are only for the program itself, not for build scripts.
RUSTFLAGS=$flags cargo build --locked --quiet --profile fuzz --target "$host" --target-dir "$out" \
  -p macvlan-shim-fuzz --features guided --bin fuzz

mkdir -p "$out/found"
broken=0
for target in "${targets[@]}"; do
  mkdir -p "$out/corpus/$target"
  FUZZ_TARGET=$target "$out/$host/fuzz/fuzz" "$out/corpus/$target" "tests/fuzz/corpus/$target" \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=16384 -print_final_stats=1 \
    -artifact_prefix="$out/found/$target-" >"$out/$target.log" 2>&1 || broken=1
  sed -n '/^==\|ERROR\|panicked/p' "$out/$target.log"
  printf '%-10s %s\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$target.log") runs, $(
    grep -o 'cov: [0-9]*' "$out/$target.log" | tail -n 1), $(
    sed -n 's/^stat::peak_rss_mb: *//p' "$out/$target.log") MiB"
done
[ $broken = 0 ] || echo "see $out/found" >&2
exit $broken
