//! Other changes of the host's network: forwarding, and objects that other programs add and remove.

use std::fmt;

use anyhow::Result;

use super::{Operation, Subject};
use crate::dice::Dice;
use crate::foreign::{IN_THE_WAY, ROUTES, RULES, RULES_TABLE, family, restore, words};
use crate::intent::Intent;
use crate::site::Site;

#[derive(Clone, Copy, Debug)]
enum Change {
    Forwarding(bool),
    Rule(usize, bool),
    Route(usize, bool),
}

pub(super) fn draw(dice: &mut Dice, intent: &Intent) -> Option<Box<dyn Operation>> {
    let change = match dice.roll(8) {
        0 | 1 => Change::Forwarding(!intent.forwarding),
        2..5 => {
            let rule = dice.roll(RULES.len());
            Change::Rule(rule, !intent.rules.contains(&rule))
        }
        _ => {
            let route = dice.roll(ROUTES.len());
            Change::Route(route, !intent.routes.contains(&route))
        }
    };
    Some(Box::new(change))
}

/// The operation that restores it.
pub(super) fn cures(intent: &Intent) -> Vec<Box<dyn Operation>> {
    let mut cures: Vec<Change> = Vec::new();
    cures.extend(intent.rules.iter().map(|rule| Change::Rule(*rule, false)));
    cures.extend(intent.routes.iter().map(|route| Change::Route(*route, false)));
    cures.into_iter().map(|change| Box::new(change) as Box<dyn Operation>).collect()
}

impl Operation for Change {
    fn subject(&self) -> Subject {
        Subject::Host
    }

    fn kind(&self) -> &'static str {
        match self {
            Change::Forwarding(_) => "IPv6 forwarding is switched",
            Change::Rule(_, true) => "a foreign rule appears",
            Change::Rule(_, false) => "a foreign rule vanishes",
            Change::Route(IN_THE_WAY, true) => "a foreign route takes the place of ours",
            Change::Route(_, true) => "a foreign route appears",
            Change::Route(_, false) => "a foreign route vanishes",
        }
    }

    fn enter(&self, intent: &mut Intent) {
        match *self {
            Change::Forwarding(on) => intent.forwarding = on,
            Change::Rule(rule, true) => drop(intent.rules.insert(rule)),
            Change::Rule(rule, false) => drop(intent.rules.remove(&rule)),
            Change::Route(route, true) => drop(intent.routes.insert(route)),
            Change::Route(route, false) => drop(intent.routes.remove(&route)),
        }
    }

    fn perform(&self, site: &Site, intent: &Intent) -> Result<()> {
        let script = match *self {
            Change::Forwarding(on) => {
                format!("echo {} >/proc/sys/net/ipv6/conf/all/forwarding", u8::from(on))
            }
            Change::Rule(_, true) | Change::Route(_, true) => restore(intent),
            Change::Rule(rule, false) => {
                let (v6, priority, selects) = RULES[rule];
                format!("ip {}rule del pref {priority} {selects} lookup {RULES_TABLE}", family(v6))
            }
            Change::Route(route, false) => match ROUTES[route].route(&intent.uplink) {
                Some(route) => format!("ip {}route del {}", family(route.v6), words(&route)),
                None => return Ok(()),
            },
        };
        site.host.sh(&script)?;
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Change::Forwarding(on) => write!(f, "{kind}: {}", u8::from(*on)),
            Change::Rule(rule, _) => write!(f, "{kind}: {} {}", RULES[*rule].1, RULES[*rule].2),
            Change::Route(route, _) => write!(f, "{kind}: {}", ROUTES[*route].destination),
        }
    }
}
