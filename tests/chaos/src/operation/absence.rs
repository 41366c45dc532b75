//! The parent of all guests' NICs is gone for a while, or its MTU is too small for IPv6. Everything on it
//! goes too, and the kernel forgets what it knew.

use std::fmt;
use std::fmt::Write;

use anyhow::{Result, anyhow};

use super::{Operation, Subject};
use crate::dice::Dice;
use crate::foreign::{restore, settle};
use crate::intent::{GuestIntent, Intent};
use crate::site::{ROLES, SERVERS, Site, v6};

#[derive(Clone, Copy, Debug)]
struct Absence {
    of: Of,
    /// How long, in seconds.
    seconds: f64,
}

#[derive(Clone, Copy, Debug)]
enum Of {
    /// Its MTU is below 1280, so the kernel takes IPv6 from it and from every link on it.
    Ipv6,
    /// It is in another namespace.
    Here,
    /// It is deleted and made again. The guests' NICs die with it, so the guests are started again.
    Existence,
}

pub(super) fn draw(dice: &mut Dice, intent: &Intent) -> Option<Box<dyn Operation>> {
    let of = dice.pick(&[Of::Ipv6, Of::Here, Of::Existence])?;
    let seconds = dice.pick(&[0.0, 0.05, 0.4])?;
    // Guests can start only where their parent has its own name.
    let possible = !matches!(of, Of::Existence) || intent.uplink.name == "eth0";
    if possible { Some(Box::new(Absence { of, seconds })) } else { None }
}

impl Operation for Absence {
    fn subject(&self) -> Subject {
        Subject::Everybody
    }

    fn kind(&self) -> &'static str {
        match self.of {
            Of::Ipv6 => "the uplink's MTU is too small for IPv6",
            Of::Here => "the uplink moves to another namespace and back",
            Of::Existence => "the uplink is deleted and made again",
        }
    }

    fn enter(&self, intent: &mut Intent) {
        if let Of::Existence = self.of {
            (intent.uplink.up, intent.uplink.carrier) = (true, true);
            for guest in 0..ROLES.len() {
                if intent.is_served(guest) && intent.guests[guest].running {
                    intent.guests[guest] = GuestIntent { running: true, ..GuestIntent::default() };
                }
            }
        }
    }

    fn perform(&self, site: &Site, intent: &Intent) -> Result<()> {
        let (up, seconds) = (intent.uplink.name, self.seconds);
        let back = format!("{}{}", settle(up), restore(intent));
        match self.of {
            Of::Ipv6 => {
                let mtu = intent.uplink.mtu;
                let down = format!("ip link set {up} mtu 1100; sleep {seconds}; ip link set {up} mtu {mtu}");
                site.host.sh(&format!("{down}\n{back}"))?;
                // The kernel has lowered the MTU of the guests' NICs too, and does not raise it.
                let raise = "ip link set eth0 mtu 1500\n";
                (0..ROLES.len()).try_for_each(|guest| give_ipv6_back(site, guest, raise))
            }
            Of::Here => {
                let state = if intent.uplink.up { "up" } else { "down" };
                site.host.sh(&format!(
                    "ip netns add away; ip link set {up} netns away; sleep {seconds}
                     ip -n away link set {up} netns $$; ip netns del away\n\
                     {}ip link set {up} {state}\n{}",
                    settle(up),
                    restore(intent)
                ))?;
                // The kernel has forgotten the multicast groups that the guests on it listen to, and learns
                // them when they come up.
                let join = "ip link set eth0 down; ip link set eth0 up\n";
                (0..ROLES.len()).try_for_each(|guest| give_ipv6_back(site, guest, join))
            }
            Of::Existence => {
                site.port.renew(&site.host, up, seconds)?;
                let mtu = intent.uplink.mtu;
                site.host.sh(&format!("{}ip link set {up} mtu {mtu} up\n{}", settle(up), restore(intent)))?;
                start_again(site, intent)
            }
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} s", self.kind(), self.seconds)
    }
}

/// Runs `first` in the guest, then gives it back the IPv6 state that it had when it was started.
fn give_ipv6_back(site: &Site, guest: usize, first: &str) -> Result<()> {
    if site.pid(guest).is_err() {
        return Ok(());
    }
    let role = &ROLES[guest];
    let mut script = format!("cd /proc/sys/net/ipv6/conf\n{first}");
    script += "echo 0 >eth0/dad_transmits; echo 0 >eth0/router_solicitation_delay\n";
    if !role.dynamic {
        let _ =
            writeln!(script, "echo 0 >eth0/accept_ra; ip addr replace {}/64 dev eth0 nodad", v6(role.number));
    }
    // A guest that has just ended, or has lost its NIC, needs nothing.
    let _ = site.in_guest(guest, &script);
    Ok(())
}

/// The guests that should run and whose server answers; those of each server one after the other.
fn start_again(site: &Site, intent: &Intent) -> Result<()> {
    let again = |guest: usize| -> Result<()> {
        // It may have ended with its NIC.
        let _ = site.guest(guest).stop_hard();
        site.guest(guest).start()?;
        site.started(guest)
    };
    let of_server = |server: usize| -> Result<()> {
        let runs = |guest: &usize| {
            ROLES[*guest].server == server && intent.is_served(*guest) && intent.guests[*guest].running
        };
        let results: Vec<Result<()>> = (0..ROLES.len()).filter(runs).map(again).collect();
        results.into_iter().collect()
    };
    std::thread::scope(|scope| {
        let of_server = &of_server;
        let servers: Vec<_> =
            (0..SERVERS.len()).map(|server| scope.spawn(move || of_server(server))).collect();
        servers.into_iter().try_for_each(|server| server.join().map_err(|_| anyhow!("it panicked"))?)
    })
}
