#!/bin/bash
# Runs what the lab sends through the second serial port (vm.rs): the size of a script, the script; and answers with its
# status, the sizes of its stdout and stderr, both. Says "ready" at first.
cd /
exec >/dev/ttyS1 2>/dev/null
stty -F /dev/ttyS1 115200 raw -echo
printf '\nready\n'   # on a line of its own, whatever a reboot has cut off
# Through a pipe: of a terminal, `read` takes more than it needs.
cat /dev/ttyS1 | while read -r size; do
  head -c "$size" >/run/lab-script
  status=0
  timeout 300 bash -euo pipefail /run/lab-script </dev/null >/run/lab-stdout 2>/run/lab-stderr || status=$?
  echo "$status $(stat -c %s /run/lab-stdout) $(stat -c %s /run/lab-stderr)"
  cat /run/lab-stdout /run/lab-stderr
done
