//! The expected state, worked out from the real state and from the promises of the documents: the addresses
//! of guests that the host must route, and those that it must not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::ground::Ground;
use crate::intent::Intent;
use crate::operation::Subject;
use crate::site::ROLES;
use crate::truth::{Guest, Truth};

/// Observations of former quiet moments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// How often the daemon had been started then.
    pub(crate) generation: u64,
    /// The guests that this daemon has known, by the process ids of their inits.
    pub(crate) served: BTreeSet<u64>,
    /// The addresses that were routed, each with its MAC.
    pub(crate) routed: BTreeMap<IpAddr, String>,
    /// The MAC of the shim, or of the last one.
    pub(crate) shim_mac: Option<String>,
    /// The MACs that shims are made with, by the names of their parents.
    pub(crate) drawn_macs: BTreeMap<&'static str, String>,
    /// [`Intent::has_impostor`].
    pub(crate) impostor: bool,
    /// The addresses that two guests had at once, each with the last time that this was seen.
    pub(crate) contested: BTreeMap<IpAddr, Instant>,
}

/// How long a guest may wait for an address that it took while another guest had it. The time counts from the
/// last moment at which both were seen to have it. It is a minute, and some time to see it.
const SQUATTERS_WAIT: Duration = Duration::from_secs(75);

/// The events since then.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// How often the daemon has been started by now.
    pub(crate) generation: u64,
    /// The subjects of the operations.
    pub(crate) subjects: BTreeSet<Subject>,
    /// [`Intent::has_impostor`] was true at some time.
    pub(crate) impostor: bool,
    /// [`Intent::contested`] at any time.
    pub(crate) contested: BTreeSet<IpAddr>,
    /// The kernel or the servers reported all events.
    pub(crate) told: bool,
    /// The former name of the uplink.
    pub(crate) parents: BTreeSet<&'static str>,
    /// Somebody gave the shim another MAC, or made another shim with one.
    pub(crate) other_macs: bool,
}

/// One address of one guest.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) guest: usize,
    pub(crate) address: IpAddr,
    pub(crate) mac: String,
    pub(crate) verdict: Verdict,
}

/// Whether the host routes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does, unless another guest has the address too.
    Must,
    /// It does, although nobody may vouch for the guest, because it did before.
    Kept,
    /// It may or may not.
    May,
    /// It does not, for one of these reasons.
    Never(Vec<&'static str>),
}

/// The expected state.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) claims: Vec<Claim>,
    /// By address.
    pub(crate) routes: BTreeMap<IpAddr, Wanted>,
    /// A shim must stand.
    pub(crate) shim_required: bool,
    /// A shim may stand.
    pub(crate) shim_allowed: bool,
    /// Further ones may stand, because none is deleted while a server is still to be read.
    pub(crate) twins_allowed: bool,
}

/// A route to a guest's address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) required: bool,
    /// The MACs that it may lead to.
    pub(crate) macs: BTreeSet<String>,
}

/// Works out the expected state.
pub(crate) fn expect(truth: &Truth, intent: &Intent, memory: &Memory, news: &News) -> Expected {
    let ground = Ground::new(truth, intent);
    let mut claims = Vec::new();
    for (index, guest) in &truth.guests {
        claims.extend(claims_of(&ground, *index, guest, memory, news));
    }
    let routes = routes(&claims);
    let certain = |(index, guest): (&usize, &Guest)| {
        !ROLES[*index].out && is_known(intent, *index, guest, memory, news)
    };
    let all_up = (0..ROLES.len()).all(|guest| intent.is_served(guest));
    let any_guest = truth.guests.keys().any(|index| !ROLES[*index].out);
    let kept = intent.daemon.configuration.keeps_shims();
    Expected {
        claims,
        routes,
        shim_required: truth.guests.iter().any(certain) || (kept && all_up && intent.uplink.name == "eth0"),
        shim_allowed: any_guest || kept || !all_up,
        twins_allowed: !all_up,
    }
}

fn claims_of(ground: &Ground<'_>, index: usize, guest: &Guest, memory: &Memory, news: &News) -> Vec<Claim> {
    let known = is_known(ground.intent, index, guest, memory, news);
    let mut claims: BTreeMap<IpAddr, Claim> = BTreeMap::new();
    for seen in guest.nic.addresses.iter().filter(|address| address.scope == "global") {
        let (address, mac) = (seen.local, guest.nic.mac.clone());
        let reasons = ground.objections(index, &mac, seen);
        let verdict = if !reasons.is_empty() {
            Verdict::Never(reasons)
        } else if memory.is_contested(address) {
            Verdict::May
        } else if known {
            Verdict::Must
        } else if is_kept(index, &mac, address, memory, news) {
            Verdict::Kept
        } else {
            Verdict::May
        };
        claims.insert(address, Claim { guest: index, address, mac, verdict });
    }
    let admissible = claims.values().filter(|claim| claim.verdict.may_be_routed()).count();
    if admissible > ground.intent.daemon.configuration.max_addresses() {
        for claim in claims.values_mut().filter(|claim| claim.verdict.may_be_routed()) {
            claim.verdict = Verdict::May;
        }
    }
    claims.into_values().collect()
}

/// The daemon knows the guest: its server reports it, or has reported it to this daemon. A guest that has
/// changed its MAC need not be known again after a restart of the daemon.
fn is_known(intent: &Intent, index: usize, guest: &Guest, memory: &Memory, news: &News) -> bool {
    let served = memory.generation == news.generation && memory.served.contains(&guest.pid);
    let told = intent.is_served(index) && guest.given_mac.as_ref() == Some(&guest.nic.mac);
    served || told
}

/// Nobody vouches for the guest, but it had its route, and nothing has happened to the guest. If something
/// happens to the route, this daemon repairs it. Of the routes from before its start it knows only those that
/// still stood then.
fn is_kept(index: usize, mac: &str, address: IpAddr, memory: &Memory, news: &News) -> bool {
    let disturbs = |subject: &Subject| match subject {
        Subject::Ours | Subject::Uplink | Subject::Host => memory.generation != news.generation,
        Subject::Everybody => true,
        Subject::Guest(guest) => *guest == index,
        Subject::Server(_) | Subject::Daemon => false,
    };
    let had = memory.routed.get(&address).is_some_and(|holder| holder == mac);
    had && !news.subjects.iter().any(disturbs)
}

fn routes(claims: &[Claim]) -> BTreeMap<IpAddr, Wanted> {
    let mut routes: BTreeMap<IpAddr, Wanted> = BTreeMap::new();
    for claim in claims.iter().filter(|claim| claim.verdict.may_be_routed()) {
        let wanted = routes.entry(claim.address).or_default();
        wanted.required |= claim.verdict != Verdict::May;
        wanted.macs.insert(claim.mac.clone());
    }
    routes
}

impl Memory {
    /// Takes in the addresses that two guests have at once, by the intent of the operations and in reality.
    pub(crate) fn see_contests(&mut self, truth: &Truth, news: &News) {
        let mut had = BTreeSet::new();
        let all = truth.guests.values().flat_map(|guest| guest.nic.addresses.iter().map(|its| its.local));
        let twice: Vec<IpAddr> = all.filter(|address| !had.insert(*address)).collect();
        let now = Instant::now();
        self.contested.extend(twice.into_iter().chain(news.contested.iter().copied()).map(|one| (one, now)));
    }

    /// Two guests had that address at once, a short while ago.
    pub(crate) fn is_contested(&self, address: IpAddr) -> bool {
        self.contested.get(&address).is_some_and(|last| last.elapsed() < SQUATTERS_WAIT)
    }

    /// A shim has had that MAC.
    fn has(&self, mac: Option<&String>) -> bool {
        mac == self.shim_mac.as_ref() || self.drawn_macs.values().any(|drawn| Some(drawn) == mac)
    }

    /// Whether a shim may have that MAC: it had it before, or shims on parents of that name always have it.
    pub(crate) fn expects(&self, mac: &String, news: &News) -> bool {
        let drawn = |parent: &&str| self.drawn_macs.get(*parent).is_none_or(|drawn| drawn == mac);
        news.other_macs || self.shim_mac.as_ref() == Some(mac) || news.parents.iter().any(drawn)
    }
}

impl Verdict {
    pub(crate) fn may_be_routed(&self) -> bool {
        !matches!(self, Verdict::Never(_))
    }
}

impl Expected {
    /// The observations to keep of a quiet moment in which everything is as it should be.
    pub(crate) fn remember(truth: &Truth, intent: &Intent, memory: &mut Memory, news: &News) {
        let known =
            truth.guests.iter().filter(|(index, guest)| is_known(intent, **index, guest, memory, news));
        let served = known.map(|(_, guest)| guest.pid).collect();
        let mac = |address: IpAddr| {
            let entry = truth.neighbours.iter().find(|entry| entry.is_ours() && entry.address == address);
            Some((address, entry?.mac.clone()?))
        };
        let shim_mac = truth.shim().map(|shim| shim.mac.clone());
        if let (Some(mac), false) = (&shim_mac, news.other_macs || memory.has(shim_mac.as_ref())) {
            let new = news.parents.iter().find(|parent| !memory.drawn_macs.contains_key(*parent));
            memory.drawn_macs.extend(new.map(|parent| (*parent, mac.clone())));
        }
        *memory = Memory {
            generation: news.generation,
            served,
            routed: truth.our_routes().filter_map(|route| mac(route.host()?)).collect(),
            shim_mac: shim_mac.or(memory.shim_mac.take()),
            drawn_macs: std::mem::take(&mut memory.drawn_macs),
            impostor: intent.has_impostor(),
            contested: std::mem::take(&mut memory.contested),
        };
    }
}

/// The network that contains an address, if one of these does.
pub(crate) fn near(address: IpAddr, networks: impl IntoIterator<Item = IpNet>) -> bool {
    networks.into_iter().any(|network| network.contains(&address))
}
