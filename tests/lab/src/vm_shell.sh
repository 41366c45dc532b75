#!/bin/bash
# Runs the lab's scripts, which come through the second serial port (vm.rs): first the size of a script, then
# the script. Answers with its status, the sizes of its stdout and stderr, and both. Says "ready" at first.
cd /
exec >/dev/ttyS1 2>/dev/null
stty -F /dev/ttyS1 115200 raw -echo
printf '\nready\n'   # on a line of its own, whatever a reboot has cut off
# Through a pipe, because `read` takes more than it needs from a terminal.
cat /dev/ttyS1 | while read -r size; do
  head -c "$size" >/run/lab-script
  status=0
  timeout 300 bash -euo pipefail /run/lab-script </dev/null >/run/lab-stdout 2>/run/lab-stderr || status=$?
  echo "$status $(stat -c %s /run/lab-stdout) $(stat -c %s /run/lab-stderr)"
  cat /run/lab-stdout /run/lab-stderr
done
