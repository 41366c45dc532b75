#!/bin/bash
# Installs the lab's dependencies on Debian: LXD, Incus and the network tools. `debian` also builds the root
# file system that the lab boots (root.sh). `qemu` also installs the programs for a VM, `fuzz` those that
# build libFuzzer, `packages` those that make and check packages, and `lint` those that check dependencies.
# Run it as root, as often as you like. It starts no services, upgrades no packages, and takes only Incus from
# backports.
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

packages=(
  lxd lxd-client incus-base incus-client          # the servers
  dnsmasq-base nftables tcpdump busybox-static    # the LAN, NAT, captures, the guests' image
  iproute2 iputils-ping iputils-arping procps util-linux
  keepalived                                      # VRRP between guests
  perl-base                                       # a user of the control socket
  strace systemd                                  # proofs of what is not done, a socket that starts its server
  prometheus                                      # promtool, which checks metrics and alerts
  gcc libc6-dev                                   # the linker that Rust calls
)
tools=()   # of cargo's registry
for part in "$@"; do
  case $part in
    debian) packages+=(mmdebstrap) ;;
    qemu) packages+=(qemu-system-x86 e2fsprogs) ;;
    fuzz) packages+=(g++) ;;
    packages)
      packages+=(lintian rpm rpmlint)
      tools+=(cargo-deb cargo-generate-rpm cargo-cyclonedx)
      ;;
    lint) tools+=(cargo-deny cargo-machete) ;;
    *) die "usage: setup.sh [debian] [qemu] [fuzz] [packages] [lint]" ;;
  esac
done
policy=/usr/sbin/policy-rc.d
policy_mark='# written by the setup of the macvlan-shim lab'

missing_packages() {
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${binary:Package}\n' "${packages[@]}" 2>/dev/null) || true
  installed=$(sed -n 's/^installed \([^:]*\).*/\1/p' <<<"$installed")
  for p in "${packages[@]}"; do
    grep -qxF "$p" <<<"$installed" || echo "$p"
  done
}

check_rust() {
  local want have
  want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/../../Cargo.toml" | head -n 1)
  if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
    die "no cargo or rustc in PATH. Install Rust $want or newer with rustup (https://rustup.rs), open a new shell and run this again."
  fi
  have=$(rustc --version | cut -d ' ' -f 2)
  if [ "$(printf '%s\n' "$want" "$have" | sort -V | head -n 1)" != "$want" ]; then
    die "rustc is $have, but $want or newer is needed: rustup update stable"
  fi
}

# Prints "uris|signed-by|suites" of each binary archive in the machine's own apt sources.
archives() {
  local files=(/etc/apt/sources.list.d/*.sources) lists=(/etc/apt/sources.list /etc/apt/sources.list.d/*.list)
  for f in "${files[@]}"; do
    [ -f "$f" ] || continue
    awk 'BEGIN { RS = ""; FS = "\n" }
      { u = ""; s = ""; k = ""; t = ""; off = 0
        for (i = 1; i <= NF; i++) {
          if ($i ~ /^#/) continue
          v = $i; sub(/^[^:]*:[ \t]*/, "", v); n = tolower($i)
          if (n ~ /^uris:/) u = v; else if (n ~ /^suites:/) s = v; else if (n ~ /^types:/) t = v
          else if (n ~ /^signed-by:/) k = v; else if (n ~ /^enabled:[ \t]*no/) off = 1
        }
        if (!off && u != "" && (" " t " ") ~ / deb /) print u "|" k "|" s }' "$f"
  done
  for f in "${lists[@]}"; do
    [ -f "$f" ] || continue
    sed -nE 's/^[ \t]*deb[ \t]+(\[[^]]*\][ \t]+)?([^ \t]+)[ \t]+([^ \t]+)[ \t].*/\1|\2|\3/p' "$f" |
      while IFS='|' read -r options uri suite; do
        key=$(sed -nE 's/.*signed-by=([^] \t]+).*/\1/p' <<<"$options")
        echo "$uri|$key|$suite"
      done
  done
}

has_candidate() { apt-cache policy "$1" | grep -Eq 'Candidate: [0-9]'; }

# Incus is in backports on Debian 12. Add that suite of the same archive, pinned so low that nothing comes
# from it by itself.
add_backports() {
  local uris='' key='' uri k suites
  while IFS='|' read -r uri k suites; do
    if [[ " $suites " == *" $codename "* ]]; then uris=$uri key=$k; break; fi
  done < <(archives)
  [ -n "$uris" ] || die "no apt source for suite '$codename' in /etc/apt: add ${codename}-backports yourself and run this again"
  say "adding ${codename}-backports (pinned at 90) for Incus"
  printf 'Types: deb\nURIs: %s\nSuites: %s-backports\nComponents: main\n' "$uris" "$codename" >"$tmp/sources"
  [ -z "$key" ] || printf 'Signed-By: %s\n' "$key" >>"$tmp/sources"
  printf 'Package: *\nPin: release n=%s-backports\nPin-Priority: 90\n' "$codename" >"$tmp/pin"
  install -m 644 "$tmp/pin" /etc/apt/preferences.d/macvlan-shim-lab
  install -m 644 "$tmp/sources" /etc/apt/sources.list.d/macvlan-shim-lab.sources
}

hold_services() {
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" >"$tmp/policy"
    install -m 755 "$tmp/policy" $policy
  fi
}

release_services() {
  if [ -f $policy ] && grep -qF "$policy_mark" $policy; then rm -f $policy; fi
}

apt() { DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@" </dev/null; }

install_packages() {
  local named=() p
  say "installing: $*"
  tmp=$(mktemp -d)
  trap 'release_services; rm -rf "$tmp"' EXIT
  trap 'exit 130' INT TERM HUP
  hold_services
  dpkg --configure -a
  apt update
  if ! has_candidate incus-base; then
    add_backports
    # A source that apt cannot read must not stay, because it would break every later run, and the user's own
    # apt.
    apt update || {
      rm -f /etc/apt/sources.list.d/macvlan-shim-lab.sources /etc/apt/preferences.d/macvlan-shim-lab
      die "apt cannot read ${codename}-backports: add that suite of a Debian archive yourself and run this again"
    }
  fi
  for p in "$@"; do
    case $p in
      incus*) if apt-cache policy "$p" | grep -q -- "${codename}-backports"; then p=$p/${codename}-backports; fi ;;
    esac
    named+=("$p")
  done
  # If a machine already has parts of QEMU from backports, the rest comes from there too, because the versions
  # do not mix.
  apt install -y --no-install-recommends --no-upgrade "${named[@]}" ||
    apt install -y --no-install-recommends --no-upgrade -t "${codename}-backports" "${named[@]}" ||
    die "apt-get failed, see above"
  say "done; no service was started"
}

[ "$(id -u)" = 0 ] || die "must run as root, with rustup's cargo in root's PATH"
command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || die "needs Debian (12 or newer): dpkg and apt-get are not here"
check_rust
release_services   # left over only if an earlier run was killed
mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} = 0 ]; then
  say "nothing to do"
else
  install_packages "${missing[@]}"
fi
"$here/../../packaging/cargo-tools.sh" "${tools[@]}"
if [[ " $* " == *' debian '* ]]; then archives | "$here/root.sh" "$codename"; fi
