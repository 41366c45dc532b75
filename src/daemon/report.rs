//! The one report that `status`, and later metrics and explanations, are views of.

use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use crate::model::inventory::{Guest, Inventory, ServerState};
use crate::model::names::metric;
use crate::model::neighbours::NeighbourTable;
use crate::model::snapshot::{ChildKey, RouteKey};
use crate::model::status::{
    AddressState, AddressStatus, GuestStatus, NicState, NicStatus, Problem, ServerStatus, ShimState,
    ShimStatus, Status, UnclaimedStatus,
};
use crate::model::{Code, Family, LinkIndex, LinkRef, Mac, NicKey, Op, Snapshot};
use crate::reconcile::admit::Verdict;
use crate::reconcile::desired::DesiredShim;
use crate::reconcile::schedule::Error;
use crate::reconcile::{Decision, Desired, Probes, Schedule, table_full};

/// So many failed ops are shown one by one.
const MAX_FAILURES: usize = 20;

/// What a report is made of.
pub struct View<'a> {
    /// What the servers say.
    pub inventory: &'a Inventory,
    /// What the kernel says.
    pub snapshot: &'a Snapshot,
    /// What was decided.
    pub desired: &'a Desired,
    /// What became of it.
    pub schedule: &'a Schedule,
    /// What the LAN is asked.
    pub probes: &'a Probes,
    /// How full the kernel's neighbour tables are.
    pub tables: &'a [NeighbourTable],
    /// Problems that are neither a server's nor a decision's.
    pub problems: &'a [Problem],
    /// Whether all is applied.
    pub ready: bool,
    /// Now.
    pub now: Instant,
}

/// Makes the report.
pub fn report(view: &View<'_>) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: view.ready,
        servers: servers(view.inventory),
        shims: view.desired.shims.iter().map(|(parent, shim)| view.shim(*parent, shim)).collect(),
        guests: view.inventory.guests().map(|(key, guest)| view.guest(&key, guest)).collect(),
        unclaimed: view.unclaimed(),
        problems: view.all_problems(),
    }
}

fn servers(inventory: &Inventory) -> Vec<ServerStatus> {
    let server =
        |(id, server): (&crate::model::ServerId, &std::sync::Arc<crate::model::inventory::Server>)| {
            ServerStatus {
                id: id.0.clone(),
                kind: server.kind,
                socket: server.place.clone(),
                version: server.version.clone(),
                name: server.name.clone(),
                state: server.state,
                message: server.message.clone(),
            }
        };
    inventory.servers.iter().map(server).collect()
}

impl View<'_> {
    fn shim(&self, parent: LinkIndex, shim: &DesiredShim) -> ShimStatus {
        let link = shim.shim.index.and_then(|index| self.snapshot.links.get(&index));
        let failure = self.failure_of_shim(&shim.shim.name);
        let obstacle = shim.obstacle.as_ref().map(|obstacle| obstacle.message.clone());
        let message = obstacle.or_else(|| failure.map(|error| error.message.clone()));
        let served =
            |decision: &&Decision| matches!(decision, Decision::Served { parent: on, .. } if *on == parent);
        let addresses = self.snapshot.addresses.keys().filter(|key| Some(key.link) == shim.shim.index);
        let addresses = addresses
            .map(|key| key.address.addr())
            .filter(|own| shim.addresses.iter().any(|given| given.addr() == *own));
        ShimStatus {
            name: shim.shim.name.clone(),
            parent: shim.parent.clone(),
            mac: link.and_then(|link| link.mac),
            state: match (link, &message) {
                (_, Some(_)) => ShimState::Failed,
                (Some(link), None) if link.up => ShimState::Up,
                _ => ShimState::Down,
            },
            addresses: addresses.collect(),
            nics: self.desired.decisions.values().filter(served).count(),
            message,
        }
    }

    fn guest(&self, key: &crate::model::GuestKey, guest: &Guest) -> GuestStatus {
        let nics = guest.nics.iter().map(|nic| {
            let key = NicKey { guest: key.clone(), nic: nic.name.clone() };
            let status = NicStatus {
                name: nic.name.clone(),
                parent: nic.parent.to_string(),
                mac: nic.mac,
                state: NicState::Waiting,
                reason: None,
                message: None,
                addresses: Vec::new(),
            };
            self.nic(&key, status)
        });
        GuestStatus {
            server: key.server.0.clone(),
            project: key.project.clone(),
            name: key.name.clone(),
            kind: guest.kind,
            nics: nics.collect(),
        }
    }

    fn nic(&self, key: &NicKey, mut status: NicStatus) -> NicStatus {
        let because = |status: &mut NicStatus, state, code: Code, message: &str| {
            status.state = state;
            status.reason = Some(code.to_string());
            status.message = Some(message.to_owned());
        };
        match self.desired.decisions.get(key) {
            None => {}
            Some(Decision::Stopped) => status.state = NicState::Stopped,
            Some(Decision::Unselected(code, message)) => {
                because(&mut status, NicState::Unselected, *code, message)
            }
            Some(Decision::Unsupported(code, message)) => {
                because(&mut status, NicState::Unsupported, *code, message)
            }
            Some(Decision::Unseen(message)) => {
                because(&mut status, NicState::Waiting, Code::NotSeen, message)
            }
            Some(Decision::Served { child, parent, mac }) => self.served(&mut status, child, *parent, *mac),
        }
        status
    }

    fn served(&self, status: &mut NicStatus, child: &ChildKey, parent: LinkIndex, mac: Mac) {
        if let Some(link) = self.snapshot.links.get(&parent) {
            status.parent.clone_from(&link.name);
        }
        status.mac = Some(mac);
        let shim = self.desired.shims.get(&parent);
        let verdicts = self.desired.verdicts(child);
        status.addresses =
            verdicts.map(|(address, verdict)| self.address(shim, address, mac, &verdict)).collect();
        let any = |state| status.addresses.iter().any(|address| address.state == state);
        status.state = match () {
            () if any(AddressState::Routed) => NicState::Reachable,
            () if any(AddressState::Failed) => NicState::Failed,
            () if status.addresses.is_empty() => NicState::Waiting,
            () => NicState::Refused,
        };
        if let Some(obstacle) = shim.and_then(|shim| shim.obstacle.as_ref()) {
            status.state = NicState::Failed;
            status.reason = Some(obstacle.code.to_string());
            status.message = Some(obstacle.message.clone());
        } else if status.state == NicState::Waiting {
            status.reason = Some(Code::NoAddress.to_string());
            status.message = Some("it has no address of global scope yet".to_owned());
        }
    }

    fn address(
        &self,
        shim: Option<&DesiredShim>,
        address: IpAddr,
        mac: Mac,
        verdict: &Verdict,
    ) -> AddressStatus {
        let status = |state, source, reason: Option<Code>, message| AddressStatus {
            address,
            state,
            source,
            reason: reason.map(|code| code.to_string()),
            message,
        };
        match verdict {
            Verdict::Refused(refusal) => {
                let message = Some(refusal.message.clone());
                status(AddressState::Refused, None, Some(refusal.code), message)
            }
            Verdict::Admitted { source } => {
                let mac = self.desired.holders.get(&address).map_or(mac, |holder| holder.mac);
                match self.obstruction(shim, address, mac, *source) {
                    None => status(AddressState::Routed, Some(*source), None, None),
                    Some((code, message)) => status(AddressState::Failed, None, Some(code), Some(message)),
                }
            }
        }
    }

    /// Why an admitted address is not routed; `None` if the kernel shows its route and its neighbour, and no filter that
    /// drops its frames.
    fn obstruction(
        &self,
        shim: Option<&DesiredShim>,
        address: IpAddr,
        mac: Mac,
        source: IpAddr,
    ) -> Option<(Code, String)> {
        let Some(shim) = shim else { return Some((Code::Pending, "not applied yet".to_owned())) };
        if let Some(obstacle) = &shim.obstacle {
            return Some((obstacle.code, obstacle.message.clone()));
        }
        let index = shim.shim.index.unwrap_or(LinkIndex::NONE);
        let family = Family::of(address);
        let key = RouteKey {
            table: shim.tables[family],
            destination: IpNet::from(address),
            metric: metric(family),
            link: index,
        };
        let route =
            self.snapshot.routes.get(&key).is_some_and(|route| route.ours && route.source == Some(source));
        let neighbour = self.snapshot.neighbours.get(&(address, index));
        let neighbour = neighbour.is_some_and(|entry| entry.ours && entry.mac == Some(mac));
        let up = self.snapshot.links.get(&index).is_some_and(|link| link.up);
        if route && neighbour && up {
            return self.filtered(&shim.shim, mac);
        }
        let failure = self.failure_of_address(&shim.shim.name, address);
        let failure = failure.or_else(|| self.failure_of_shim(&shim.shim.name));
        let pending = || (Code::Pending, "not applied yet".to_owned());
        Some(failure.map_or_else(pending, |error| (error.code, error.message.clone())))
    }

    /// The filter that stands knows nothing of this MAC.
    fn filtered(&self, shim: &LinkRef, mac: Mac) -> Option<(Code, String)> {
        let filter = &self.snapshot.filter;
        if filter.shims.get(&shim.index?)?.macs.as_ref()?.contains(&mac) {
            return None;
        }
        let mut failures = self.schedule.failures_at(None);
        let failure = failures.find(|(op, _)| matches!(op, Op::SetFilter { shim: at, .. } if at == shim));
        let why = failure.map(|(_, error)| &error.message).or(filter.lacks.as_ref());
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        Some((Code::Filtered, format!("the filter on {shim} does not let {mac} pass yet{why}")))
    }

    fn failure_of_shim(&self, shim: &str) -> Option<&Error> {
        let makes = |op: &Op| {
            matches!(
                op,
                Op::Rename { .. }
                    | Op::CreateShim { .. }
                    | Op::Mark { .. }
                    | Op::SetMac { .. }
                    | Op::SetMtu { .. }
                    | Op::SetFlags { .. }
                    | Op::Set { .. }
                    | Op::SetUp { .. }
            )
        };
        let mut failures = self.schedule.failures_at(None);
        failures.find(|(op, _)| makes(op) && op.object().0 == shim).map(|(_, error)| error)
    }

    fn failure_of_address(&self, shim: &str, address: IpAddr) -> Option<&Error> {
        let makes = |op: &Op| matches!(op, Op::SetNeighbour { .. } | Op::SetRoute { .. });
        let mut failures = self.schedule.failures_at(Some(address));
        failures.find(|(op, _)| makes(op) && op.object().0 == shim).map(|(_, error)| error)
    }

    fn unclaimed(&self) -> Vec<UnclaimedStatus> {
        let unclaimed = self.desired.holders.iter().filter(|(_, holder)| holder.nic.is_none());
        let shown = unclaimed.filter_map(|(address, holder)| {
            let shim = self.desired.shims.get(&holder.parent)?.shim.name.clone();
            Some(UnclaimedStatus { address: *address, shim, mac: holder.mac })
        });
        shown.collect()
    }

    fn all_problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.to_vec();
        for (id, server) in &self.inventory.servers {
            if server.state == ServerState::Failed {
                problems.push(Problem::new(
                    Code::ServerFailed,
                    id.to_string(),
                    server.message.clone().unwrap_or_else(|| "it cannot be read".to_owned()),
                    "existing routes stay in place; it is retried with increasing pauses",
                ));
            }
            if let (ServerState::Connected, Some(message)) = (server.state, &server.message) {
                problems.push(Problem::new(
                    Code::ServerIncomplete,
                    id.to_string(),
                    message.clone(),
                    "all else of this server is served; look at the named instances and networks on it",
                ));
            }
        }
        problems.extend(self.desired.all_problems());
        problems.extend(self.tables.iter().filter_map(table_full));
        let failures: Vec<_> = self.schedule.failures().chain(self.probes.failures()).collect();
        for (op, error) in failures.iter().take(MAX_FAILURES) {
            problems.push(Problem::new(
                error.code,
                about(op),
                error.message.clone(),
                error.hint.clone().unwrap_or_else(|| "it is retried with increasing pauses".to_owned()),
            ));
        }
        if let Some(more) = failures.len().checked_sub(MAX_FAILURES + 1) {
            problems.push(Problem::new(
                Code::MoreFailures,
                "kernel",
                format!("{} more operations fail", more + 1),
                "they most likely have the same cause as those above",
            ));
        }
        for (op, history) in self.schedule.fights(self.now) {
            problems.push(Problem::new(
                Code::UndoneByOthers,
                about(op),
                format!("had to {op} {} times in a row: another program keeps undoing it", history.rounds),
                "`ip monitor` shows it happen; make that program leave mvs-* interfaces and protocol 77 alone",
            ));
        }
        problems
    }
}

fn about(op: &Op) -> String {
    match op.object() {
        ("", _) => "policy rules".to_owned(),
        (link, _) => link.to_owned(),
    }
}
