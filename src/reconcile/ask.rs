//! The questions to the LAN: whether a machine there has an address that a guest claims. Nothing else asks.
//!
//! The kernel itself asks, on the parent, with the host's own address and MAC (`NTF_USE`). So the guests of
//! this host do not hear it, and nobody on the LAN learns anything that is not true. The answer comes back as
//! a neighbour entry of the parent, and the admission rules decide. This module only chooses when to ask. The
//! time is passed in.
//!
//! `policy.probe` says whether the LAN is asked about unknown addresses. If the kernel's entry for a claimed
//! address names another machine and is stale, that machine is asked for in any case, because only an answer
//! or silence can settle the claim.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::admit::Verdict;
use super::desired::Desired;
use super::hold::Holder;
use super::schedule::Error;
use crate::config::{Config, Policy, Probe};
use crate::model::neighbours::solicited_node;
use crate::model::plan::Scope;
use crate::model::snapshot::{ChildKey, NeighbourState};
use crate::model::{Code, LinkIndex, Op, Plan, Snapshot};

/// The time after which an existing address is asked about again, because a service may have moved to another
/// machine.
const AGAIN: Duration = Duration::from_secs(600);
/// The kernel asks three times, a second apart. While a claim waits for the answer, or is refused because of
/// it, the question is repeated, because the holder may just have gone.
const ANSWERED: Duration = Duration::from_secs(5);
/// How long after a virtual router's MAC came to a guest the LAN is asked. The former master gives the
/// address up when it hears of the new one, and may answer until then.
const HANDED_OVER: Duration = Duration::from_millis(500);
/// Maximum number of addresses that are asked about in the time that the kernel takes for one. It keeps an
/// entry for each, and the host's neighbour table holds a thousand.
const AT_ONCE: usize = 64;
const SPAN: Duration = Duration::from_secs(3);

/// When each address is asked about.
#[derive(Debug, Default)]
pub struct LanQuestions {
    subjects: BTreeMap<IpAddr, Subject>,
    /// The same, by their turn.
    agenda: BTreeMap<Turn, BTreeSet<(Instant, IpAddr)>>,
    /// Those that could not be asked about at the last try, with the errors. [`Trust::unasked`] has those of
    /// them that were never asked about with success.
    ///
    /// [`Trust::unasked`]: super::facts::Trust::unasked
    failed: BTreeMap<IpAddr, (Op, Error)>,
    /// The times of the last questions, [`AT_ONCE`] at most.
    lately: VecDeque<Instant>,
}

/// The claimants of an address.
#[derive(Clone, Debug, PartialEq)]
struct Subject {
    child: ChildKey,
    parent: LinkIndex,
    /// Its route waits until nobody has answered.
    waits: bool,
    /// Another machine is known to have it.
    disputed: bool,
    /// An entry of the kernel has to be checked now. Either a claim waits for it, and the entry of the
    /// machine that disputes the claim is stale. Or the address has a holder, and the kernel knows it on the
    /// LAN with the holder's MAC. Such an entry is old, or comes from another machine with the same MAC.
    pressing: bool,
    asked: bool,
    /// It was asked about with success.
    put: bool,
    due: Instant,
}

/// The order of the addresses that are due. If there are too many, one guest has caused that. Then all others
/// come before the addresses that it claimed in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// It has its route, and may be another machine's.
    Routed,
    /// It waits for its route.
    Waits,
    /// It was asked about before.
    Again,
}

impl Subject {
    fn turn(&self) -> Turn {
        match (self.asked, self.waits) {
            (true, _) => Turn::Again,
            (false, true) => Turn::Waits,
            (false, false) => Turn::Routed,
        }
    }
}

impl LanQuestions {
    /// Takes in the decisions on the addresses of `scope`.
    pub fn look(
        &mut self,
        config: &Config,
        desired: &Desired,
        snapshot: &Snapshot,
        scope: &Scope,
        now: Instant,
    ) {
        let addresses: Vec<IpAddr> = match scope {
            Scope::Addresses(addresses) => addresses.iter().copied().collect(),
            Scope::All => {
                let gone = self.subjects.keys().filter(|address| !desired.held.holders.contains_key(address));
                gone.copied().chain(desired.held.claims.addresses()).collect()
            }
        };
        for address in addresses {
            match subject(config, desired, snapshot, address, now) {
                Some(subject) => self.take_up(address, snapshot, subject, now),
                None => self.drop(address),
            }
        }
    }

    fn take_up(&mut self, address: IpAddr, snapshot: &Snapshot, new: Subject, now: Instant) {
        let same = |known: &&Subject| (known.child, known.parent) == (new.child, new.parent);
        let known = self.subjects.get(&address).filter(same).cloned();
        if known.is_none() {
            self.failed.remove(&address);
        }
        let failed = self.failed.contains_key(&address);
        let subject = match &known {
            // It could not be asked about, which is why it waits. The next try comes in its time.
            Some(known) if failed => Subject { asked: known.asked, put: known.put, due: known.due, ..new },
            Some(known) if known.waits == new.waits => {
                let turned = new.pressing && !known.pressing;
                let due = if turned { new.due.min(known.due) } else { known.due };
                Subject { asked: known.asked, put: known.put, due, ..new }
            }
            // Everybody is being asked, or nobody has answered, and its route has waited for exactly that.
            Some(known) if known.waits && is_settled(snapshot, new.parent, address) => {
                Subject { asked: true, put: true, due: now + AGAIN, ..new }
            }
            _ => new,
        };
        if known.as_ref() != Some(&subject) {
            self.leave(address);
            self.enter(address, subject);
        }
    }

    fn enter(&mut self, address: IpAddr, subject: Subject) {
        self.agenda.entry(subject.turn()).or_default().insert((subject.due, address));
        self.subjects.insert(address, subject);
    }

    fn drop(&mut self, address: IpAddr) {
        self.leave(address);
        self.failed.remove(&address);
    }

    fn leave(&mut self, address: IpAddr) -> Option<Subject> {
        let subject = self.subjects.remove(&address)?;
        if let Some(turn) = self.agenda.get_mut(&subject.turn()) {
            turn.remove(&(subject.due, address));
        }
        Some(subject)
    }

    /// The next question that is due, as an op.
    pub fn next(&mut self, snapshot: &Snapshot, now: Instant) -> Option<Op> {
        loop {
            if self.wake()? > now {
                return None;
            }
            let mut turns = self.agenda.values().filter_map(BTreeSet::first);
            let (_, address) = *turns.find(|(due, _)| *due <= now)?;
            let subject = self.leave(address)?;
            let due = now + if subject.waits { ANSWERED } else { AGAIN };
            let (parent, disputed) = (snapshot.links.get(&subject.parent), subject.disputed);
            self.enter(address, Subject { asked: true, due, ..subject });
            let Some(parent) = parent else { continue };
            self.lately.push_back(now);
            if self.lately.len() > AT_ONCE {
                self.lately.pop_front();
            }
            return Some(Op::Ask { link: parent.into(), address, disputed });
        }
    }

    /// Remembers the outcome of a question. A question that could not be sent is repeated soon.
    pub fn asked(&mut self, question: Op, now: Instant, result: Result<(), Error>) {
        let Some(address) = question.address() else { return };
        let Some(subject) = self.leave(address) else { return };
        match result {
            Ok(()) => {
                self.enter(address, Subject { put: true, ..subject });
                self.failed.remove(&address);
            }
            Err(error) => {
                self.enter(address, Subject { due: now + ANSWERED, ..subject });
                self.failed.insert(address, (question, error));
            }
        }
    }

    /// The addresses that nobody may have because the LAN could never be asked about them, each with the
    /// reason. An address that was once asked about with success keeps its route.
    pub fn unasked(&self) -> BTreeMap<IpAddr, String> {
        let never = self
            .failed
            .iter()
            .filter(|(address, _)| self.subjects.get(address).is_some_and(|subject| !subject.put));
        never.map(|(address, (_, error))| (*address, error.message.clone())).collect()
    }

    /// The questions that could not be sent at the last try, each with its error.
    pub fn failures(&self) -> impl Iterator<Item = (&Op, &Error)> {
        self.failed.values().map(|(question, error)| (question, error))
    }

    /// When the next question is due.
    pub fn wake(&self) -> Option<Instant> {
        let (due, _) = self.agenda.values().filter_map(BTreeSet::first).min()?;
        let crowded = self.lately.front().filter(|_| self.lately.len() == AT_ONCE);
        Some(crowded.map_or(*due, |first| (*first + SPAN).max(*due)))
    }
}

/// Takes out of a plan the steps that would end one of these questions. The plan was made before they were
/// put, so it shows what an earlier question came to.
pub fn spare_questions(plan: &mut Plan, put: &[Op]) {
    if !put.is_empty() {
        plan.retain(|step| !put.iter().any(|question| ends(&step.op, question)));
    }
}

/// Whether an op takes away the entry of a question, or of the group that the question goes to.
fn ends(op: &Op, question: &Op) -> bool {
    let Op::Ask { link: on, address: of, .. } = question else { return false };
    match op {
        Op::DeleteNeighbour { link, address } | Op::ReleaseNeighbour { link, address } => {
            link == on && (address == of || solicited_node(*of) == Some(*address))
        }
        _ => false,
    }
}

/// Whether an address has to be asked about, and its claimant. Of the addresses that a child waits for, only
/// the first are asked about, as many as a NIC may have.
fn subject(
    config: &Config,
    desired: &Desired,
    snapshot: &Snapshot,
    address: IpAddr,
    now: Instant,
) -> Option<Subject> {
    let Policy { probe, max_addresses, .. } = config.policy;
    let held = &desired.held;
    let has_shim = |parent: &LinkIndex| desired.shims.get(parent).is_some_and(|it| it.obstacle.is_none());
    let parent_of =
        |child: &ChildKey| snapshot.children.get(child).map(|child| child.parent).filter(has_shim);
    let entry = |parent| snapshot.neighbours.get(&(address, parent));
    let is_stale = |parent| entry(parent).is_some_and(|entry| entry.state == NeighbourState::Stale);
    let is_checked = |child: &&ChildKey| {
        parent_of(child).is_some_and(is_stale)
            && held.is_disputed(child, address)
            && desired.takes_part(snapshot, child, address)
    };
    let is_first = |child: &ChildKey| {
        let mut first = held.claims.of(child).filter(|(_, verdict)| is_open(verdict)).take(max_addresses);
        first.any(|(its, _)| its == address)
    };
    let waits = |child: &&ChildKey| held.claimants.served.contains_key(child) && is_first(child);
    let claiming = || held.claims.claimed_by(address);
    let (child, parent, waits, pressing, stands) = match held.holders.get(&address) {
        Some(Holder { child, parent, mac, .. }) => {
            let known = entry(*parent).is_some_and(|entry| !entry.ours && entry.mac.is_some());
            // If the route exists already, another process has asked.
            let stands = desired.holds(snapshot, *parent, *mac, address);
            (*child, Some(*parent).filter(has_shim)?, false, known, stands)
        }
        None => match claiming().find(is_checked) {
            Some(child) => (*child, parent_of(child)?, true, true, false),
            None => {
                let child = claiming().find(waits)?;
                (*child, parent_of(child)?, true, false, false)
            }
        },
    };
    if probe == Probe::Off && !(waits && pressing) {
        return None;
    }
    let disputed = held.is_disputed(&child, address);
    let answers = entry(parent).is_some_and(|entry| entry.state == NeighbourState::Reachable);
    let comes_and_goes = snapshot.children.get(&child).is_some_and(|child| child.mac.is_virtual_routers());
    let due = now
        + match () {
            () if stands && !pressing => AGAIN,
            () if disputed && answers => ANSWERED,
            () if comes_and_goes => HANDED_OVER,
            () => Duration::ZERO,
        };
    Some(Subject { child, parent, waits, disputed, pressing, asked: false, put: stands, due })
}

/// The question to everybody is under way, or was asked in vain.
fn is_settled(snapshot: &Snapshot, parent: LinkIndex, address: IpAddr) -> bool {
    let entry = snapshot.neighbours.get(&(address, parent));
    entry.is_some_and(|entry| entry.is_nobodys() || entry.is_asked_for())
}

/// The LAN's answer, or its silence, decides on the claim.
fn is_open(verdict: &Verdict) -> bool {
    let Verdict::Refused(refusal) = verdict else { return false };
    matches!(refusal.code, Code::Asking | Code::HeldOnLan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::When;
    use crate::model::snapshot::{Link, Neighbour, Netns};
    use crate::model::{LinkRef, Mac, NetnsId, PerFamily, Step};
    use crate::reconcile::hold::Held;
    use crate::reconcile::shims::DesiredShim;

    const PARENT: LinkIndex = LinkIndex(2);

    /// A parent with this many guests, each of which holds an address.
    fn guests(count: u8) -> (Desired, Snapshot) {
        let mac = Mac([0, 0x16, 0x3e, 0, 0, 1]);
        let eth0 = Link {
            index: PARENT,
            name: "eth0".into(),
            mtu: 1500,
            up: true,
            multicast: true,
            arp: true,
            ..Link::default()
        };
        let snapshot = Snapshot { links: [(PARENT, eth0)].into(), ..Snapshot::default() };
        let shim = DesiredShim {
            link: LinkRef { name: "mvs-eth0".into(), index: Some(LinkIndex(3)) },
            parent: "eth0".into(),
            mac,
            mtu: 1500,
            why: String::new(),
            obstacle: None,
            settings: Vec::new(),
            addresses: BTreeSet::new(),
            proxies: BTreeSet::new(),
            ranges: BTreeMap::new(),
            tables: PerFamily { v4: 254, v6: 254 },
            macs: None,
            answers: BTreeSet::new(),
        };
        let holder = |last: u8| {
            let child = ChildKey { netns: Netns::Id(NetnsId(last.into())), index: LinkIndex(7) };
            let source = IpAddr::from([192, 0, 2, 254]);
            (IpAddr::from([192, 0, 2, last]), Holder { child, parent: PARENT, mac, source, nic: None })
        };
        let shims = [(PARENT, shim)].into();
        let held = Held { holders: (1..=count).map(holder).collect(), ..Held::default() };
        (Desired { shims, held, ..Desired::default() }, snapshot)
    }

    fn look(questions: &mut LanQuestions, desired: &Desired, snapshot: &Snapshot, now: Instant) {
        let all = (1..=200).map(|last| IpAddr::from([192, 0, 2, last])).collect();
        questions.look(&Config::default(), desired, snapshot, &Scope::Addresses(all), now);
    }

    #[test]
    fn many_addresses_are_asked_about_a_few_at_a_time_and_each_again_later() {
        let (desired, snapshot) = guests(200);
        let start = Instant::now();
        let (mut questions, mut now, mut asked) = (LanQuestions::default(), start, Vec::new());
        look(&mut questions, &desired, &snapshot, now);
        while now < start + AGAIN + SPAN * 4 {
            let before = asked.len();
            while let Some(Op::Ask { address, .. }) = questions.next(&snapshot, now) {
                asked.push(address);
            }
            assert!(asked.len() - before <= AT_ONCE);
            look(&mut questions, &desired, &snapshot, now);
            now = questions.wake().unwrap().max(now + Duration::from_millis(1));
        }
        let firsts: BTreeSet<IpAddr> = asked[..200].iter().copied().collect();
        assert_eq!((firsts.len(), asked.len()), (200, 400));
    }

    #[test]
    fn a_new_claim_comes_before_those_that_were_asked_about_in_vain() {
        let (desired, mut snapshot) = guests(150);
        let (mut questions, start) = (LanQuestions::default(), Instant::now());
        for last in 1..=149 {
            let address = IpAddr::from([192, 0, 2, last]);
            let Holder { child, parent, .. } = desired.held.holders[&address];
            let waits = Subject {
                child,
                parent,
                waits: true,
                disputed: false,
                pressing: false,
                asked: true,
                put: true,
                due: start,
            };
            questions.enter(address, waits);
            let silence = Neighbour { mac: None, state: NeighbourState::Failed, ours: true };
            snapshot.neighbours.insert((address, parent), silence);
        }
        let now = start + SPAN;
        look(&mut questions, &desired, &snapshot, now);
        let Some(Op::Ask { address, .. }) = questions.next(&snapshot, now) else { panic!("nobody") };
        assert_eq!(address, IpAddr::from([192, 0, 2, 150]));
    }

    #[test]
    fn a_question_that_cannot_be_sent_is_reported_and_soon_repeated() {
        let (desired, snapshot) = guests(1);
        let (mut questions, now) = (LanQuestions::default(), Instant::now());
        look(&mut questions, &desired, &snapshot, now);
        let question = questions.next(&snapshot, now).unwrap();
        let error = Error { code: Code::KernelRefused, message: String::new(), hint: None };
        questions.asked(question, now, Err(error));
        assert_eq!((questions.failures().count(), questions.wake()), (1, Some(now + ANSWERED)));
        let question = questions.next(&snapshot, now + ANSWERED).unwrap();
        questions.asked(question, now + ANSWERED, Ok(()));
        assert_eq!((questions.failures().count(), questions.wake()), (0, Some(now + ANSWERED + AGAIN)));
    }

    #[test]
    fn a_route_waits_until_its_address_can_be_asked_about() {
        let (desired, snapshot) = guests(2);
        let (mut questions, now) = (LanQuestions::default(), Instant::now());
        let error = || Error { code: Code::KernelRefused, message: "full".to_owned(), hint: None };
        look(&mut questions, &desired, &snapshot, now);
        let first = questions.next(&snapshot, now).unwrap();
        questions.asked(first, now, Ok(()));
        let second = questions.next(&snapshot, now).unwrap();
        questions.asked(second, now, Err(error()));
        assert_eq!(questions.unasked(), BTreeMap::from([(IpAddr::from([192, 0, 2, 2]), "full".to_owned())]));
        // Both fail later, but the first was once asked about with success.
        let later = now + AGAIN;
        while let Some(question) = questions.next(&snapshot, later) {
            questions.asked(question, later, Err(error()));
        }
        assert_eq!((questions.failures().count(), questions.unasked().len()), (2, 1));
    }

    #[test]
    fn an_address_without_a_holder_is_not_asked_about() {
        let (mut desired, snapshot) = guests(3);
        let (mut questions, now) = (LanQuestions::default(), Instant::now());
        look(&mut questions, &desired, &snapshot, now);
        desired.held.holders.clear();
        look(&mut questions, &desired, &snapshot, now);
        assert!(questions.next(&snapshot, now).is_none() && questions.wake().is_none());
    }

    /// A guest takes an address again at the moment when the question about its last time there comes to
    /// nothing. The plan still takes away the entry of that question.
    #[test]
    fn a_plan_from_before_a_question_does_not_end_it() {
        let on = |name: &str, index| LinkRef { name: name.into(), index: Some(LinkIndex(index)) };
        let address: IpAddr = "fd77::101".parse().unwrap();
        let group = solicited_node(address).unwrap();
        let delete = |link, address| Step {
            op: Op::DeleteNeighbour { link, address },
            when: When::Now,
            why: String::new(),
        };
        let others = [
            delete(on("mvs-eth0", 3), address),
            delete(on("eth1", 4), group),
            delete(on("eth0", 2), "fd77::102".parse().unwrap()),
        ];
        let ends = [delete(on("eth0", 2), address), delete(on("eth0", 2), group)];
        let mut plan: Plan = ends.into_iter().chain(others.clone()).collect();
        spare_questions(&mut plan, &[Op::Ask { link: on("eth0", 2), address, disputed: false }]);
        assert_eq!(plan, others);
    }
}
