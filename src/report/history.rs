//! What has changed from one report to the next, and since when everything is as it is.

use std::collections::BTreeMap;

use smol_str::{SmolStr, ToSmolStr};

use crate::model::history::{StateChange, StateOf};
use crate::model::status::{Counts, NicStatus, Problem, ServerStatus, ShimStatus, Status};
use crate::model::{GuestKey, Severity, Timestamp, text};

const NOT_READY: &str = "not-ready";

/// A state, and the reason for it.
#[derive(Clone, Copy)]
struct ShownState<'a> {
    word: &'a str,
    reason: Option<&'a str>,
    message: Option<&'a str>,
}

/// Compares two reports.
struct Comparison {
    at: Timestamp,
    next: u64,
    changes: Vec<StateChange>,
}

/// Fills in since when everything in `now` is as it is, and returns what has changed since `before`. The changes
/// have the numbers from `next` on, and the time of `now`.
pub fn compare(before: &Status, now: &mut Status, next: u64) -> Vec<StateChange> {
    let at = now.time;
    let mut comparison = Comparison { at, next, changes: Vec::new() };
    if now.ready && !before.ready {
        comparison.changes.push(daemon(now, Some(NOT_READY), next));
        comparison.next += 1;
    }
    comparison.servers(before, now);
    comparison.shims(before, now);
    comparison.guests(before, now);
    comparison.unclaimed(before, now);
    comparison.problems(before, now);
    comparison.changes
}

/// The first change of all: the daemon has taken in what it has found.
pub fn started(now: &Status, id: u64) -> StateChange {
    daemon(now, None, id)
}

fn daemon(now: &Status, from: Option<&str>, id: u64) -> StateChange {
    let routes: usize = now.shims.iter().map(|shim| shim.routes).sum();
    let Counts { wanted, reached } = now.counts;
    let message = format!(
        "{reached} of {wanted} guests reachable, {}, {}, {}",
        text::count(now.shims.len(), "shim", "shims"),
        text::count(routes, "route", "routes"),
        text::count(now.problems.len(), "problem", "problems"),
    );
    StateChange {
        id,
        time: now.time,
        of: StateOf::Daemon,
        from: from.map(SmolStr::from),
        to: Some(if now.ready { "ready" } else { NOT_READY }.into()),
        reason: None,
        message: Some(message),
    }
}

impl Comparison {
    fn servers(&mut self, before: &Status, now: &mut Status) {
        let of = |id: &SmolStr| StateOf::Server { server: id.clone() };
        let mut old: BTreeMap<&SmolStr, &ServerStatus> =
            before.servers.iter().map(|server| (&server.id, server)).collect();
        for server in &mut now.servers {
            let was = old.remove(&server.id);
            let was = was.map(|was| (of_server(was), was.since));
            server.since = self.note(|| of(&server.id), was, of_server(server));
        }
        for (id, server) in old {
            self.gone(of(id), of_server(server));
        }
    }

    /// The shims and their parents.
    fn shims(&mut self, before: &Status, now: &mut Status) {
        let shim_named = |shim: &ShimStatus| StateOf::Shim { shim: shim.name.clone() };
        let parent_named = |shim: &ShimStatus| StateOf::Parent { parent: shim.parent.clone() };
        let mut old: BTreeMap<&SmolStr, &ShimStatus> =
            before.shims.iter().map(|shim| (&shim.name, shim)).collect();
        for shim in &mut now.shims {
            let was = old.remove(&shim.name);
            let old = was.map(|was| (of_parent(was), was.since));
            let parent = self.note(|| parent_named(shim), old, of_parent(shim));
            let old = was.map(|was| (of_shim(was), was.since));
            let own = self.note(|| shim_named(shim), old, of_shim(shim));
            shim.since = parent.max(own);
        }
        for shim in old.into_values() {
            self.gone(shim_named(shim), of_shim(shim));
            self.gone(parent_named(shim), of_parent(shim));
        }
    }

    fn guests(&mut self, before: &Status, now: &mut Status) {
        let mut old: BTreeMap<GuestKey, BTreeMap<&SmolStr, &NicStatus>> = BTreeMap::new();
        for guest in &before.guests {
            old.insert(guest.key(), guest.nics.iter().map(|nic| (&nic.name, nic)).collect());
        }
        for guest in &mut now.guests {
            let key = guest.key();
            let mut nics = old.remove(&key).unwrap_or_default();
            for nic in &mut guest.nics {
                let was = nics.remove(&nic.name);
                self.nic(&key, was, nic);
            }
            for nic in nics.into_values() {
                self.nic_gone(&key, nic);
            }
        }
        for (key, nics) in old {
            for nic in nics.into_values() {
                self.nic_gone(&key, nic);
            }
        }
    }

    fn nic(&mut self, guest: &GuestKey, was: Option<&NicStatus>, nic: &mut NicStatus) {
        let of = || StateOf::Nic { guest: guest.clone(), nic: nic.name.clone() };
        nic.since = self.note(of, was.map(|was| (of_nic(was), was.since)), of_nic(nic));
        let mut old: BTreeMap<_, _> =
            was.iter().flat_map(|was| &was.addresses).map(|address| (address.address, address)).collect();
        let of = |address| StateOf::Address { guest: guest.clone(), nic: nic.name.clone(), address };
        for address in &mut nic.addresses {
            let was = old.remove(&address.address);
            let was =
                was.map(|was| (ShownState::of(was.state.as_str(), &was.reason, &was.message), was.since));
            let is = ShownState::of(address.state.as_str(), &address.reason, &address.message);
            address.since = self.note(|| of(address.address), was, is);
        }
        for (address, was) in old {
            self.gone(of(address), ShownState::of(was.state.as_str(), &was.reason, &was.message));
        }
    }

    fn nic_gone(&mut self, guest: &GuestKey, nic: &NicStatus) {
        for address in &nic.addresses {
            let of =
                StateOf::Address { guest: guest.clone(), nic: nic.name.clone(), address: address.address };
            self.gone(of, ShownState::of(address.state.as_str(), &address.reason, &address.message));
        }
        self.gone(StateOf::Nic { guest: guest.clone(), nic: nic.name.clone() }, of_nic(nic));
    }

    fn unclaimed(&mut self, before: &Status, now: &mut Status) {
        const STAYS: ShownState<'_> = ShownState { word: "unclaimed", reason: None, message: None };
        let mut old: BTreeMap<_, _> =
            before.unclaimed.iter().map(|route| ((route.address, &route.shim), route.since)).collect();
        for route in &mut now.unclaimed {
            let was = old.remove(&(route.address, &route.shim));
            let of = || StateOf::Unclaimed { address: route.address, shim: route.shim.clone() };
            let since = self.note(of, was.map(|since| (STAYS, since)), STAYS);
            route.since = since;
        }
        for (address, shim) in old.into_keys() {
            self.gone(StateOf::Unclaimed { address, shim: shim.clone() }, STAYS);
        }
    }

    /// Several problems may have one code and one object: they are one thing here.
    fn problems(&mut self, before: &Status, now: &mut Status) {
        let key = |problem: &Problem| (SmolStr::from(&problem.code), problem.object.clone());
        let of = |(code, object): (SmolStr, String)| StateOf::Problem { code, object };
        let state =
            |severity: Severity, message| ShownState { word: severity.as_str(), reason: None, message };
        let mut old: BTreeMap<_, _> = before
            .problems
            .iter()
            .map(|problem| (key(problem), (state(problem.severity, None), problem.since)))
            .collect();
        let mut seen: BTreeMap<_, Option<Timestamp>> = BTreeMap::new();
        for problem in &mut now.problems {
            let key = key(problem);
            if let Some(since) = seen.get(&key) {
                problem.since = *since;
                continue;
            }
            let is = state(problem.severity, Some(problem.message.as_str()));
            let since = self.note(|| of(key.clone()), old.remove(&key), is);
            problem.since = since;
            seen.insert(key, since);
        }
        for (key, (was, _)) in old {
            self.gone(of(key), was);
        }
    }

    /// Notes the change, if it is one. Returns since when it is as it is.
    fn note(
        &mut self,
        of: impl FnOnce() -> StateOf,
        was: Option<(ShownState<'_>, Option<Timestamp>)>,
        is: ShownState<'_>,
    ) -> Option<Timestamp> {
        if let Some((before, since)) = was
            && (before.word, before.reason) == (is.word, is.reason)
        {
            return since;
        }
        self.push(of(), was.map(|(before, _)| before), Some(is));
        Some(self.at)
    }

    fn gone(&mut self, of: StateOf, was: ShownState<'_>) {
        self.push(of, Some(was), None);
    }

    fn push(&mut self, of: StateOf, was: Option<ShownState<'_>>, is: Option<ShownState<'_>>) {
        self.changes.push(StateChange {
            id: self.next,
            time: self.at,
            of,
            from: was.map(|was| was.word.to_smolstr()),
            to: is.map(|is| is.word.to_smolstr()),
            reason: is.and_then(|is| is.reason).map(SmolStr::from),
            message: is.and_then(|is| is.message).map(str::to_owned),
        });
        self.next += 1;
    }
}

impl<'a> ShownState<'a> {
    fn of(word: &'a str, reason: &'a Option<String>, message: &'a Option<String>) -> ShownState<'a> {
        ShownState { word, reason: reason.as_deref(), message: message.as_deref() }
    }
}

fn of_server(server: &ServerStatus) -> ShownState<'_> {
    ShownState::of(server.state.as_str(), &None, &server.message)
}

fn of_shim(shim: &ShimStatus) -> ShownState<'_> {
    ShownState::of(shim.state.as_str(), &None, &shim.message)
}

fn of_parent(shim: &ShimStatus) -> ShownState<'_> {
    ShownState { word: shim.parent_state.as_str(), reason: None, message: None }
}

fn of_nic(nic: &NicStatus) -> ShownState<'_> {
    ShownState::of(nic.state.as_str(), &nic.reason, &nic.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A status with a guest whose NIC is in that state, and with these addresses and problems.
    fn status(nic: (&str, Option<&str>), addresses: Value, problems: Value) -> Status {
        let guest = json!({"server": "lxd", "project": "default", "name": "web", "type": "container", "nics": [
            {"name": "eth0", "parent": "eth0", "mac": null, "state": nic.0, "reason": nic.1, "message": null,
             "since": null, "addresses": addresses}]});
        let mut status = serde_json::to_value(Status::default()).unwrap();
        status["guests"] = json!([guest]);
        status["problems"] = problems;
        serde_json::from_value(status).unwrap()
    }

    fn address(state: &str, reason: Option<&str>) -> Value {
        json!([{"address": "10.0.0.9", "state": state, "source": null, "reason": reason, "message": null, "since": null}])
    }

    fn at(second: u8) -> Timestamp {
        format!("2026-11-30T14:02:{second:02}Z").parse().unwrap()
    }

    fn compare_at(second: u8, before: &Status, now: &mut Status, next: u64) -> Vec<StateChange> {
        now.time = at(second);
        compare(before, now, next)
    }

    /// What has changed, in words.
    fn told(changes: &[StateChange]) -> Vec<String> {
        let or_nothing = |state: &Option<SmolStr>| state.as_deref().unwrap_or("nothing").to_owned();
        let line = |change: &StateChange| {
            let reason = change.reason.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
            let (from, to) = (or_nothing(&change.from), or_nothing(&change.to));
            format!("{} {}: {from} → {to}{reason}", change.id, change.of)
        };
        changes.iter().map(line).collect()
    }

    #[test]
    fn an_address_has_a_time_from_its_first_state_to_its_last() {
        let waiting = status(("waiting", Some("no-address")), json!([]), json!([]));
        let mut refused = status(("refused", None), address("refused", Some("held")), json!([]));
        let changes = compare_at(1, &waiting, &mut refused, 5);
        assert_eq!(
            told(&changes),
            ["5 lxd:web eth0: waiting → refused", "6 lxd:web eth0 10.0.0.9: nothing → refused (held)",]
        );
        assert_eq!(refused.guests[0].nics[0].addresses[0].since, Some(at(1)));

        // The same for the same reason is no change.
        let mut again = status(("refused", None), address("refused", Some("held")), json!([]));
        assert_eq!(compare_at(2, &refused, &mut again, 7), []);
        assert_eq!(again.guests[0].nics[0].since, Some(at(1)));
        assert_eq!(again.guests[0].nics[0].addresses[0].since, Some(at(1)));

        let mut other = status(("refused", None), address("refused", Some("off-link")), json!([]));
        let changes = compare_at(3, &again, &mut other, 7);
        assert_eq!(told(&changes), ["7 lxd:web eth0 10.0.0.9: refused → refused (off-link)"]);

        let changes = compare_at(4, &other, &mut Status::default(), 8);
        assert_eq!(
            told(&changes),
            ["8 lxd:web eth0 10.0.0.9: refused → nothing", "9 lxd:web eth0: refused → nothing",]
        );
    }

    #[test]
    fn the_state_at_the_beginning_has_no_time() {
        let first = status(("reachable", None), address("routed", None), json!([]));
        let mut second = first.clone();
        assert_eq!(compare_at(1, &first, &mut second, 1), []);
        assert_eq!(second.guests[0].nics[0].since, None);
    }

    #[test]
    fn a_problem_stands_until_it_is_over() {
        let problem = json!([{"code": "parent-down", "severity": "error", "object": "eth0", "message": "eth0 is down",
                              "hint": "ip link set eth0 up", "since": null}]);
        let well = status(("reachable", None), json!([]), json!([]));
        let mut down = status(("reachable", None), json!([]), problem);
        let changes = compare_at(1, &well, &mut down, 1);
        assert_eq!(told(&changes), ["1 eth0: nothing → error"]);
        assert_eq!(changes[0].message.as_deref(), Some("eth0 is down"));
        assert_eq!(down.problems[0].since, Some(at(1)));
        let mut well = well.clone();
        assert_eq!(told(&compare_at(2, &down, &mut well, 2)), ["2 eth0: error → nothing"]);
    }

    #[test]
    fn servers_and_shims_and_unclaimed_routes_have_states() {
        let mut all = serde_json::to_value(Status::default()).unwrap();
        all["servers"] = json!([{"id": "lxd", "kind": "lxd", "socket": "/s", "version": null, "name": null,
                                 "state": "connected", "message": null, "since": null, "last_read": null}]);
        all["shims"] = json!([{"name": "mvs-eth0", "parent": "eth0", "mac": null, "state": "up", "addresses": [],
            "ranges": [], "nics": 1, "routes": 1, "filtered": true, "parent_state": "up", "host_addresses": [],
            "message": null, "since": null}]);
        all["unclaimed"] =
            json!([{"address": "10.0.0.9", "shim": "mvs-eth0", "mac": "02:00:00:00:00:01", "since": null}]);
        let mut now: Status = serde_json::from_value(all.clone()).unwrap();
        let changes = compare_at(1, &Status::default(), &mut now, 1);
        assert_eq!(
            told(&changes),
            [
                "1 server lxd: nothing → connected",
                "2 parent eth0: nothing → up",
                "3 shim mvs-eth0: nothing → up",
                "4 mvs-eth0 10.0.0.9: nothing → unclaimed",
            ]
        );
        all["shims"][0]["parent_state"] = json!("down");
        all["shims"][0]["since"] = json!(null);
        let mut later: Status = serde_json::from_value(all).unwrap();
        let changes = compare_at(9, &now, &mut later, 5);
        assert_eq!(told(&changes), ["5 parent eth0: up → down"]);
        assert_eq!(later.shims[0].since, Some(at(9)), "either of the two states");
        assert_eq!(later.servers[0].since, Some(at(1)));
    }

    #[test]
    fn the_daemon_starts_and_gets_ready() {
        let mut status = Status { counts: Counts { wanted: 3, reached: 2 }, ..Status::default() };
        let first = started(&status, 1);
        assert_eq!(
            first.to_string(),
            "daemon: not-ready: 2 of 3 guests reachable, 0 shims, 0 routes, 0 problems"
        );
        let before = status.clone();
        status.ready = true;
        assert_eq!(told(&compare(&before, &mut status, 2)), ["2 daemon: not-ready → ready"]);
        let before = status.clone();
        assert_eq!(compare(&before, &mut status, 3), []);
    }
}
