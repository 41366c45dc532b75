#!/bin/bash
# Builds the root file system of the lab's Debian, which boots with systemd (src/debian.rs) and under a stock
# kernel: target/lab/root. Quick if it already exists.
#
# usage: root.sh CODENAME <<<"URI|KEY|SUITES"      one line for each binary archive, as `archives` of setup.sh prints them
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../../target/lab/root
new=$root.new
stamp=etc/macvlan-shim-lab

packages=(
  systemd-sysv dbus udev kmod busybox-static ca-certificates
  iproute2 iputils-ping iputils-arping nftables
  lxd lxd-client
  "linux-image-cloud-$(dpkg --print-architecture)" initramfs-tools
)
# Not installed. Their packages, with all dependencies, are in a folder each.
archives=/var/lib/lab
incus=(incus-base incus-client)
rpm=(rpm)

sources() {
  local codename=$1 uri key suites suite
  while IFS='|' read -r uri key suites; do
    for suite in $suites; do
      case $suite in
        "$codename" | "$codename-updates" | "$codename-security" | "$codename-backports") echo "deb ${key:+[signed-by=$key]} $uri $suite main" ;;
      esac
    done
  done
}

build() {
  local codename=$1 from
  mapfile -t from < <(sources "$codename")
  [ ${#from[@]} -gt 0 ] || { echo "setup: no apt source for '$codename' in /etc/apt" >&2; exit 1; }
  trap 'rm -rf "$new"' EXIT
  trap 'exit 130' INT TERM HUP
  rm -rf "$new" "$root"
  mmdebstrap --quiet --mode=root --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --customize-hook="$(fetch incus "${incus[@]}"; fetch rpm "${rpm[@]}")" \
    "$codename" "$new" "${from[@]}" </dev/null
  rm -f "$new/usr/sbin/policy-rc.d"
  # Coldplug is about the devices of the whole machine. Only the network devices are ours.
  mkdir -p "$new/etc/systemd/system/systemd-udev-trigger.service.d"
  printf '[Service]\nExecStart=\nExecStart=udevadm trigger --action=add --subsystem-match=net\n' \
    >"$new/etc/systemd/system/systemd-udev-trigger.service.d/lab.conf"
  systemctl --root="$new" --quiet mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer
  wanted >"$new/$stamp"
  mv "$new" "$root"
}

# The command that puts packages into the new system without installing them. It runs outside, with apt set up
# for the new system.
fetch() {
  local folder="\"\$1$archives/$1\""
  shift
  echo "mkdir -p $folder/partial
    APT_CONFIG=\$MMDEBSTRAP_APT_CONFIG apt-get -q install -y --no-install-recommends --download-only \
      -o Dir::Cache::Archives=$folder/ $* </dev/null"
}

wanted() { sha256sum <"${BASH_SOURCE[0]}"; }

mkdir -p "$(dirname "$root")"
exec 9>"$root.lock"
flock 9
if [ "$(cat "$root/$stamp" 2>/dev/null)" != "$(wanted)" ]; then
  echo "setup: building a Debian $1 for the lab, about 40 s"
  build "$1"
fi
