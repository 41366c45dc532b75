//! Chains → the fate of the packet.

use super::chain::{Base, Met, Stop, Then, hooks};
use super::fit::Fit;
use super::packet::Packet;

/// How deep chains call each other: the kernel's own limit.
const DEPTH: usize = 16;

/// Maximum number of rules that are looked at for one packet. Beyond it the fate is not known.
const RULES: usize = 100_000;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// Nothing drops it.
    Passes,
    /// It may be dropped here: a condition on the way is not understood.
    MayDrop(Stop),
    /// It is dropped here.
    Dropped(Stop),
}

impl Fate {
    /// The worse, the greater.
    pub fn rank(&self) -> u8 {
        match self {
            Fate::Passes => 0,
            Fate::MayDrop(_) => 1,
            Fate::Dropped(_) => 2,
        }
    }

    /// The place, unless it passes.
    pub fn stop(&self) -> Option<&Stop> {
        match self {
            Fate::Passes => None,
            Fate::MayDrop(stop) | Fate::Dropped(stop) => Some(stop),
        }
    }
}

/// The fate of a packet.
pub(super) fn fate(chains: &[Met], packet: &Packet<'_>) -> Fate {
    let mut fate = Fate::Passes;
    for (chain, base) in called(chains, packet).filter(|(_, base)| !base.translates) {
        let mut walk = Walk::new(chains, chain, base);
        let at_the_end = walk.through(chain, Fit::Yes, 0);
        if at_the_end > Fit::No && base.drops {
            walk.stops(chain, None, base.packets, at_the_end);
        } else if at_the_end > Fit::No {
            walk.may_pass = true;
        }
        let may_pass = walk.may_pass || walk.is_lost();
        let here = match (walk.stop, may_pass) {
            (Some((_, stop)), false) if base.is_awake == Fit::Yes => Fate::Dropped(stop),
            (Some((_, stop)), _) => Fate::MayDrop(stop),
            (None, _) => Fate::Passes,
        };
        if here.rank() > fate.rank() {
            fate = here;
        }
    }
    fate
}

/// Whether a chain changes its source.
pub(super) fn translates(chains: &[Met], packet: &Packet<'_>) -> Fit {
    let translating = called(chains, packet).filter(|(_, base)| base.translates);
    Fit::any(translating.map(|(chain, base)| {
        let mut walk = Walk::new(chains, chain, base);
        walk.through(chain, Fit::Yes, 0);
        walk.translated.and(base.is_awake)
    }))
}

/// The chains that the kernel calls for a packet, in its order.
fn called<'a>(chains: &'a [Met], packet: &Packet<'_>) -> impl Iterator<Item = (&'a Met, &'a Base)> {
    let hooks = hooks(packet.path);
    let place = |base: &Base| hooks.iter().position(|hook| *hook == base.hook);
    let mut called: Vec<(usize, &Met, &Base)> = chains
        .iter()
        .filter_map(|chain| {
            let base = chain.hooked.as_ref().filter(|base| base.is_awake > Fit::No)?;
            Some((place(base)?, chain, base))
        })
        .collect();
    called.sort_by_key(|(hook, _, base)| (*hook, base.priority));
    called.into_iter().map(|(_, chain, base)| (chain, base))
}

/// A packet on its way through one chain that the kernel calls, and those that it leads to.
struct Walk<'a> {
    chains: &'a [Met],
    base: &'a Met,
    hooked: &'a Base,
    rules: usize,
    may_pass: bool,
    /// The surest place where it is dropped.
    stop: Option<(Fit, Stop)>,
    translated: Fit,
}

impl<'a> Walk<'a> {
    fn new(chains: &'a [Met], base: &'a Met, hooked: &'a Base) -> Walk<'a> {
        Walk { chains, base, hooked, rules: 0, may_pass: false, stop: None, translated: Fit::No }
    }

    /// There are too many rules to follow all.
    fn is_lost(&self) -> bool {
        self.rules > RULES
    }

    /// Goes through a chain that the packet enters, or may enter. Returns whether it comes out at the end.
    fn through(&mut self, chain: &'a Met, entered: Fit, depth: usize) -> Fit {
        let (mut here, mut returned) = (entered, Fit::No);
        for rule in &chain.rules {
            self.rules += 1;
            if depth > DEPTH || self.is_lost() {
                return Fit::Perhaps;
            }
            for (fit, then) in rule.branches.iter().filter(|(fit, _)| *fit > Fit::No) {
                let taken = here.and(*fit);
                let goes_on = match then {
                    Then::Go => taken,
                    Then::Accept => {
                        self.may_pass = true;
                        Fit::No
                    }
                    Then::Drop => {
                        self.stops(chain, Some(&rule.text), rule.packets, taken);
                        Fit::No
                    }
                    Then::Translate => {
                        self.translated = self.translated.or(taken);
                        self.may_pass = true;
                        Fit::No
                    }
                    Then::Return => {
                        returned = returned.or(taken);
                        Fit::No
                    }
                    Then::Jump(target) => self.into(chain, target, taken, depth),
                    Then::Goto(target) => {
                        let out = self.into(chain, target, taken, depth);
                        returned = returned.or(out);
                        Fit::No
                    }
                };
                if *fit == Fit::Yes {
                    here = goes_on;
                    break;
                }
                if goes_on < taken {
                    here = here.and(Fit::Perhaps);
                }
            }
            if here == Fit::No {
                break;
            }
        }
        // It came out if it did at one of these places. If at none for sure, perhaps.
        here.or(returned)
    }

    fn into(&mut self, from: &Met, target: &str, taken: Fit, depth: usize) -> Fit {
        let is_it =
            |chain: &&Met| chain.name == target && chain.table == from.table && chain.family == from.family;
        let same = |chain: &&Met| is_it(chain) && chain.program == from.program;
        match self.chains.iter().find(same) {
            Some(chain) => self.through(chain, taken, depth + 1),
            None => taken.and(Fit::Perhaps),
        }
    }

    /// The packet is dropped here, or may be.
    fn stops(&mut self, chain: &Met, rule: Option<&str>, packets: Option<u64>, sure: Fit) {
        if self.stop.as_ref().is_some_and(|(known, _)| *known >= sure) {
            return;
        }
        let stop = Stop {
            program: chain.program,
            family: chain.family.clone(),
            table: chain.table.clone(),
            chain: chain.name.clone(),
            base: self.base.name.clone(),
            hook: self.hooked.hook,
            rule: rule.map(str::to_owned),
            packets,
        };
        self.stop = Some((sure, stop));
    }
}
