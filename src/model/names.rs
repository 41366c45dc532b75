//! Every name and number by which an object in the kernel or a file is known to be ours.

use super::Mac;

/// The program, its package, its unit.
pub const PROGRAM: &str = "macvlan-shim";

/// `RTA_PROTOCOL`, `NDA_PROTOCOL`, `IFA_PROTO` and `FRA_PROTOCOL` of everything that we make.
pub const PROTOCOL: u8 = 77;

/// The routing table that takes our routes where rules of the host precede table main.
pub const TABLE: u32 = 77;

/// `IFLA_GROUP` of our shims; set in the message that creates them, so there is no unmarked moment.
pub const LINK_GROUP: u32 = 7173;

/// `IFLA_IFALIAS` of our shims: the second mark, which the kernel takes only after the link is made. A link that lost
/// one mark is known by the other. It also tells with which MAC the shim was made.
pub fn shim_alias(mac: Mac) -> String {
    format!("{PROGRAM} {mac}")
}

/// The MAC in the alias of a shim; `None` for any other alias.
pub fn made_with(alias: &str) -> Option<Mac> {
    alias.strip_prefix(PROGRAM)?.strip_prefix(' ')?.parse().ok()
}

/// The nftables table of family netdev that holds the filters of our shims.
pub const FILTER_TABLE: &str = "macvlan_shim";

/// The kernel's routing table `main`.
pub const TABLE_MAIN: u32 = 254;

/// The kernel's routing table `local`.
pub const TABLE_LOCAL: u32 = 255;

/// The priority of the kernel's own rule that looks up table main.
pub const MAIN_RULE_PRIORITY: u32 = 32766;

/// Where the configuration is looked for if no other file is named.
pub const CONFIG_FILE: &str = "/etc/macvlan-shim/config.toml";

/// The folder of locks and of the control socket.
pub const RUN_DIR: &str = "/run/macvlan-shim";

/// Where a daemon answers `GET /1.0/status`.
pub const CONTROL_SOCKET: &str = "/run/macvlan-shim/control.sock";

/// Longest name that the kernel allows an interface, in bytes (`IFNAMSIZ - 1`).
pub const MAX_LINK_NAME: usize = 15;

/// The name of the shim on a parent: `mvs-<parent>`, or `mvs-` and eight hex digits of a hash of the
/// parent's name where that would not fit.
pub fn shim_name(parent: &str) -> String {
    let name = format!("mvs-{parent}");
    if name.len() <= MAX_LINK_NAME {
        return name;
    }
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(parent.as_bytes());
    format!("mvs-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
}

/// A name for a shim whose right one is another link's.
pub fn spare_name(index: u32) -> String {
    format!("mvs-if{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_a_mark_only_in_full() {
        let mac = Mac([2, 0, 0, 0, 0, 7]);
        assert_eq!(made_with(&shim_alias(mac)), Some(mac));
        for other in ["", "macvlan-shim", "macvlan-shim of mine", "my macvlan-shim 02:00:00:00:00:07"] {
            assert_eq!(made_with(other), None, "{other}");
        }
    }

    #[test]
    fn a_short_parent_is_readable_in_the_shims_name() {
        assert_eq!(shim_name("eth0"), "mvs-eth0");
        assert_eq!(shim_name("enp0s31f6.1"), "mvs-enp0s31f6.1");
    }

    #[test]
    fn a_long_parent_becomes_a_stable_hash_that_fits() {
        let name = shim_name("enx00163e001122.4");
        assert_eq!(name.len(), 12);
        assert_eq!(name, shim_name("enx00163e001122.4"));
        assert_ne!(name, shim_name("enx00163e001122.5"));
    }
}
