#!/bin/bash
# Runs every test this many times. One line for each run says how long it took and what failed. Fails if
# anything did.
#
# usage: tests/repeat.sh TIMES
set -uo pipefail
cd "$(dirname "$0")/.."

times=${1:?usage: tests/repeat.sh TIMES}
logs=target/tests
mkdir -p "$logs"
failures=0
for ((run = 1; run <= times; run++)); do
  begun=$SECONDS status=0
  log=$logs/run-$run.log
  tests/run.sh >"$log" 2>&1 || status=$?
  if [ "$status" = 130 ]; then exit 130; fi
  failed=$(sed -nE 's/^test (.*) \.\.\. FAILED$/\1/p' "$log" | sort -u | xargs)
  if [ "$status" = 0 ]; then
    verdict=passed
  else
    verdict="FAILED: ${failed:-exit status $status} ($log)"
    failures=$((failures + 1))
  fi
  echo "run $run of $times: $(((SECONDS - begun) / 60)) min $(((SECONDS - begun) % 60)) s, $verdict"
done
[ "$failures" = 0 ]
