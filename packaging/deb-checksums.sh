#!/bin/sh
# Adds the checksums of its files to a Debian package, which cargo-deb leaves out. `dpkg --verify` and debsums
# compare them. Files in /etc are not among them: dpkg knows these as configuration.
#
# usage: deb-checksums.sh PACKAGE.deb
set -eu

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
dpkg-deb --raw-extract "$1" "$tree"
chmod 755 "$tree"
(cd "$tree" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
chmod 644 "$tree/DEBIAN/md5sums"
dpkg-deb --root-owner-group --build "$tree" "$1" >/dev/null
