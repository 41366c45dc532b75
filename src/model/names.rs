//! Every name and number that marks an object in the kernel or a file as ours.

use smol_str::{SmolStr, format_smolstr};

use super::{Family, LinkIndex, Mac};

/// The program, its package, its unit.
pub const PROGRAM: &str = "macvlan-shim";

/// `RTA_PROTOCOL`, `NDA_PROTOCOL`, `IFA_PROTO` and `FRA_PROTOCOL` of everything that we make.
pub const PROTOCOL: u8 = 77;

/// The routing table that takes our routes where rules of the host precede table main.
pub const TABLE: u32 = 77;

/// The metric of our routes, as the kernel shows it: IPv6 turns 0 into 1024.
pub fn metric(family: Family) -> u32 {
    match family {
        Family::V4 => 0,
        Family::V6 => 1024,
    }
}

/// `IFLA_GROUP` of our shims; set in the message that creates them, so there is no unmarked moment.
pub const LINK_GROUP: u32 = 7173;

/// `IFLA_IFALIAS` of our shims: the second mark, which the kernel takes only after the link is made. A link
/// that lost one mark is known by the other. It also names the MAC that the shim was made with.
pub fn shim_alias(mac: Mac) -> String {
    format!("{PROGRAM} {mac}")
}

/// The MAC in the alias of a shim; `None` for any other alias.
pub fn made_with(alias: &str) -> Option<Mac> {
    alias.strip_prefix(PROGRAM)?.strip_prefix(' ')?.parse().ok()
}

/// Whether a macvlan link of the host with this name bears our mark. A guest's NIC does not: LXD and Incus
/// name it on its way in and out, and may leave it there; its root can have given it any group and alias, but
/// not that name.
pub fn is_marked(name: &str, group: u32, made_with: Option<Mac>) -> bool {
    (group == LINK_GROUP || made_with.is_some()) && !is_guests(name)
}

/// The names that LXD and Incus give to guests' NICs: random ones, or made of the MAC
/// (`instances.nic.host_name`).
fn is_guests(name: &str) -> bool {
    let hex =
        |digits: &str, count| digits.len() == count && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    [("mac", 8), ("lxd", 10), ("inc", 10)]
        .iter()
        .any(|(prefix, count)| name.strip_prefix(prefix).is_some_and(|rest| hex(rest, *count)))
}

/// The nftables table of family netdev that holds the filters of our shims.
pub const FILTER_TABLE: &str = "macvlan_shim";

/// The kernel's routing table `main`.
pub const TABLE_MAIN: u32 = 254;

/// The kernel's routing table `local`.
pub const TABLE_LOCAL: u32 = 255;

/// The priority of the kernel's own rule that looks up table main.
pub const MAIN_RULE_PRIORITY: u32 = 32766;

/// The default configuration file.
pub const CONFIG_FILE: &str = "/etc/macvlan-shim/config.toml";

/// The folder of locks and of the control socket.
pub const RUN_DIR: &str = "/run/macvlan-shim";

/// The default control socket.
pub const CONTROL_SOCKET: &str = "/run/macvlan-shim/control.sock";

/// Longest name that the kernel allows an interface, in bytes (`IFNAMSIZ - 1`).
pub const MAX_LINK_NAME: usize = 15;

/// The name of the shim on a parent: `mvs-<parent>`, or `mvs-` and eight hex digits of a hash of the
/// parent's name where that would not fit.
pub fn shim_name(parent: &str) -> SmolStr {
    let name = format_smolstr!("mvs-{parent}");
    if name.len() <= MAX_LINK_NAME {
        return name;
    }
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(parent.as_bytes());
    format_smolstr!("mvs-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
}

/// A name for a shim if another link has the right one.
pub fn spare_name(index: LinkIndex) -> SmolStr {
    format_smolstr!("mvs-if{index}")
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
    fn a_guests_nic_is_not_marked_whatever_its_root_did() {
        let mac = Some(Mac([2, 0, 0, 0, 0, 7]));
        for name in ["mac0e54ab14", "lxd163e0b948d", "inc163e0b948d"] {
            assert!(!is_marked(name, LINK_GROUP, mac), "{name}");
        }
        for name in ["mvs-eth0", "mvs-if7", "mac", "mac0", "machine0", "mac0e54ab14a", "lxdbr0", "foo"] {
            assert!(is_marked(name, LINK_GROUP, None) && is_marked(name, 0, mac), "{name}");
            assert!(!is_marked(name, 0, None), "{name}");
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
