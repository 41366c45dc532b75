//! The holder of an address that several guests claim, over time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use macvlan_shim::config::Config;
use macvlan_shim::model::inventory::{Inventory, Mode};
use macvlan_shim::model::snapshot::{ChildKey, Netns};
use macvlan_shim::model::{LinkIndex, Mac, NetnsId};
use macvlan_shim::reconcile::hold::tenure::{MOMENT, RETURN, WAIT};
use proptest::prelude::*;

use super::worlds::{Event, World, plain_host};
use super::{Run, config, listed};

const ADDRESS: &str = "10.0.0.3/24";
const GUESTS: usize = 3;

fn key(guest: usize) -> ChildKey {
    ChildKey { netns: Netns::Id(NetnsId(i32::try_from(guest).unwrap())), index: LinkIndex(10) }
}

fn mac(guest: usize) -> Mac {
    Mac([0, 0x16, 0x3e, 0, 0, u8::try_from(guest).unwrap() + 1])
}

/// A plain host and its guests, which have no address yet.
pub(super) fn world(config: Config, guests: usize) -> World {
    let mut world = World { config, inventory: Inventory::default(), kernel: plain_host(true, 0) };
    for guest in 0..guests {
        let container = listed::container(["a", "b", "c"][guest], vec![listed::nic("eth0", mac(guest))]);
        Event::Guest { server: "lxd", guest: container }.happen(&mut world.kernel, &mut world.inventory);
        comes(guest).happen(&mut world.kernel, &mut world.inventory);
    }
    world
}

fn comes(guest: usize) -> Event {
    let (key, mac) = (key(guest), mac(guest));
    Event::Child {
        key,
        parent: LinkIndex(2),
        mac,
        mode: Mode::Bridge,
        tap: false,
        addresses: BTreeMap::new(),
    }
}

/// An action of a guest.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Claims,
    Lets,
    Restarts,
}

fn deed() -> impl Strategy<Value = (usize, Deed, Duration)> {
    let deed = prop_oneof![3 => Just(Deed::Claims), 2 => Just(Deed::Lets), 1 => Just(Deed::Restarts)];
    let pause = prop_oneof![
        2 => 1u64..1_000,
        2 => 1_000u64..20_000,
        2 => 20_000u64..90_000,
        1 => 90_000u64..700_000,
    ];
    (0..GUESTS, deed, pause.prop_map(Duration::from_millis))
}

/// Everything that this law knows about the address, judged by observation alone.
#[derive(Debug, Default)]
struct Seen {
    /// Since when each guest has claimed it without a break.
    claims: BTreeMap<usize, Instant>,
    /// The guest that has it by our neighbour entry and route, and since when.
    holder: Option<(usize, Instant)>,
    /// When each guest last had it.
    had: BTreeMap<usize, Instant>,
    /// The guest that had it for at least a minute while nobody else could get it back, and when it lost it;
    /// `None` while it has it.
    rightful: Option<(usize, Option<Instant>)>,
    /// The time until which each guest must not have it.
    banned: BTreeMap<usize, Instant>,
}

impl Seen {
    /// Looks at the present state.
    fn look(&mut self, run: &Run) -> Result<(), TestCaseError> {
        let now = run.now;
        let address: IpAddr = ADDRESS.parse::<IpNet>().unwrap().addr();
        let snapshot = &run.kernel.snapshot;
        let is_routed =
            snapshot.routes.iter().any(|(key, route)| route.ours && key.destination == IpNet::from(address));
        let mut entries =
            snapshot.neighbours.iter().filter(|((its, _), entry)| *its == address && entry.ours);
        let at = entries.next().and_then(|(_, entry)| entry.mac);
        let at = at.filter(|_| is_routed).and_then(|at| (0..GUESTS).find(|guest| mac(*guest) == at));
        // A route that waits for its deletion, or for a takeover, belongs to nobody.
        let at = at.filter(|guest| self.claims.contains_key(guest));
        if let Some((before, _)) = self.holder {
            self.had.insert(before, now);
        }
        self.holder = at.map(|guest| match self.holder {
            Some((before, since)) if before == guest => (guest, since),
            _ => (guest, now),
        });
        let rightful = self.rightful.filter(|(_, lost)| lost.is_none_or(|lost| now < lost + RETURN));
        self.rightful = rightful;
        if let Some((guest, _)) = rightful.filter(|(guest, _)| self.claims.contains_key(guest)) {
            prop_assert_eq!(at, Some(guest), "the rightful holder has it at once");
            self.rightful = Some((guest, None));
        }
        if let Some((guest, since)) = self.holder {
            let banned = self.banned.get(&guest).is_some_and(|until| now < *until);
            prop_assert!(!banned, "a squatter has it too early");
            let mut others = self.had.iter().filter(|(other, _)| **other != guest);
            let alone = others.all(|(_, had)| *had + RETURN <= now);
            if self.rightful.is_none() && alone && now >= since + Duration::from_secs(60) {
                self.rightful = Some((guest, None));
            }
        }
        Ok(())
    }

    /// A guest no longer has the address.
    fn lets(&mut self, guest: usize, now: Instant) {
        if self.claims.remove(&guest).is_none() {
            return;
        }
        if let Some((_, lost @ None)) = self.rightful.as_mut().filter(|(rightful, _)| *rightful == guest) {
            *lost = Some(now);
        }
        if let Some((_, held)) = self.holder.filter(|(holder, _)| *holder == guest) {
            self.had.insert(guest, now);
            let beside = |(guest, since): (&usize, &Instant)| {
                let since = self.had.get(guest).map_or(*since, |had| *had.max(since)).max(held);
                (since + MOMENT <= now).then_some(*guest)
            };
            let squatters: Vec<usize> = self.claims.iter().filter_map(beside).collect();
            for squatter in squatters {
                self.banned.insert(squatter, now + WAIT);
            }
        }
    }
}

/// Lets time pass, and has the daemon do everything that is due.
fn pass(run: &mut Run, seen: &mut Seen, pause: Duration) -> Result<(), TestCaseError> {
    let end = run.now + pause;
    loop {
        run.settle(&|_| false);
        seen.look(run)?;
        let wake = [run.schedule.wake(), run.memory.tenure.wake()].into_iter().flatten().min();
        match wake.filter(|wake| *wake <= end) {
            Some(wake) => run.now = wake.max(run.now),
            None => break,
        }
    }
    run.now = end;
    run.settle(&|_| false);
    seen.look(run)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn squatters_wait_and_the_rightful_holder_comes_back(deeds in prop::collection::vec(deed(), 1..24)) {
        let mut run = Run::new(world(Config::default(), GUESTS));
        let mut seen = Seen::default();
        let address: IpNet = ADDRESS.parse().unwrap();
        pass(&mut run, &mut seen, Duration::from_millis(1))?;
        for (guest, deed, pause) in deeds {
            match deed {
                Deed::Claims => {
                    Event::Gets { key: key(guest), address }.happen(&mut run.kernel, &mut run.world.inventory);
                    seen.claims.entry(guest).or_insert(run.now);
                }
                Deed::Lets => {
                    Event::Loses { key: key(guest), address }.happen(&mut run.kernel, &mut run.world.inventory);
                    seen.lets(guest, run.now);
                }
                Deed::Restarts => {
                    Event::NoChild { key: key(guest) }.happen(&mut run.kernel, &mut run.world.inventory);
                    seen.lets(guest, run.now);
                    pass(&mut run, &mut seen, Duration::from_millis(500))?;
                    comes(guest).happen(&mut run.kernel, &mut run.world.inventory);
                }
            }
            pass(&mut run, &mut seen, pause)?;
        }
    }
}
