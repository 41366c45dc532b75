//! The memory of one address.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::claim::{Claim, Contest, Judgement, MOMENT, Party, RETURN, RETURN_FACTOR, WAIT};

/// Maximum number of tenants that may come back to one address.
const MOST_TENANTS: usize = 8;
/// Maximum number of rivals that are remembered although they no longer claim the address.
const MOST_ABSENT_RIVALS: usize = 16;

/// The memory of one address.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    /// Those that have or had it, the best right first.
    tenants: Vec<Tenant>,
    /// Those that claimed it beside a tenant.
    rivals: Vec<Rival>,
    /// More rivals than are remembered claimed it, so any unknown one may be one of them.
    crowded: bool,
    /// Since when nobody has it.
    vacant: Option<Instant>,
    /// Somebody claims it and must wait.
    waits: bool,
    /// The last holder.
    last: Option<Party>,
    /// When the next time is up.
    pub(super) due: Option<Instant>,
}

/// A party that has or had it.
#[derive(Clone, Debug, PartialEq)]
struct Tenant {
    party: Party,
    /// Since when, without its absences; `None`: since before this process began.
    since: Option<Instant>,
    /// When it lost it; `None` while it has it.
    lost: Option<Instant>,
}

impl Tenant {
    fn new(party: Party, since: Option<Instant>) -> Tenant {
        Tenant { party, since, lost: None }
    }

    /// When its right to come back ends.
    fn ends(&self) -> Option<Instant> {
        let lost = self.lost?;
        let had = self.since.map(|since| lost.saturating_duration_since(since));
        let right = had.map_or(RETURN, |had| had.saturating_mul(RETURN_FACTOR).clamp(MOMENT, RETURN));
        Some(lost + right)
    }

    fn comes_back(&mut self, claim: &Claim<'_>, now: Instant) {
        self.party.refresh(claim);
        if let Some(lost) = self.lost.take() {
            let absence = now.saturating_duration_since(lost);
            self.since = self.since.map(|since| since + absence);
        }
    }
}

/// A party that claimed it beside a tenant.
#[derive(Clone, Debug, PartialEq)]
struct Rival {
    party: Party,
    /// How long it did so before.
    before: Duration,
    /// Since when it has claimed it, if it does.
    since: Option<Instant>,
    /// When it stopped claiming it, if it did.
    left: Option<Instant>,
}

impl Rival {
    /// When it becomes a squatter, if it goes on.
    fn squats_from(&self) -> Option<Instant> {
        self.since.map(|since| since + MOMENT.saturating_sub(self.before))
    }

    fn is_squatter(&self, now: Instant) -> bool {
        self.before >= MOMENT || self.squats_from().is_some_and(|from| from <= now)
    }

    fn leaves(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.before += now.saturating_duration_since(since);
            self.left = Some(now);
        }
    }
}

impl Record {
    pub(super) fn is_empty(&self) -> bool {
        self.tenants.is_empty() && self.rivals.is_empty() && !self.crowded
    }

    pub(super) fn adopt(&mut self, party: Party) {
        self.last = Some(party.clone());
        self.add_tenant(Tenant::new(party, None));
    }

    /// When it was lost last.
    pub(super) fn lost(&self) -> Option<Instant> {
        self.tenants.iter().filter_map(|tenant| tenant.lost).max()
    }

    /// The tenants that may come back, each with the time of its loss.
    pub(super) fn absent(&self) -> impl Iterator<Item = (&Party, Instant)> {
        self.tenants.iter().filter_map(|tenant| Some((&tenant.party, tenant.lost?)))
    }

    /// Takes the right to come back from a party that is absent.
    pub(super) fn forget(&mut self, party: &Party) {
        self.tenants.retain(|tenant| tenant.lost.is_none() || tenant.party != *party);
    }

    /// All parties that are named.
    pub(super) fn parties_mut(&mut self) -> impl Iterator<Item = &mut Party> {
        let tenants = self.tenants.iter_mut().map(|tenant| &mut tenant.party);
        let rivals = self.rivals.iter_mut().map(|rival| &mut rival.party);
        tenants.chain(rivals).chain(&mut self.last)
    }

    /// Forgets everything that has ended by now.
    pub(super) fn pass(&mut self, now: Instant) {
        self.tenants.retain(|tenant| tenant.ends().is_none_or(|ends| now < ends));
        self.rivals.retain(|rival| rival.left.is_none_or(|left| now < left + RETURN));
        self.crowded &= !self.rivals.is_empty();
        if self.vacant.is_some_and(|since| since + WAIT <= now) {
            self.rivals.clear();
            self.crowded = false;
        }
    }

    /// Decides who gets it, given all claims to it.
    pub(super) fn judge(&mut self, claims: &[Claim<'_>], at_start: bool, now: Instant) -> Judgement {
        self.pass(now);
        self.recognise(claims, now);
        if at_start && !self.tenants.is_empty() {
            self.suspect(claims, now);
        }
        let holder = self.choose(claims, now);
        match holder {
            Some(holder) => self.give(&claims[holder], at_start, now),
            None if self.tenants.iter().any(|tenant| tenant.lost.is_none()) => self.vacant = None,
            None => self.vacant = Some(self.vacant.unwrap_or(now)),
        }
        if holder.is_some() && at_start {
            self.suspect(claims, now);
        }
        self.watch_rivals(claims, holder.is_some(), now);
        self.waits = claims.iter().any(|claim| claim.admitted && self.must_wait(claim, now));
        let first =
            |holder: usize| self.tenants.first().is_some_and(|tenant| tenant.party.makes(&claims[holder]));
        Judgement {
            holder,
            second: holder.is_some_and(|holder| !first(holder)),
            contest: self.contest(holder.is_some(), now),
        }
    }

    /// The tenants that have it now.
    fn recognise(&mut self, claims: &[Claim<'_>], now: Instant) {
        let mut known: BTreeSet<usize> = BTreeSet::new();
        self.tenants.retain_mut(|tenant| {
            let mut own =
                claims.iter().enumerate().filter(|(_, claim)| claim.has && tenant.party.makes(claim));
            match own.next() {
                // If one party is known by its NIC and another by its MAC, they may be the same.
                Some((at, _)) if !known.insert(at) => return false,
                Some((_, claim)) => tenant.comes_back(claim, now),
                None => tenant.lost = Some(tenant.lost.unwrap_or(now)),
            }
            true
        });
        // A party that was known only by its MAC may turn out to be a tenant.
        let tenants = &self.tenants;
        self.rivals.retain(|rival| {
            let mut its = claims.iter().filter(|claim| rival.party.makes(claim));
            !its.any(|claim| tenants.iter().any(|tenant| tenant.party.makes(claim)))
        });
    }

    /// Of the claims that existed before this process began, those of others than the tenants are squatters'.
    fn suspect(&mut self, claims: &[Claim<'_>], now: Instant) {
        for claim in claims.iter().filter(|claim| claim.admitted) {
            let is_known = self.tenants.iter().any(|tenant| tenant.party.makes(claim));
            if !is_known && !self.rivals.iter().any(|rival| rival.party.makes(claim)) {
                let party = claim.party();
                self.rivals.push(Rival { party, before: MOMENT, since: Some(now), left: None });
            }
        }
    }

    /// The claim with the best right that does not have to wait.
    fn choose(&self, claims: &[Claim<'_>], now: Instant) -> Option<usize> {
        let candidates = claims.iter().enumerate().filter(|(_, claim)| claim.is_candidate());
        let free = candidates.filter(|(_, claim)| !self.must_wait(claim, now));
        let right = |claim: &Claim<'_>| self.tenants.iter().position(|tenant| tenant.party.makes(claim));
        let rank =
            |(at, claim): &(usize, &Claim<'_>)| (claim.blocked, right(claim).unwrap_or(usize::MAX), *at);
        free.min_by_key(rank).map(|(at, _)| at)
    }

    fn must_wait(&self, claim: &Claim<'_>, now: Instant) -> bool {
        // NICs of one guest have one owner.
        let guest = |nic: &crate::model::NicKey| nic.guest.clone();
        let last = self.last.as_ref().and_then(|last| last.nic.as_ref()).map(guest);
        if last.is_some() && last == claim.nic.map(guest) {
            return false;
        }
        let mut known = self.rivals.iter().filter(|rival| rival.party.makes(claim)).peekable();
        let unknown = known.peek().is_none() && !self.tenants.iter().any(|tenant| tenant.party.makes(claim));
        known.any(|rival| rival.is_squatter(now)) || (self.crowded && unknown)
    }

    /// Somebody gets it. A tenant with a lesser right that still claims it loses that right.
    /// There is hardly ever a second one, and there is a record for every address.
    fn add_tenant(&mut self, tenant: Tenant) {
        self.tenants.reserve_exact(1);
        self.tenants.push(tenant);
    }

    fn give(&mut self, claim: &Claim<'_>, at_start: bool, now: Instant) {
        let position = self.tenants.iter().position(|tenant| tenant.party.makes(claim));
        let position = position.unwrap_or_else(|| {
            if self.tenants.len() >= MOST_TENANTS {
                self.tenants.pop();
            }
            self.add_tenant(Tenant::new(claim.party(), (!at_start).then_some(now)));
            self.tenants.len() - 1
        });
        let mut at = 0;
        self.tenants.retain(|tenant| {
            at += 1;
            at <= position + 1 || tenant.lost.is_some()
        });
        self.rivals.retain(|rival| !rival.party.makes(claim));
        self.vacant = None;
        match self.last.as_mut().filter(|last| last.makes(claim)) {
            Some(last) => last.refresh(claim),
            None => self.last = Some(claim.party()),
        }
    }

    /// Updates the rivals: those that claim it beside a tenant, and those that no longer do.
    fn watch_rivals(&mut self, claims: &[Claim<'_>], is_held: bool, now: Instant) {
        for rival in &mut self.rivals {
            let claim = claims.iter().find(|claim| claim.admitted && rival.party.makes(claim));
            match claim {
                Some(claim) => {
                    rival.party.refresh(claim);
                    rival.since = Some(rival.since.unwrap_or(now));
                    rival.left = None;
                }
                None => rival.leaves(now),
            }
        }
        let absent = self.rivals.iter().filter(|rival| rival.left.is_some()).count();
        if let Some(surplus) = absent.checked_sub(MOST_ABSENT_RIVALS).filter(|surplus| *surplus > 0) {
            let mut left: Vec<Instant> = self.rivals.iter().filter_map(|rival| rival.left).collect();
            left.sort();
            let oldest = left[surplus - 1];
            self.rivals.retain(|rival| rival.left.is_none_or(|left| left > oldest));
            self.crowded = true;
        }
        for claim in claims.iter().filter(|claim| is_held && claim.admitted) {
            let is_tenant = self.tenants.iter().any(|tenant| tenant.party.makes(claim));
            if !is_tenant && !self.rivals.iter().any(|rival| rival.party.makes(claim)) {
                let (party, before) = (claim.party(), Duration::ZERO);
                self.rivals.push(Rival { party, before, since: Some(now), left: None });
            }
        }
    }

    fn contest(&self, is_held: bool, now: Instant) -> Option<Contest> {
        if !is_held {
            return self.last.clone().filter(|_| self.waits).map(|had| Contest::Waits { had });
        }
        let squatters = self.rivals.iter().filter(|rival| rival.since.is_some() && rival.is_squatter(now));
        let others: BTreeSet<Party> = squatters.map(|rival| rival.party.clone()).collect();
        (!others.is_empty()).then_some(Contest::Shared { others })
    }

    /// The next time at which something changes although nothing happens.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let squatters =
            self.rivals.iter().filter(|rival| !rival.is_squatter(now)).filter_map(Rival::squats_from);
        let vacancy = self.vacant.filter(|_| self.waits).map(|since| since + WAIT);
        let is_held = self.tenants.iter().any(|tenant| tenant.lost.is_none());
        let first = self.tenants.first().filter(|_| is_held).and_then(Tenant::ends);
        squatters.chain(vacancy).chain(first).min()
    }
}
