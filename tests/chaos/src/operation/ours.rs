//! Somebody tampers with the daemon's objects.

use std::fmt;

use anyhow::Result;

use super::{Operation, Subject};
use crate::dice::Dice;
use crate::intent::Intent;
use crate::site::Site;

/// A fault, and a number that chooses one of its targets.
#[derive(Debug)]
struct Tamper {
    fault: &'static Fault,
    number: usize,
}

/// The event, and the script that causes it: `$shim` is our shim, `$n` the number, and `one` prints one of
/// the lines that it reads.
#[derive(Debug)]
struct Fault {
    name: &'static str,
    script: &'static str,
}

/// The beginning of every script; see [`Fault`].
pub(super) const PRELUDE: &str = r#"
shims=$(ip -o link show group 7173)
shim=$(sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' <<<"$shims" | head -n 1)
[ -n "$shim" ] || { echo 'there is no shim' >&2; exit 1; }
one() {
  local lines
  mapfile -t lines
  [ ${#lines[@]} -gt 0 ] || { echo 'there is none' >&2; exit 1; }
  echo "${lines[n % ${#lines[@]}]}"
}
"#;

/// The one of [`FAULTS`] that causes no event.
const UNTOLD: &str = "a sysctl of the shim is changed that sends no event";

/// The ones that let frames of the shim onto the wire. As of Linux 6.16 a filter is bound to the name of its
/// link.
const OPENERS: [&str; 3] = ["the filter is deleted", "the filter is emptied", "the shim is renamed"];

/// The one that is possible only beside a foreign rule.
const RULES_DELETED: &str = "our rules are deleted";

/// The ones that bring another MAC.
const OTHER_MACS: [&str; 2] = ["the shim's MAC is changed", "a shim of ours too many"];

const FAULTS: [Fault; 28] = [
    Fault { name: "an IPv4 route is deleted", script: "r=$(ip route show table all proto 77 | one); ip route del $r" },
    Fault {
        name: "an IPv6 route is deleted",
        script: "r=$(ip -6 route show table all proto 77 | one); ip -6 route del $r",
    },
    Fault { name: "all routes are flushed", script: "ip route flush table all proto 77; ip -6 route flush table all proto 77" },
    Fault {
        name: "a route loses its source",
        script: "r=$(ip route show table all proto 77 | one); ip route replace $(sed 's/ src [^ ]*//' <<<$r) proto 77",
    },
    Fault { name: "a neighbour is deleted", script: "r=$(ip neigh show dev $shim proto 77 | one); ip neigh del ${r%% *} dev $shim" },
    Fault {
        name: "a neighbour gets a wrong MAC",
        script: "r=$(ip neigh show dev $shim proto 77 | one)
                 ip neigh change ${r%% *} lladdr 02:66:00:00:00:66 dev $shim nud permanent",
    },
    Fault {
        name: "a neighbour is no longer permanent",
        script: "r=$(ip neigh show dev $shim proto 77 | one); m=${r#* lladdr }
                 ip neigh change ${r%% *} lladdr ${m%% *} dev $shim nud stale",
    },
    Fault { name: "all neighbours are flushed", script: "ip neigh flush dev $shim nud all; ip -6 neigh flush dev $shim nud all" },
    Fault {
        name: "a proxy entry is deleted",
        script: "r=$(ip -6 neigh show proxy dev $shim | one); ip -6 neigh del proxy ${r%% *} dev $shim",
    },
    Fault { name: "a route of ours too many", script: "ip route replace 192.168.90.9 dev $shim proto 77 scope link" },
    Fault {
        name: "a neighbour of ours too many",
        script: "ip neigh replace fd90::9 lladdr 02:66:00:00:00:09 dev $shim nud permanent protocol 77",
    },
    Fault { name: "a proxy entry of ours too many", script: "ip -6 neigh replace proxy fd90::9 dev $shim protocol 77" },
    Fault { name: "the filter is deleted", script: "nft delete table netdev macvlan_shim" },
    Fault {
        name: "the filter is emptied",
        script: "nft flush table netdev macvlan_shim",
    },
    Fault { name: "the shim is set down", script: "ip link set $shim down" },
    Fault { name: "the shim is deleted", script: "ip link del $shim" },
    Fault { name: "the shim is renamed", script: "ip link set $shim name odd$((n % 1000))" },
    Fault { name: "the shim's MTU is changed", script: "ip link set $shim mtu $((1000 + n % 281))" },
    Fault {
        name: "the shim's MAC is changed",
        script: "ip link set $shim address $(printf 02:66:00:00:%02x:%02x $((n / 256 % 256)) $((n % 256)))",
    },
    Fault { name: "the shim is multicast", script: "ip link set $shim multicast on" },
    Fault { name: "the shim is without ARP", script: "ip link set $shim arp off" },
    Fault { name: "the shim is without carrier", script: "ip link set $shim protodown on" },
    Fault {
        name: "a sysctl of the shim is changed",
        script: "cd /proc/sys/net
                 r=$(printf '%s\\n' 'ipv4/conf/* rp_filter 0' 'ipv6/conf/* forwarding 0' 'ipv6/conf/* proxy_ndp 0' | one)
                 read -r folder key value <<<\"$r\"; echo $value >\"${folder/\\*/$shim}/$key\"",
    },
    Fault {
        name: UNTOLD,
        script: "cd /proc/sys/net
                 r=$(printf '%s\\n' 'ipv4/conf/* arp_filter 0' 'ipv4/conf/* accept_redirects 1' 'ipv4/conf/* send_redirects 1' \
                       'ipv6/conf/* accept_ra 2' 'ipv6/neigh/* proxy_delay 80' | one)
                 read -r folder key value <<<\"$r\"; echo $value >\"${folder/\\*/$shim}/$key\"",
    },
    Fault { name: "IPv6 is switched off on the shim", script: "echo 1 >/proc/sys/net/ipv6/conf/$shim/disable_ipv6" },
    Fault {
        name: RULES_DELETED,
        script: "r=$({ ip rule show table 77 | sed 's/^/-4 /'; ip -6 rule show table 77 | sed 's/^/-6 /'; } | one)
                 ip ${r%% *} rule del table 77",
    },
    Fault { name: "a rule of ours too many", script: "ip rule add pref 20000 lookup 77 protocol 77" },
    Fault {
        name: "a shim of ours too many",
        script: "up=$(sed -n 's/^[^@]*@\\([^:]*\\):.*/\\1/p' <<<\"$shims\" | head -n 1)
                 ip link add odd$((n % 1000)) link $up group 7173 type macvlan mode bridge",
    },
];

pub(super) fn draw(dice: &mut Dice, intent: &Intent) -> Option<Box<dyn Operation>> {
    let fault = FAULTS.get(dice.roll(FAULTS.len()))?;
    if fault.name == RULES_DELETED && intent.rules.is_empty() {
        return None;
    }
    Some(Box::new(Tamper { fault, number: dice.roll(1 << 16) }))
}

impl Operation for Tamper {
    fn subject(&self) -> Subject {
        Subject::Ours
    }

    fn kind(&self) -> &'static str {
        self.fault.name
    }

    fn is_told(&self) -> bool {
        self.fault.name != UNTOLD
    }

    fn brings_a_mac(&self) -> bool {
        OTHER_MACS.contains(&self.fault.name)
    }

    fn opens_the_wire(&self) -> bool {
        OPENERS.contains(&self.fault.name)
    }

    fn enter(&self, _: &mut Intent) {}

    fn perform(&self, site: &Site, _: &Intent) -> Result<()> {
        site.host.sh(&format!("n={}{PRELUDE}{}", self.number, self.fault.script))?;
        Ok(())
    }
}

impl fmt::Display for Tamper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.fault.name, self.number)
    }
}
