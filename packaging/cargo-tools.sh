#!/bin/bash
# Builds tools from cargo's registry that are missing, each in a version that is known to work. They need
# nothing but Rust and its linker.
#
# usage: cargo-tools.sh TOOL...      such as cargo-deb
set -euo pipefail
shopt -s inherit_errexit

declare -A versions=(
  [cargo-deb]=3.8.0 [cargo-generate-rpm]=0.21.1 [cargo-cyclonedx]=0.5.9   # packages, and what is in them
  [cargo-deny]=0.20.2 [cargo-machete]=0.9.2                               # what checks dependencies
  [cargo-about]=0.9.3                                                     # their licences
)
declare -A features=([cargo-about]=cli)

installed=$(cargo install --list)
for tool in "$@"; do
  version=${versions[$tool]}
  if ! grep -q "^$tool v$version:" <<<"$installed"; then
    echo "cargo-tools: building $tool $version, some minutes"
    cargo install --quiet --locked --features "${features[$tool]:-}" "$tool@$version" </dev/null
  fi
done
