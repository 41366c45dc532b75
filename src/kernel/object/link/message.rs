//! Links as messages show them.

use netlink_packet_route::link::LinkLayerType;
use nix::libc;
use smol_str::SmolStr;

use crate::kernel::socket::wire::{
    Attributes, MalformedError, Message, link_at, link_of, netns_of, text_of, u8_at, u16_at, u32_at, u32_of,
};
use crate::model::inventory::Mode;
use crate::model::names::made_with;
use crate::model::snapshot::{LinkKind, Sources, is_shim};
use crate::model::{LinkIndex, Mac, NetnsId};

/// Maximum number of MACs that are kept of the list of a link in mode source.
const SOURCES: usize = 8;

/// A link as a message shows it, in whichever namespace.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::kernel) struct Seen {
    pub(in crate::kernel) index: LinkIndex,
    pub(in crate::kernel) name: SmolStr,
    pub(in crate::kernel) kind: LinkKind,
    /// The MACs of a macvlan or macvtap in mode source.
    pub(in crate::kernel) sources: Sources,
    pub(in crate::kernel) mac: Option<Mac>,
    pub(in crate::kernel) mtu: u32,
    pub(in crate::kernel) up: bool,
    /// It is up and not `IFF_RUNNING`.
    pub(in crate::kernel) no_carrier: bool,
    pub(in crate::kernel) multicast: bool,
    pub(in crate::kernel) arp: bool,
    pub(in crate::kernel) protodown: bool,
    pub(in crate::kernel) group: u32,
    /// The MAC in the alias, if it is a shim's alias.
    pub(in crate::kernel) made_with: Option<Mac>,
    /// `IFLA_LINK`.
    pub(in crate::kernel) lower: Option<LinkIndex>,
    /// `IFLA_LINK_NETNSID`: the namespace of the lower link, if that is not in the link's own namespace. In a
    /// dump it is an id of the asker's table, in an event one of the table of the link's namespace.
    pub(in crate::kernel) lower_netns: Option<NetnsId>,
    pub(in crate::kernel) master: Option<LinkIndex>,
    /// It is an inactive port of a bond (`IFLA_BOND_SLAVE_STATE`). The bond receives nothing through it.
    pub(in crate::kernel) backup: bool,
    /// `net.ipv4.conf.NAME.arp_ignore`.
    pub(in crate::kernel) arp_ignore: i64,
    /// `IFLA_TARGET_NETNSID`: the namespace that the answer is about.
    pub(in crate::kernel) target: Option<NetnsId>,
    /// `IFLA_NEW_NETNSID` in a `RTM_DELLINK`: the namespace that it has moved to.
    pub(in crate::kernel) moved_to: Option<NetnsId>,
}

impl Seen {
    /// Whether it is a macvlan or macvtap link.
    pub(in crate::kernel) fn is_macvlan(&self) -> bool {
        matches!(self.kind, LinkKind::Macvlan(_) | LinkKind::Macvtap(_))
    }

    /// It is a bridge or bond, which receives the frames of its ports.
    pub(in crate::kernel) fn takes_in_for_ports(&self) -> bool {
        match &self.kind {
            LinkKind::Bridge => true,
            LinkKind::Other(kind) => kind == "bond",
            _ => false,
        }
    }

    /// Whether it has our mark, if it is in the host's namespace.
    pub(in crate::kernel) fn is_shim(&self) -> bool {
        is_shim(&self.kind, &self.name, self.group, self.made_with)
    }
}

/// Reads `RTM_NEWLINK` and `RTM_DELLINK`; `None` for messages that are about less than a whole link
/// (bridge ports, Wi-Fi scans).
pub(in crate::kernel) fn read(message: &Message<'_>) -> Result<Option<Seen>, MalformedError> {
    const HEADER: usize = 16;
    let payload = message.payload;
    let family = u8_at(payload, 0)?;
    let flags = u32_at(payload, 8)?;
    let mut names = 0;
    let mut seen = Seen {
        index: link_at(payload, 4)?,
        name: SmolStr::default(),
        kind: LinkKind::default(),
        sources: Sources::default(),
        mac: None,
        mtu: 0,
        up: flags & libc::IFF_UP as u32 != 0,
        no_carrier: flags & (libc::IFF_UP | libc::IFF_RUNNING) as u32 == libc::IFF_UP as u32,
        multicast: flags & libc::IFF_MULTICAST as u32 != 0,
        arp: flags & libc::IFF_NOARP as u32 == 0,
        protodown: false,
        group: 0,
        made_with: None,
        lower: None,
        lower_netns: None,
        master: None,
        backup: false,
        arp_ignore: 0,
        target: None,
        moved_to: None,
    };
    if i32::from(family) != libc::AF_UNSPEC {
        return Ok(None);
    }
    for attribute in Attributes::after(payload, HEADER) {
        let (kind, value) = attribute?;
        match kind {
            libc::IFLA_IFNAME => seen.name = text_of(value),
            libc::IFLA_ADDRESS => seen.mac = mac(u16_at(payload, 2)?, value),
            libc::IFLA_MTU => seen.mtu = u32_of(value)?,
            libc::IFLA_PROTO_DOWN => seen.protodown = u8_at(value, 0)? != 0,
            libc::IFLA_GROUP => seen.group = u32_of(value)?,
            libc::IFLA_IFALIAS => seen.made_with = made_with(&text_of(value)),
            libc::IFLA_LINK => seen.lower = Some(link_of(value)?).filter(|index| *index != LinkIndex::NONE),
            libc::IFLA_LINK_NETNSID => seen.lower_netns = Some(netns_of(value)?),
            libc::IFLA_MASTER => {
                seen.master = Some(link_of(value)?).filter(|index| *index != LinkIndex::NONE)
            }
            libc::IFLA_TARGET_NETNSID => seen.target = Some(netns_of(value)?),
            libc::IFLA_NEW_NETNSID => seen.moved_to = Some(netns_of(value)?),
            libc::IFLA_LINKINFO => {
                (seen.kind, seen.backup) = (kind_of(value)?, is_backup(value)?);
                if let LinkKind::Macvlan(Mode::Source) | LinkKind::Macvtap(Mode::Source) = seen.kind {
                    seen.sources = sources(value)?;
                }
            }
            libc::IFLA_AF_SPEC => seen.arp_ignore = arp_ignore(value)?,
            libc::IFLA_WIRELESS => return Ok(None),
            IFLA_PROP_LIST => names = names.max(length_of_names(value)),
            _ => {}
        }
    }
    if payload.len() - names > usize::from(u16::MAX) {
        return Err(MalformedError("link with a list that is too long for its length field"));
    }
    Ok(Some(seen))
}

/// `IFLA_PROP_LIST`
const IFLA_PROP_LIST: u16 = 52;

/// The length of a list of alternative names; 0 if it is anything else.
///
/// An attribute has 16 bits for its length. The kernel nevertheless writes longer lists (the MACs of a
/// macvlan link in mode source, the priorities of a VLAN link). The next attribute is then read from the
/// middle of such a list, where a guest may have put any bytes. Only alternative names can honestly make a
/// message this long, and a list of MACs cannot be made to look like them.
fn length_of_names(value: &[u8]) -> usize {
    /// `IFLA_ALT_IFNAME`
    const IFLA_ALT_IFNAME: u16 = 53;
    let is_name = |attribute: Result<(u16, &[u8]), MalformedError>| match attribute {
        Ok((IFLA_ALT_IFNAME, name)) => name.iter().position(|byte| *byte == 0) == name.len().checked_sub(1),
        _ => false,
    };
    if Attributes::inside(value).all(is_name) { value.len() } else { 0 }
}

fn mac(layer: u16, bytes: &[u8]) -> Option<Mac> {
    if LinkLayerType::from(layer) == LinkLayerType::Ether { Mac::from_bytes(bytes) } else { None }
}

fn kind_of(info: &[u8]) -> Result<LinkKind, MalformedError> {
    let (mut name, mut data) = (SmolStr::default(), None);
    for attribute in Attributes::inside(info) {
        match attribute? {
            (libc::IFLA_INFO_KIND, value) => name = text_of(value),
            (libc::IFLA_INFO_DATA, value) => data = Some(value),
            _ => {}
        }
    }
    /// `IFLA_MACVLAN_MODE` and `IFLA_VLAN_ID`.
    const FIRST: u16 = 1;
    let first = Attributes::inside(data.unwrap_or_default())
        .find_map(|attribute| attribute.map(|(kind, value)| (kind == FIRST).then_some(value)).transpose())
        .transpose()?;
    Ok(match (name.as_str(), first) {
        ("macvlan", mode) => LinkKind::Macvlan(mode_of(mode)?),
        ("macvtap", mode) => LinkKind::Macvtap(mode_of(mode)?),
        ("vlan", Some(id)) => LinkKind::Vlan(u16_at(id, 0)?),
        ("bridge", _) => LinkKind::Bridge,
        _ => LinkKind::Other(name),
    })
}

/// The list of a link in mode source. Its guest may give it any length.
fn sources(info: &[u8]) -> Result<Sources, MalformedError> {
    const IFLA_MACVLAN_FLAGS: u16 = 2;
    const IFLA_MACVLAN_MACADDR_DATA: u16 = 5;
    const IFLA_MACVLAN_MACADDR_COUNT: u16 = 6;
    const MACVLAN_FLAG_NODST: u16 = 2;
    let mut sources = Sources::default();
    for attribute in Attributes::inside(info) {
        let (libc::IFLA_INFO_DATA, data) = attribute? else { continue };
        for attribute in Attributes::inside(data) {
            match attribute? {
                (IFLA_MACVLAN_FLAGS, flags) => sources.only = u16_at(flags, 0)? & MACVLAN_FLAG_NODST != 0,
                (IFLA_MACVLAN_MACADDR_COUNT, count) => {
                    sources.count = usize::try_from(u32_of(count)?).unwrap_or(usize::MAX);
                }
                (IFLA_MACVLAN_MACADDR_DATA, list) => {
                    for mac in Attributes::inside(list) {
                        sources.macs.extend(Mac::from_bytes(mac?.1));
                        if sources.macs.len() > SOURCES {
                            sources.macs.pop_last();
                        }
                    }
                }
                _ => {}
            }
        }
    }
    Ok(sources)
}

/// Whether a port's part of `IFLA_LINKINFO` is that of an inactive port of a bond.
fn is_backup(info: &[u8]) -> Result<bool, MalformedError> {
    const IFLA_INFO_SLAVE_KIND: u16 = 4;
    const IFLA_INFO_SLAVE_DATA: u16 = 5;
    const IFLA_BOND_SLAVE_STATE: u16 = 1;
    const BOND_STATE_BACKUP: u8 = 1;
    let (mut of_bond, mut data) = (false, None);
    for attribute in Attributes::inside(info) {
        match attribute? {
            (IFLA_INFO_SLAVE_KIND, value) => of_bond = text_of(value) == "bond",
            (IFLA_INFO_SLAVE_DATA, value) => data = Some(value),
            _ => {}
        }
    }
    for attribute in Attributes::inside(data.filter(|_| of_bond).unwrap_or_default()) {
        if let (IFLA_BOND_SLAVE_STATE, state) = attribute? {
            return Ok(state.first() == Some(&BOND_STATE_BACKUP));
        }
    }
    Ok(false)
}

/// The value in the part of a message for address families; 0 if the link has no IPv4.
fn arp_ignore(families: &[u8]) -> Result<i64, MalformedError> {
    const IFLA_INET_CONF: u16 = 1;
    /// `IPV4_DEVCONF_ARP_IGNORE`; the first of the settings has the number 1.
    const ARP_IGNORE: usize = 19;
    for family in Attributes::inside(families) {
        let (kind, value) = family?;
        if i32::from(kind) != libc::AF_INET {
            continue;
        }
        for attribute in Attributes::inside(value) {
            if let (IFLA_INET_CONF, settings) = attribute? {
                return Ok(i64::from(u32_at(settings, (ARP_IGNORE - 1) * 4)?));
            }
        }
    }
    Ok(0)
}

fn mode_of(value: Option<&[u8]>) -> Result<Mode, MalformedError> {
    Ok(match value.map(u32_of).transpose()? {
        Some(1) => Mode::Private,
        Some(2) => Mode::Vepa,
        Some(4) => Mode::Bridge,
        Some(8) => Mode::Passthru,
        Some(16) => Mode::Source,
        _ => Mode::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_bonds_port_is_in_use_or_not() {
        let port =
            |kind: &[u8], state: u8| [attribute(4, kind), attribute(5, &attribute(1, &[state]))].concat();
        assert!(is_backup(&port(b"bond\0", 1)).unwrap());
        assert!(!is_backup(&port(b"bond\0", 0)).unwrap());
        assert!(!is_backup(&port(b"bridge\0", 1)).unwrap());
        assert!(!is_backup(&attribute(1, b"macvlan\0")).unwrap());
    }
}
