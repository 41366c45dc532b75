//! A guest that was caught with another machine's address stays asked first as long as it exists, whatever it
//! does to shed that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use macvlan_shim::config::Config;
use macvlan_shim::model::inventory::{Guest, Inventory, Mode, Power, ServerId, ServerState};
use macvlan_shim::model::plan::Scope;
use macvlan_shim::model::snapshot::{Child, ChildKey, GuestAddress, NeighbourState, Netns, Snapshot};
use macvlan_shim::model::{Code, LinkIndex, Mac, NetnsId, Op, Step};
use macvlan_shim::reconcile::admit::Verdict;
use macvlan_shim::reconcile::{Desired, Inputs, LanQuestions, Memory, decide};
use proptest::prelude::*;
use smol_str::format_smolstr;

use super::in_memory_kernel::InMemoryKernel;
use super::worlds::{Event, LAN_MACHINE, plain_host};
use super::{config, listed};

const PARENT: LinkIndex = LinkIndex(2);
/// The address of a LAN machine that is always there.
const MACHINES: &str = "10.0.0.50/24";
/// An address that nobody has.
const FREE: [&str; 2] = ["10.0.0.60/24", "10.0.0.61/24"];
const NAMES: [&str; 2] = ["a", "b"];

/// A guest as its server and this law know it.
#[derive(Clone, Debug)]
struct Known {
    /// The MAC of each NIC according to the server.
    macs: Vec<Mac>,
    /// The namespace that it runs in; none while it is stopped.
    netns: Option<NetnsId>,
}

struct Tale {
    kernel: InMemoryKernel,
    inventory: Inventory,
    guests: [Known; NAMES.len()],
    /// The addresses that the LAN answers for.
    machines: BTreeSet<IpAddr>,
    desired: Desired,
    memory: Memory,
    questions: LanQuestions,
    seen: Snapshot,
    told: bool,
    now: Instant,
    /// The guests that were caught, judged by observation alone.
    caught: BTreeSet<usize>,
    /// A number that is never given twice.
    last_netns: i32,
    last_mac: u8,
}

/// An event in the life of a guest, caused by itself or by its administrator.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Gets(usize, IpNet),
    Loses(usize, IpNet),
    /// It takes an address of a LAN machine, and gives it up when it is refused.
    Steals(usize),
    /// A LAN machine gets or loses an address.
    Machine(IpNet, bool),
    OtherMac(usize),
    Stops,
    /// The server gives it another MAC, or the same one.
    Starts(bool),
    NewNic,
    LosesNic,
    /// The server can be read, or not.
    Server(bool),
    /// It is deleted, and another guest of the same name is made.
    Anew,
}

fn net() -> impl Strategy<Value = IpNet> {
    (2u8..12).prop_map(|last| {
        let text = if last < 8 { format!("10.0.0.{last}/24") } else { format!("fd00::{last}/64") };
        text.parse().unwrap()
    })
}

fn deed() -> impl Strategy<Value = (usize, Deed, Duration)> {
    let nic = || 0usize..3;
    let deed = prop_oneof![
        8 => (nic(), net()).prop_map(|(nic, net)| Deed::Gets(nic, net)),
        3 => (nic(), net()).prop_map(|(nic, net)| Deed::Loses(nic, net)),
        4 => nic().prop_map(Deed::Steals),
        3 => (net(), prop::bool::weighted(0.7)).prop_map(|(net, there)| Deed::Machine(net, there)),
        2 => nic().prop_map(Deed::OtherMac),
        2 => Just(Deed::Stops),
        4 => any::<bool>().prop_map(Deed::Starts),
        2 => Just(Deed::NewNic),
        1 => Just(Deed::LosesNic),
        2 => any::<bool>().prop_map(Deed::Server),
        1 => Just(Deed::Anew),
    ];
    let pause = prop_oneof![3 => 1u64..500, 2 => 4_000u64..10_000, 1 => 60_000u64..700_000];
    (0..NAMES.len(), deed, pause.prop_map(Duration::from_millis))
}

impl Tale {
    fn new() -> Tale {
        let guests = [0, 1].map(|_| Known { macs: Vec::new(), netns: None });
        let mut tale = Tale {
            kernel: plain_host(true, 0),
            inventory: Inventory::default(),
            guests,
            machines: BTreeSet::from([MACHINES.parse::<IpNet>().unwrap().addr()]),
            desired: Desired::default(),
            memory: Memory::default(),
            questions: LanQuestions::default(),
            seen: Snapshot::default(),
            told: true,
            now: Instant::now(),
            caught: BTreeSet::new(),
            last_netns: 10,
            last_mac: 0,
        };
        for guest in 0..NAMES.len() {
            let mac = tale.new_mac();
            tale.guests[guest].macs.push(mac);
            tale.tell(guest);
            tale.happens(guest, Deed::Starts(false)).unwrap();
        }
        tale
    }

    fn new_mac(&mut self) -> Mac {
        self.last_mac += 1;
        Mac([0, 0x16, 0x3e, 0, 1, self.last_mac])
    }

    fn key(&self, guest: usize, nic: usize) -> Option<ChildKey> {
        let index = 10 + u32::try_from(nic).unwrap();
        self.guests[guest].netns.map(|id| ChildKey { netns: Netns::Id(id), index: LinkIndex(index) })
    }

    /// The server lists the guest as it is now. A server that is away lists nobody.
    fn tell(&mut self, guest: usize) {
        self.told = true;
        let lxd = self.inventory.servers.get(&ServerId("lxd".into()));
        if lxd.is_some_and(|lxd| lxd.guests.is_none()) {
            return;
        }
        let Known { macs, netns } = &self.guests[guest];
        let nics = macs.iter().enumerate().map(|(number, mac)| listed::nic(&format!("eth{number}"), *mac));
        let power = if netns.is_some() { Power::Running } else { Power::Stopped };
        let guest = Guest { power, ..listed::container(NAMES[guest], nics.collect()) };
        Event::Guest { server: "lxd", guest }.happen(&mut self.kernel, &mut self.inventory);
    }

    fn happens(&mut self, guest: usize, deed: Deed) -> Result<(), TestCaseError> {
        match deed {
            Deed::Steals(nic) => {
                let address = MACHINES.parse().unwrap();
                self.happens(guest, Deed::Gets(nic, address))?;
                self.settle()?;
                self.happens(guest, Deed::Loses(nic, address))?;
            }
            Deed::Gets(nic, address) => {
                if let Some(key) = self.key(guest, nic) {
                    Event::Gets { key, address }.happen(&mut self.kernel, &mut self.inventory);
                }
            }
            Deed::Loses(nic, address) => {
                if let Some(key) = self.key(guest, nic) {
                    Event::Loses { key, address }.happen(&mut self.kernel, &mut self.inventory);
                }
            }
            Deed::Machine(address, true) => drop(self.machines.insert(address.addr())),
            Deed::Machine(address, false) => {
                self.machines.remove(&address.addr());
                self.kernel.snapshot.neighbours.remove(&(address.addr(), PARENT));
            }
            Deed::OtherMac(nic) => {
                let mac = self.new_mac();
                if let Some(key) = self.key(guest, nic) {
                    Event::OtherMac { key, mac }.happen(&mut self.kernel, &mut self.inventory);
                }
            }
            Deed::Stops => {
                if let Some(id) = self.guests[guest].netns.take() {
                    self.kernel.snapshot.children.retain(|key, _| key.netns != Netns::Id(id));
                }
                self.tell(guest);
            }
            Deed::Starts(other_mac) if self.guests[guest].netns.is_none() => {
                if other_mac {
                    self.guests[guest].macs[0] = self.new_mac();
                }
                self.last_netns += 1;
                self.guests[guest].netns = Some(NetnsId(self.last_netns));
                for nic in 0..self.guests[guest].macs.len() {
                    self.appear(guest, nic);
                }
                self.tell(guest);
            }
            Deed::Starts(_) => {}
            Deed::NewNic if self.guests[guest].macs.len() < 3 => {
                let mac = self.new_mac();
                self.guests[guest].macs.push(mac);
                self.appear(guest, self.guests[guest].macs.len() - 1);
                self.tell(guest);
            }
            Deed::LosesNic if self.guests[guest].macs.len() > 1 => {
                self.guests[guest].macs.pop();
                if let Some(key) = self.key(guest, self.guests[guest].macs.len()) {
                    self.kernel.snapshot.children.remove(&key);
                }
                self.tell(guest);
            }
            Deed::NewNic | Deed::LosesNic => {}
            Deed::Server(there) => {
                let state = if there { ServerState::Connected } else { ServerState::Failed };
                let lxd = self.inventory.servers.get(&ServerId("lxd".into()));
                let was_there = lxd.is_some_and(|lxd| lxd.guests.is_some());
                let read = there && was_there;
                Event::Server { server: "lxd", state, read }.happen(&mut self.kernel, &mut self.inventory);
                if there && !was_there {
                    let lxd = self.inventory.servers.get_mut(&ServerId("lxd".into())).unwrap();
                    Arc::make_mut(lxd).guests = Some(Vec::new());
                    (0..NAMES.len()).for_each(|guest| self.tell(guest));
                }
                self.told = true;
            }
            Deed::Anew => {
                let lxd = self.inventory.servers.get(&ServerId("lxd".into()));
                if lxd.is_none_or(|lxd| lxd.guests.is_none()) {
                    return Ok(());
                }
                self.happens(guest, Deed::Stops)?;
                Event::NoGuest { server: "lxd", name: NAMES[guest] }
                    .happen(&mut self.kernel, &mut self.inventory);
                // Only if the daemon has seen that there is none.
                self.caught.remove(&guest);
                self.guests[guest].macs = vec![self.new_mac()];
            }
        }
        Ok(())
    }

    fn appear(&mut self, guest: usize, nic: usize) {
        let Some(key) = self.key(guest, nic) else { return };
        let child = Child {
            parent: PARENT,
            mac: self.guests[guest].macs[nic],
            mode: Mode::Bridge,
            name: format_smolstr!("eth{nic}"),
            tap: false,
            up: true,
            master: None,
            sources: Default::default(),
            addresses: BTreeMap::<IpNet, GuestAddress>::new(),
        };
        self.kernel.snapshot.children.insert(key, child);
    }

    fn guest_of(&self, key: &ChildKey) -> Option<usize> {
        self.guests.iter().position(|guest| guest.netns.map(Netns::Id) == Some(key.netns))
    }

    /// Decides, asks and acts as the daemon does, only on the changes. A machine that is asked for and
    /// is there answers.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..6 {
            let mut changes = self.kernel.changes_since(&self.seen);
            changes.merge(self.memory.tenure.due(self.now));
            changes.all |= std::mem::take(&mut self.told);
            self.seen = self.kernel.snapshot.clone();
            let config = Config::default();
            let (snapshot, now) = (&self.seen, self.now);
            let inputs = Inputs { config: &config, inventory: &self.inventory, snapshot, now };
            let (plan, _) = decide(&mut self.desired, &mut self.memory, &inputs, &changes);
            self.look();
            plan.iter().try_for_each(|step| self.is_asked_first(step))?;
            self.questions.look(&Config::default(), &self.desired, &self.seen, &Scope::All, self.now);
            let mut quiet = plan.is_empty();
            for step in &plan {
                prop_assert!(self.kernel.apply(&step.op).is_ok(), "{}", step.op);
            }
            while let Some(question) = self.questions.next(&self.seen, self.now) {
                self.kernel.apply(&question).unwrap();
                self.questions.asked(question, self.now, Ok(()));
                quiet = false;
            }
            for ((address, link), entry) in &mut self.kernel.snapshot.neighbours {
                if entry.is_asked_for() {
                    let there = *link == PARENT && self.machines.contains(address);
                    entry.mac = there.then_some(LAN_MACHINE);
                    entry.state = if there { NeighbourState::Reachable } else { NeighbourState::Failed };
                }
            }
            if quiet {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the guest is caught right now.
    fn look(&mut self) {
        for (key, child) in &self.seen.children {
            let Some(guest) =
                self.guest_of(key).filter(|_| self.desired.held.claimants.served.contains_key(key))
            else {
                continue;
            };
            let held = |address: &IpNet| {
                let verdict = self.desired.held.claims.verdict(key, address.addr());
                let entry = self.seen.neighbours.get(&(address.addr(), PARENT));
                matches!(verdict, Some(Verdict::Refused(refusal)) if refusal.code == Code::HeldOnLan)
                    && entry.is_some_and(|entry| entry.state == NeighbourState::Reachable)
            };
            if child.addresses.keys().any(held) {
                self.caught.insert(guest);
            }
        }
    }

    /// A new route to a guest that was caught: everybody was asked for the address, and nobody answered.
    fn is_asked_first(&self, step: &Step) -> Result<(), TestCaseError> {
        let Op::SetRoute { .. } = step.op else { return Ok(()) };
        let Some(address) = step.op.address() else { return Ok(()) };
        if self.seen.routes.iter().any(|(key, route)| route.ours && key.host() == Some(address)) {
            return Ok(());
        }
        let holder = self.desired.held.holders.get(&address).and_then(|holder| self.guest_of(&holder.child));
        let Some(guest) = holder.filter(|guest| self.caught.contains(guest)) else { return Ok(()) };
        let entry = self.seen.neighbours.get(&(address, PARENT));
        prop_assert!(
            entry.is_some_and(|entry| entry.is_nobodys()),
            "{} was caught and gets {address} unasked: {entry:?}",
            NAMES[guest]
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_guest_that_was_caught_stays_asked_first(deeds in prop::collection::vec(deed(), 1..32)) {
        let mut tale = Tale::new();
        tale.settle()?;
        for (guest, deed, pause) in deeds {
            let anew = matches!(deed, Deed::Anew);
            tale.happens(guest, deed)?;
            tale.settle()?;
            if anew && !tale.inventory.guests().any(|(key, _)| key.name == NAMES[guest]) {
                tale.tell(guest);
                tale.settle()?;
            }
            tale.now += pause;
            tale.settle()?;
        }
        // Whatever was done to shed it, each address that it gets now is asked for first.
        for (guest, free) in FREE.into_iter().enumerate() {
            for deed in [Deed::Server(true), Deed::Starts(true), Deed::Gets(0, free.parse().unwrap())] {
                tale.happens(guest, deed)?;
                tale.settle()?;
            }
        }
    }
}
