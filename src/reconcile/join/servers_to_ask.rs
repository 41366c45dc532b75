//! The servers that are worth asking when children appear. A server announces every start itself, a little
//! later. Asking at once only makes a guest reachable sooner. So a child that is known not to be a server's
//! costs that server nothing.

use std::collections::BTreeSet;

use super::joins::Joins;
use crate::model::inventory::{GuestKind, Server, ServerState};
use crate::model::snapshot::{Child, ChildKey, Netns, Snapshot};
use crate::model::{Inventory, ServerId};

/// The servers to be asked about these new children.
///
/// A connected server is asked if one of its guests has the child's MAC, because it is starting that guest.
/// It knows every MAC before the child is there, and its event of the change has been heard. A server that is
/// not connected is asked about every child that is not a known guest's, because it may be back.
pub fn servers_to_ask(
    new: &BTreeSet<ChildKey>,
    snapshot: &Snapshot,
    inventory: &Inventory,
    joins: &Joins,
) -> BTreeSet<ServerId> {
    // A child that a known guest makes for itself is no reason to ask.
    let is_known = |key: &ChildKey| match key.netns {
        Netns::Host => joins.joined(key).is_some(),
        netns => joins.guests_in(netns).next().is_some(),
    };
    let strange: Vec<&Child> = new
        .iter()
        .filter_map(|key| Some((key, snapshot.children.get(key)?)))
        .filter(|(key, child)| is_in_place(**key, child) && !is_known(key))
        .map(|(_, child)| child)
        .collect();
    let is_worth = |server: &Server| strange.iter().any(|child| may_be_of(server, child));
    inventory.servers.iter().filter(|(_, server)| is_worth(server)).map(|(id, _)| id.clone()).collect()
}

/// The NIC of a container is on its way through the host's namespace, and its server has no news of it before
/// it has arrived. A VM's stays there.
fn is_in_place(key: ChildKey, child: &Child) -> bool {
    child.tap == (key.netns == Netns::Host)
}

fn may_be_of(server: &Server, child: &Child) -> bool {
    if server.state != ServerState::Connected {
        return true;
    }
    let kind = if child.tap { GuestKind::VirtualMachine } else { GuestKind::Container };
    let mut guests = server.guests.iter().flatten().filter(|guest| guest.kind == kind);
    guests.any(|guest| guest.nics.told().iter().any(|nic| nic.mac == Some(child.mac)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::joins::By;
    use super::*;
    use crate::model::inventory::{Guest, Home, Mode, Nic, NicParent, Nics, OptOut, Power};
    use crate::model::{GuestKey, LinkIndex, Mac, NetnsId, NicKey};

    const OWN: Mac = Mac([0x00, 0x16, 0x3e, 0, 0, 1]);
    const FOREIGN: Mac = Mac([0x02, 0x42, 0, 0, 0, 1]);

    fn in_guest(netns: NetnsId) -> ChildKey {
        ChildKey { netns: Netns::Id(netns), index: LinkIndex(7) }
    }

    fn on_host() -> ChildKey {
        ChildKey { netns: Netns::Host, index: LinkIndex(7) }
    }

    /// The ids of the servers that are asked when a child appears: LXD has a container with the MAC `OWN`,
    /// Incus none.
    fn asked(key: ChildKey, mac: Mac, tap: bool, incus: ServerState, joins: &Joins) -> Vec<String> {
        let child = Child {
            parent: LinkIndex(2),
            mac,
            mode: Mode::Bridge,
            name: "eth0".into(),
            tap,
            up: true,
            master: None,
            sources: Default::default(),
            addresses: BTreeMap::new(),
        };
        let snapshot = Snapshot { children: [(key, child)].into(), ..Snapshot::default() };
        let nic = Nic {
            name: "eth0".into(),
            link: "eth0".into(),
            mac: Some(OWN),
            parent: NicParent::Unknown("".into()),
            mode: Mode::Bridge,
        };
        let guest = Guest {
            project: "default".into(),
            name: "c1".into(),
            kind: GuestKind::Container,
            power: Power::Stopped,
            home: Home::Unknown,
            profiles: vec![],
            opt: OptOut::In,
            nics: Nics::Told(vec![nic]),
        };
        let server = |state, guests| Server { place: "/s".into(), state, guests, ..Server::default() };
        let servers = [
            (ServerId("lxd".into()), server(ServerState::Connected, Some(vec![guest]))),
            (ServerId("incus".into()), server(incus, Some(vec![]))),
        ];
        let inventory = Inventory { servers: servers.map(|(id, server)| (id, Arc::new(server))).into() };
        servers_to_ask(&[key].into(), &snapshot, &inventory, joins).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_server_whose_guest_has_the_mac_is_asked_and_no_other() {
        let connected = ServerState::Connected;
        assert_eq!(asked(in_guest(NetnsId(1)), OWN, false, connected, &Joins::default()), ["lxd"]);
        assert!(asked(in_guest(NetnsId(1)), FOREIGN, false, connected, &Joins::default()).is_empty());
    }

    #[test]
    fn a_containers_nic_on_its_way_is_no_reason_and_a_tap_is_no_containers() {
        let connected = ServerState::Connected;
        assert!(asked(on_host(), OWN, false, connected, &Joins::default()).is_empty());
        assert!(asked(on_host(), OWN, true, connected, &Joins::default()).is_empty());
    }

    #[test]
    fn a_server_that_is_not_connected_may_be_back() {
        for state in [ServerState::Absent, ServerState::Failed, ServerState::Connecting] {
            assert_eq!(asked(in_guest(NetnsId(1)), FOREIGN, false, state, &Joins::default()), ["incus"]);
            assert!(asked(on_host(), FOREIGN, false, state, &Joins::default()).is_empty());
        }
    }

    #[test]
    fn a_child_that_a_known_guest_makes_for_itself_is_no_reason() {
        let guest = GuestKey::new(ServerId("lxd".into()), "default".into(), "c2".into());
        let nic = NicKey { guest, nic: "eth0".into() };
        let mut joins = Joins::default();
        let child = ChildKey { netns: Netns::Id(NetnsId(1)), index: LinkIndex(3) };
        joins.add(child, &nic, By::ParentAndMac);
        assert!(asked(in_guest(NetnsId(1)), OWN, false, ServerState::Absent, &joins).is_empty());
        assert_eq!(asked(in_guest(NetnsId(2)), OWN, false, ServerState::Connected, &joins), ["lxd"]);
    }
}
