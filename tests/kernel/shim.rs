//! A shim with one guest, by every kind of operation there is.

use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::names::TABLE_MAIN;
use macvlan_shim::model::snapshot::Setting;
use macvlan_shim::model::{Family, LinkIndex, LinkRef, Mac, Op};

use crate::host::Host;
use crate::look::{ip, net};

pub(crate) const SHIM_MAC: Mac = Mac([2, 0x4d, 0x53, 0, 0, 1]);
pub(crate) const GUEST_MAC: Mac = Mac([0, 0x16, 0x3e, 0, 0, 1]);

impl Host {
    /// A host where a shim has just been made. The kernel layer has yet to take in the changes.
    pub(crate) fn with_shim() -> (Host, Kernel, LinkRef) {
        let host = Host::new();
        let mut kernel = Kernel::open().unwrap();
        let shim = host.shim_ref();
        host.make(&mut kernel, &shim);
        (host, kernel, shim)
    }

    pub(crate) fn shim_ref(&self) -> LinkRef {
        LinkRef { name: "mvs-eth0".into(), index: None }
    }

    /// A shim with one guest, by every kind of operation.
    pub(crate) fn making(&self, shim: &LinkRef, parent: LinkIndex, table: u32) -> Vec<Op> {
        let shim = shim.clone();
        let set = |setting, value| Op::Set { shim: shim.clone(), setting, value };
        let route = |to: &str, source: Option<&str>| Op::SetRoute {
            shim: shim.clone(),
            destination: net(to),
            source: source.map(ip),
            table,
            replace: false,
        };
        let neighbour =
            |address| Op::SetNeighbour { shim: shim.clone(), address: ip(address), mac: GUEST_MAC };
        let parent = LinkRef::standing("eth0", parent);
        vec![
            Op::CreateShim { shim: shim.clone(), parent, mac: SHIM_MAC, mtu: 1400 },
            Op::Mark { shim: shim.clone(), mac: SHIM_MAC },
            Op::SetMtu { shim: shim.clone(), mtu: 1500 },
            Op::SetFlags { shim: shim.clone(), protodown: false },
            set(Setting::ArpFilter, 1),
            set(Setting::Ipv6AddrGenMode, 1),
            set(Setting::Ipv6Forwarding, 1),
            set(Setting::Ipv6ProxyNdp, 1),
            set(Setting::Ipv6ProxyDelay, 0),
            Op::SetUp { shim: shim.clone() },
            Op::AddAddress { shim: shim.clone(), address: net("192.0.2.72/32") },
            Op::AddAddress { shim: shim.clone(), address: net("2001:db8::72/128") },
            Op::AddProxy { shim: shim.clone(), address: "2001:db8::1".parse().unwrap() },
            neighbour("192.0.2.100"),
            route("192.0.2.100/32", Some("192.0.2.1")),
            neighbour("2001:db8::100"),
            route("2001:db8::100/128", Some("2001:db8::1")),
            route("203.0.113.64/27", None),
            Op::AddRule { family: Family::V4, priority: 70 },
            Op::AddRule { family: Family::V6, priority: 70 },
        ]
    }

    pub(crate) fn make(&self, kernel: &mut Kernel, shim: &LinkRef) {
        let parent = self.parent(kernel);
        self.making(shim, parent, TABLE_MAIN).iter().for_each(|op| kernel.apply(op).unwrap());
    }

    /// Removes everything of ours.
    pub(crate) fn breaking(&self, kernel: &Kernel) -> Vec<Op> {
        let snapshot = kernel.snapshot();
        let on = |link: LinkIndex| LinkRef::from(&snapshot.links[&link]);
        let mut ops = vec![];
        for rule in snapshot.rules.iter().filter(|rule| rule.ours) {
            ops.push(Op::DeleteRule { family: rule.family, priority: rule.priority });
        }
        for (key, _) in snapshot.routes.iter().filter(|(_, route)| route.ours) {
            let (link, destination, table, metric) = (key.link, key.destination, key.table, key.metric);
            ops.push(Op::DeleteRoute { link: on(link), destination, table, metric });
        }
        for (&(address, link), _) in snapshot.neighbours.iter().filter(|(_, entry)| entry.ours) {
            ops.push(Op::DeleteNeighbour { link: on(link), address });
        }
        for &(link, address) in snapshot.proxies.keys() {
            ops.push(Op::DeleteProxy { link: on(link), address });
        }
        for (key, _) in snapshot.addresses.iter().filter(|(_, address)| address.ours) {
            ops.push(Op::DeleteAddress { link: on(key.link), address: key.address });
        }
        for (_, shim) in snapshot.shims() {
            ops.push(Op::DeleteShim { link: shim.into() });
        }
        ops
    }
}
