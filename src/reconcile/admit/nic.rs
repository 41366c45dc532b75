//! Rules about the guest's link.

use super::case::Case;
use super::verdict::Why;
use crate::model::text;

/// A child that is down receives nothing, and its MAC is free. Another guest can go up with that MAC, in a
/// namespace that nobody sees, and keep this child from ever going up. Traffic for the one would then go to
/// the other.
pub(super) fn link_down(case: &Case<'_>) -> Option<Why> {
    let child = case.child;
    let message = || {
        format!(
            "in the guest {} is down; if it cannot be set up because the address is in use, another guest has its MAC {}",
            child.name, child.mac
        )
    };
    (!child.up).then(|| Why::of(message()))
}

/// A child that is a port of a bridge or bond with another MAC. The guest sends from that MAC, and the kernel
/// hands the child only frames for its own, whether they come from the shim or from the LAN.
pub(super) fn master_mac(case: &Case<'_>) -> Option<Why> {
    let child = case.child;
    let master = child.master.as_ref().filter(|master| master.mac != Some(child.mac))?;
    let (name, mac) = (&master.name, child.mac);
    // Root in the guest has named it, and may have chosen a name that tricks a shell.
    let cure = match text::is_plain(name) {
        true => format!("ip link set {name} address {mac}"),
        false => format!("give that the MAC {mac}"),
    };
    Some(Why::of(format!(
        "in the guest {} is a port of {name}, which has another MAC: no answer can come back to it; {cure}",
        child.name
    )))
}
