//! Events of the host's uplink.

use std::fmt;

use anyhow::Result;

use super::{Operation, Subject};
use crate::dice::Dice;
use crate::foreign::restore;
use crate::intent::Intent;
use crate::site::{Site, v4, v6};

/// Events of the uplink. As always, the manager of the host's network restores it afterwards.
#[derive(Clone, Copy, Debug)]
enum Change {
    Down,
    Up,
    CarrierLost,
    CarrierBack,
    /// The last part of the IPv4 address and its prefix length; `None` takes it away.
    V4(Option<(u8, u8)>),
    V6(u8, bool),
    /// It moves to this number in both families, as with DHCP and router advertisements: the new addresses
    /// come, and the old ones are deprecated and go.
    Renumbered(u8),
    Mtu(u32),
    Renamed(&'static str),
}

pub(super) fn draw(dice: &mut Dice, intent: &Intent) -> Option<Box<dyn Operation>> {
    let uplink = &intent.uplink;
    let change = match dice.roll(18) {
        0 | 1 if uplink.up => Change::Down,
        0 | 1 => Change::Up,
        2 | 3 if uplink.carrier => Change::CarrierLost,
        2 | 3 => Change::CarrierBack,
        4..8 => {
            let others = [Some((11, 24)), Some((14, 24)), Some((11, 25)), None];
            Change::V4(dice.pick(&others.into_iter().filter(|v4| *v4 != uplink.v4).collect::<Vec<_>>())?)
        }
        8..12 => {
            let number = if dice.chance(50) { 11 } else { 14 };
            Change::V6(number, !uplink.v6.contains(&number))
        }
        12 | 13 => Change::Mtu(dice.pick(&[1280, 1400, 1500, 9000])?),
        14 | 15 if uplink.up => {
            Change::Renumbered(if uplink.v4.is_some_and(|(number, _)| number == 11) { 14 } else { 11 })
        }
        _ if uplink.name == "eth0" => Change::Renamed("lan0"),
        _ => Change::Renamed("eth0"),
    };
    Some(Box::new(change))
}

/// The operation that restores it.
pub(super) fn cures(intent: &Intent) -> Vec<Box<dyn Operation>> {
    let uplink = &intent.uplink;
    let mut cures: Vec<Change> = Vec::new();
    cures.extend((!uplink.up).then_some(Change::Up));
    cures.extend((!uplink.carrier).then_some(Change::CarrierBack));
    cures.extend((uplink.v4.is_none()).then_some(Change::V4(Some((11, 24)))));
    cures.extend((!uplink.v6.contains(&11)).then_some(Change::V6(11, true)));
    cures.extend((uplink.name != "eth0").then_some(Change::Renamed("eth0")));
    cures.into_iter().map(|change| Box::new(change) as Box<dyn Operation>).collect()
}

impl Operation for Change {
    fn subject(&self) -> Subject {
        Subject::Uplink
    }

    fn kind(&self) -> &'static str {
        match self {
            Change::Down => "the uplink goes down",
            Change::Up => "the uplink comes up",
            Change::CarrierLost => "the carrier is lost",
            Change::CarrierBack => "the carrier is back",
            Change::V4(None) => "the host loses its IPv4 address",
            Change::V4(Some(_)) => "the host is renumbered, its old address first",
            Change::Renumbered(_) => "the host is renumbered, its new addresses first",
            Change::V6(_, false) => "the host loses an IPv6 address",
            Change::V6(_, true) => "the host gets an IPv6 address",
            Change::Mtu(_) => "the uplink's MTU is changed",
            Change::Renamed(_) => "the uplink is renamed",
        }
    }

    fn enter(&self, intent: &mut Intent) {
        let uplink = &mut intent.uplink;
        match *self {
            Change::Down => uplink.up = false,
            Change::Up => uplink.up = true,
            Change::CarrierLost => uplink.carrier = false,
            Change::CarrierBack => uplink.carrier = true,
            Change::V4(v4) => uplink.v4 = v4,
            Change::V6(number, true) => drop(uplink.v6.insert(number)),
            Change::V6(number, false) => drop(uplink.v6.remove(&number)),
            Change::Renumbered(number) => (uplink.v4, uplink.v6) = (Some((number, 24)), [number].into()),
            Change::Mtu(mtu) => uplink.mtu = mtu,
            Change::Renamed(name) => uplink.name = name,
        }
    }

    fn perform(&self, site: &Site, intent: &Intent) -> Result<()> {
        let up = intent.uplink.name;
        let script = match *self {
            Change::CarrierLost => return site.port.carrier(false),
            Change::CarrierBack => return site.port.carrier(true),
            Change::Down => format!("ip link set {up} down"),
            Change::Up => format!("ip link set {up} up"),
            Change::V4(_) => format!("ip -4 addr flush dev {up}"),
            Change::V6(number, false) => format!("ip addr del {}/64 dev {up}", v6(number)),
            Change::V6(_, true) => String::new(),
            Change::Renumbered(number) => renumber(up, number),
            Change::Mtu(mtu) => format!("ip link set {up} mtu {mtu}"),
            Change::Renamed(_) => {
                let old = if up == "eth0" { "lan0" } else { "eth0" };
                format!("ip link set {old} name {up}")
            }
        };
        site.host.sh(&format!("{script}\n{}", restore(intent)))?;
        Ok(())
    }
}

/// Deletes all lasting addresses except those of this number, once those exist. Without
/// `promote_secondaries`, which is on wherever hosts are renumbered like this, the kernel would take the new
/// IPv4 address together with the old one.
fn renumber(up: &str, number: u8) -> String {
    let (v4, v6) = (v4(number), v6(number));
    format!(
        "promote=/proc/sys/net/ipv4/conf/{up}/promote_secondaries; was=$(cat $promote); echo 1 >$promote
         ip addr replace {v4}/24 dev {up}; ip addr replace {v6}/64 dev {up} nodad
         old=$(ip -o addr show dev {up} scope global permanent | awk '{{ print $4 }}' | grep -vE '^({v4}|{v6})/' || :)
         for a in $old; do ip addr change $a dev {up} preferred_lft 0 valid_lft 30; done
         sleep 0.2
         for a in $old; do ip addr del $a dev {up}; done
         echo $was >$promote"
    )
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Change::V4(Some((number, length))) => write!(f, "{kind}: {}/{length}", v4(*number)),
            Change::V6(number, _) => write!(f, "{kind}: {}", v6(*number)),
            Change::Renumbered(number) => write!(f, "{kind}: {}, {}", v4(*number), v6(*number)),
            Change::Mtu(mtu) => write!(f, "{kind}: {mtu}"),
            Change::Renamed(name) => write!(f, "{kind}: {name}"),
            _ => f.write_str(kind),
        }
    }
}
