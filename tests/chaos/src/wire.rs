//! The wire of the LAN: only its machines and the guests are seen on it, and never a shim.

use std::sync::Mutex;

use anyhow::Result;
use lab::{Capture, Lan, Machine};

use crate::site::lock;

/// The first parts of the MACs that LXD and Incus give, and of those that guests here give themselves.
const GUESTS: [&str; 3] =
    ["& 0xffffff00 = 0x00163e00", "& 0xffffff00 = 0x10666a00", "& 0xffff0000 = 0x02550000"];

/// A capture of all frames on the LAN from or to a MAC that belongs to nobody there.
#[derive(Debug)]
pub(crate) struct Wire {
    capture: Capture,
    /// The number of frames that were already reported.
    told: Mutex<usize>,
}

impl Wire {
    /// `machines` are those of the LAN, each with its link.
    pub(crate) fn new(lan: &Lan, machines: &[(&Machine, &str)]) -> Result<Wire> {
        let mut from: Vec<String> = GUESTS.iter().map(|guests| format!("ether[6:4] {guests}")).collect();
        let mut to: Vec<String> = GUESTS.iter().map(|guests| format!("ether[0:4] {guests}")).collect();
        to.push("ether multicast".to_owned());
        for (machine, link) in machines {
            let mac = machine.run(&["cat", &format!("/sys/class/net/{link}/address")])?;
            from.push(format!("ether src {}", mac.trim()));
            to.push(format!("ether dst {}", mac.trim()));
        }
        let filter = format!("not ({}) or not ({})", from.join(" or "), to.join(" or "));
        Ok(Wire { capture: lan.capture(&filter)?, told: Mutex::default() })
    }

    /// The frames since the last time.
    pub(crate) fn strangers(&self) -> Vec<String> {
        let lines = self.capture.lines();
        let mut told = lock(&self.told);
        let new = lines.iter().skip(*told).map(|line| format!("on the wire of the LAN: {line}")).collect();
        *told = lines.len();
        new
    }
}
