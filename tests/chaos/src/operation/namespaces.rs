//! Namespaces of others come and go. Their ids are those of guests before and after, and for a while there
//! are more namespaces than the kernel lists.

use std::fmt;

use anyhow::Result;

use super::{Operation, Subject};
use crate::dice::Dice;
use crate::intent::Intent;
use crate::site::Site;

#[derive(Clone, Copy, Debug)]
enum Change {
    /// More than the 134 that Linux 6.18 lists.
    Crowd,
    Dispersed,
    /// This many, each with a link on the uplink, one after the other.
    Passing(usize),
}

pub(super) fn draw(dice: &mut Dice, intent: &Intent) -> Option<Box<dyn Operation>> {
    let change = match dice.roll(2) {
        0 if intent.crowd => Change::Dispersed,
        0 => Change::Crowd,
        _ => Change::Passing(5 + dice.roll(20)),
    };
    Some(Box::new(change))
}

/// The operation that restores it.
pub(super) fn cures(intent: &Intent) -> Option<Box<dyn Operation>> {
    if intent.crowd { Some(Box::new(Change::Dispersed)) } else { None }
}

impl Operation for Change {
    fn subject(&self) -> Subject {
        Subject::Host
    }

    fn kind(&self) -> &'static str {
        match self {
            Change::Crowd => "more namespaces than the kernel lists",
            Change::Dispersed => "fewer namespaces again",
            Change::Passing(_) => "ids of namespaces are reused",
        }
    }

    fn enter(&self, intent: &mut Intent) {
        match self {
            Change::Crowd => intent.crowd = true,
            Change::Dispersed => intent.crowd = false,
            Change::Passing(_) => {}
        }
    }

    fn perform(&self, site: &Site, intent: &Intent) -> Result<()> {
        let up = intent.uplink.name;
        let script = match self {
            Change::Crowd => {
                "for n in {1..150}; do ip netns add crowd$n; ip netns set crowd$n auto; done".to_owned()
            }
            Change::Dispersed => {
                "for n in $(ip netns list | grep -o '^crowd[0-9]*' || :); do ip netns del $n; done".to_owned()
            }
            // With MACs like those of guests that change theirs.
            Change::Passing(many) => format!(
                "for n in $(seq {many}); do
                   ip netns add passing
                   ip link add passing link {up} address $(printf 02:55:00:01:00:%02x $n) type macvlan mode bridge
                   ip link set passing netns passing up
                   ip netns del passing
                 done"
            ),
        };
        site.host.sh(&script)?;
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Passing(many) => write!(f, "{}: {many} times", self.kind()),
            _ => f.write_str(self.kind()),
        }
    }
}
