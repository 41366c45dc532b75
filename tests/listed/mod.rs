//! Guests as a server lists them, with ordinary values for everything that a test is not about.

use macvlan_shim::model::Mac;
use macvlan_shim::model::inventory::{
    Guest, GuestKind, Home, Inventory, Mode, Nic, NicParent, Nics, OptOut, Power, Server, ServerId,
    ServerState,
};

/// A NIC in mode bridge on the host's `eth0`.
pub(crate) fn nic(name: &str, mac: Mac) -> Nic {
    Nic {
        name: name.into(),
        link: name.into(),
        mac: Some(mac),
        parent: NicParent::Link { name: "eth0".into(), vlan: None },
        mode: Mode::Bridge,
    }
}

/// A container of the project `default` that runs.
pub(crate) fn container(name: &str, nics: Vec<Nic>) -> Guest {
    Guest {
        project: "default".into(),
        name: name.into(),
        kind: GuestKind::Container,
        home: Home::Unknown,
        power: Power::Running,
        profiles: vec!["default".into()],
        opt: OptOut::In,
        nics: Nics::Told(nics),
    }
}

/// The inventory of a host with one LXD, which lists these guests.
pub(crate) fn by_lxd(guests: Vec<Guest>) -> Inventory {
    let server = Server {
        place: "/run/lxd".to_owned(),
        state: ServerState::Connected,
        guests: Some(guests),
        ..Server::default()
    };
    Inventory { servers: [(ServerId("lxd".into()), server.into())].into() }
}
