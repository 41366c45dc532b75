//! Actions and events of guests. Some of them are malicious.

use std::fmt;

use anyhow::{Context, Result};

use super::{Operation, Subject};
use crate::dice::Dice;
use crate::intent::{GuestIntent, Intent};
use crate::site::{ROLES, Site, v4, v6};

/// An address that guests take besides their own.
pub(crate) const CLAIMS: [&str; 13] = [
    "192.168.90.5/24",
    "fd90::5/64",
    "192.168.90.6/32",
    // The host's.
    "192.168.90.11/24",
    "fd90::11/64",
    // The gateway's.
    "192.168.90.1/24",
    // A machine's of the LAN.
    "192.168.90.13/24",
    "fd90::13/64",
    // Other guests'.
    "192.168.90.15/24",
    "fd90::16/64",
    // Off-link, and no machine's.
    "8.8.8.8/32",
    "198.51.100.5/32",
    "192.168.90.255/32",
];

/// The ones of [`CLAIMS`] that belong to the host.
pub(crate) const HOSTS: [usize; 2] = [3, 4];

/// The ones of [`CLAIMS`] that belong to the stranger.
const STRANGERS: [usize; 2] = [6, 7];

#[derive(Debug)]
struct Deed {
    guest: usize,
    act: Act,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Start,
    Stop,
    StopHard,
    Restart,
    Relaunch,
    /// It ends by itself.
    PowerOff,
    Renew,
    Claim(usize),
    Unclaim(usize),
    /// It has another address instead of its own.
    Swap,
    SwapBack,
    /// Many addresses come and go; the number of them.
    Flood(usize),
    OtherMac(usize),
    OwnMac,
}

pub(super) fn draw(dice: &mut Dice, intent: &Intent) -> Option<Box<dyn Operation>> {
    let guest = dice.roll(ROLES.len());
    let (role, state, served) = (&ROLES[guest], &intent.guests[guest], intent.is_served(guest));
    if !state.running {
        return if served && dice.chance(50) {
            Some(Box::new(Deed { guest, act: Act::Start }))
        } else {
            None
        };
    }
    let act = match dice.roll(24) {
        0 if served => Act::Stop,
        1 if served => Act::StopHard,
        2 if served => Act::Restart,
        3 if served => Act::Relaunch,
        4 => Act::PowerOff,
        5 | 6 if role.dynamic => Act::Renew,
        5 | 6 if state.swapped => Act::SwapBack,
        5 | 6 => Act::Swap,
        7..17 => {
            let claim = dice.roll(CLAIMS.len());
            if state.claims.contains(&claim) { Act::Unclaim(claim) } else { Act::Claim(claim) }
        }
        17..19 => Act::Unclaim(dice.pick(&state.claims.iter().copied().collect::<Vec<_>>())?),
        19 | 20 => Act::Flood(20 + dice.roll(100)),
        _ if state.other_mac => Act::OwnMac,
        21 | 22 => Act::OtherMac(dice.roll(1 << 16)),
        _ => return None,
    };
    Some(Box::new(Deed { guest, act }))
}

impl Operation for Deed {
    fn subject(&self) -> Subject {
        Subject::Guest(self.guest)
    }

    fn kind(&self) -> &'static str {
        match self.act {
            Act::Start => "a guest is started",
            Act::Stop => "a guest is stopped",
            Act::StopHard => "a guest is stopped by force",
            Act::Restart => "a guest is restarted",
            Act::Relaunch => "a guest is deleted and launched again",
            Act::PowerOff => "a guest powers off",
            Act::Renew => "a guest renews its lease",
            Act::Claim(3..=9) => "a guest claims an address of others",
            Act::Claim(_) => "a guest adds an address",
            Act::Unclaim(_) => "a guest removes an address",
            Act::Swap | Act::SwapBack => "a guest changes its address",
            Act::Flood(_) => "a guest floods",
            Act::OtherMac(_) => "a guest changes its MAC",
            Act::OwnMac => "a guest changes its MAC back",
        }
    }

    fn enter(&self, intent: &mut Intent) {
        let guest = &mut intent.guests[self.guest];
        match self.act {
            Act::Start | Act::Restart | Act::Relaunch => {
                *guest = GuestIntent { running: true, ..GuestIntent::default() };
            }
            Act::Stop | Act::StopHard | Act::PowerOff => *guest = GuestIntent::default(),
            Act::Claim(claim) => drop(guest.claims.insert(claim)),
            Act::Unclaim(claim) => drop(guest.claims.remove(&claim)),
            Act::OtherMac(_) => guest.other_mac = true,
            Act::OwnMac => guest.other_mac = false,
            Act::Swap => guest.swapped = true,
            Act::SwapBack => guest.swapped = false,
            Act::Renew | Act::Flood(_) => {}
        }
    }

    fn perform(&self, site: &Site, _: &Intent) -> Result<()> {
        let (guest, role) = (self.guest, &ROLES[self.guest]);
        match self.act {
            Act::Start => {
                site.guest(guest).start()?;
                return site.started(guest);
            }
            Act::Restart => {
                site.guest(guest).restart()?;
                return site.started(guest);
            }
            Act::Stop => return site.guest(guest).stop(),
            Act::StopHard => return site.guest(guest).stop_hard(),
            Act::Relaunch => {
                site.guest(guest).delete()?;
                return site.launch(guest);
            }
            Act::PowerOff => return power_off(site, guest),
            Act::Renew => return renew(site, guest),
            _ => {}
        }
        let (own, number) = (format!("{}/24", v4(role.number)), role.number);
        let script = match self.act {
            Act::Claim(claim) => {
                if STRANGERS.contains(&claim) {
                    site.meet_the_stranger();
                }
                format!("ip addr replace {} dev eth0", CLAIMS[claim])
            }
            Act::Unclaim(claim) => format!("ip addr del {} dev eth0", CLAIMS[claim]),
            Act::Swap => format!("ip addr del {own} dev eth0; ip addr add {}/24 dev eth0", v4(number - 8)),
            Act::SwapBack => {
                format!("ip addr del {}/24 dev eth0; ip addr add {own} dev eth0", v4(number - 8))
            }
            Act::Flood(many) => format!(
                "for a in $(seq {many}); do ip addr add fd90::{number}:$a/64 dev eth0 nodad; done
                 for a in $(seq {many}); do ip addr del fd90::{number}:$a/64 dev eth0; done"
            ),
            Act::OtherMac(other) => {
                format!("ip link set eth0 address 02:55:00:00:{:02x}:{:02x}", other >> 8, other & 0xff)
            }
            _ => {
                let mac = site.known()[guest].mac.clone().context("its MAC is not known")?;
                format!("ip link set eth0 address {mac}")
            }
        };
        site.in_guest(guest, &script)?;
        Ok(())
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind(), ROLES[self.guest].name)?;
        match self.act {
            Act::Claim(claim) | Act::Unclaim(claim) => write!(f, " {}", CLAIMS[claim]),
            Act::Flood(many) | Act::OtherMac(many) => write!(f, " {many}"),
            Act::SwapBack => write!(f, " back"),
            _ => Ok(()),
        }
    }
}

impl Site {
    /// The host and the stranger talk, so that the host knows who has the stranger's addresses.
    fn meet_the_stranger(&self) {
        let number = crate::site::STRANGER;
        for address in [v4(number).into(), std::net::IpAddr::from(v6(number))] {
            let _ = self.host.pings(address);
        }
    }
}

/// The signal that LXC sends for a clean stop.
fn power_off(site: &Site, guest: usize) -> Result<()> {
    site.host.run(&["kill", "-PWR", &site.pid(guest)?.to_string()])?;
    Ok(())
}

fn renew(site: &Site, guest: usize) -> Result<()> {
    let pid = site.pid(guest)?;
    let client = site.host.sh(&format!("cat /proc/{pid}/root/run/udhcpc.eth0.pid"))?;
    // The client's pid is that of its own namespace, so it is right only from within.
    let script = format!("kill -USR1 {}", client.trim());
    site.host.run(&["nsenter", "-t", &pid.to_string(), "-p", "--", "sh", "-c", &script])?;
    Ok(())
}
