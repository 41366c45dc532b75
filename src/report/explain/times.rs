//! Since when each step is as it is.

use crate::model::explanation::{ChainStep, Explanation, Explanations, StepName, StepState};
use crate::model::status::{AddressStatus, NicStatus, Status};

/// Fills in the times of the steps that the report knows of. The steps of the kernel's ways and of answers have
/// none, because they are found out just now.
pub fn with_times(explained: &mut Explanations, report: &Status) {
    explained.explanations.iter_mut().for_each(|explanation| of_nic(explanation, report));
}

fn of_nic(explanation: &mut Explanation, report: &Status) {
    let Explanation { guest: Some(guest), nic: Some(nic), steps, addresses, .. } = explanation else {
        return;
    };
    let server = report.servers.iter().find(|server| server.id == guest.server.0);
    let mut guests = report.guests.iter();
    let shown = guests.find(|shown| shown.key() == *guest);
    let shown = shown.and_then(|guest| guest.nics.iter().find(|shown| shown.name == *nic));
    let Some(shown) = shown else { return };
    let shim = report.shims.iter().find(|shim| shim.parent == shown.parent);
    for step in steps {
        step.since = match step.name {
            StepName::Server => server.and_then(|server| server.since),
            StepName::Parent => shim.and_then(|shim| shim.since),
            _ if is_the_reason(step, shown) => shown.since,
            _ => None,
        };
    }
    for address in addresses {
        let Some(shown) = shown.addresses.iter().find(|shown| shown.address == address.address) else {
            continue;
        };
        for step in &mut address.steps {
            if step.name == StepName::Address || is_the_reason_of(step, shown) {
                step.since = shown.since;
            }
        }
    }
}

/// The step explains the state of the NIC.
fn is_the_reason(step: &ChainStep, nic: &NicStatus) -> bool {
    decides(step) && nic.reason.is_some() && step.reason == nic.reason
}

/// The step explains the state of the address.
fn is_the_reason_of(step: &ChainStep, address: &AddressStatus) -> bool {
    decides(step) && address.reason.is_some() && step.reason == address.reason
}

fn decides(step: &ChainStep) -> bool {
    matches!(step.state, StepState::Bad | StepState::Warning)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::explanation::ExplainedAddress;
    use crate::model::{Code, GuestKey, ServerId, Timestamp};

    fn report() -> Status {
        let at = |minute: u8| format!("2026-11-30T14:0{minute}:00Z");
        let address = json!({"address": "192.0.2.9", "state": "refused", "source": null, "reason": "next-hop",
                             "message": "it is a gateway", "since": at(5)});
        let nic = json!({"name": "eth0", "parent": "eth0", "mac": null, "state": "refused", "reason": null,
                         "message": null, "since": at(4), "addresses": [address]});
        serde_json::from_value(json!({
            "version": "0.1.0", "host": "lxd2", "started": at(0), "time": at(9), "ready": true,
            "counts": {"wanted": 1, "reached": 0},
            "servers": [{"id": "lxd", "kind": "lxd", "socket": "", "version": null, "name": null,
                         "state": "connected", "message": null, "since": at(1)}],
            "shims": [{"name": "mvs-eth0", "parent": "eth0", "mac": "02:00:00:00:00:01", "state": "up",
                       "addresses": [], "ranges": [], "nics": 1, "routes": 0, "filtered": true,
                       "parent_state": "up", "host_addresses": [], "message": null, "since": at(2)}],
            "guests": [{"server": "lxd", "project": "default", "name": "web", "type": "container", "nics": [nic]}],
            "unclaimed": [], "problems": [],
        }))
        .unwrap()
    }

    #[test]
    fn a_step_has_the_time_of_the_state_that_it_explains() {
        let refused = ChainStep::new(StepName::Address, StepState::Bad, "refused").reason(Code::NextHop);
        let steps = vec![refused, ChainStep::skipped(StepName::Route, StepName::Address)];
        let address = "192.0.2.9".parse().unwrap();
        let address = ExplainedAddress { address, reached: Some(false), wanted: true, way: None, steps };
        let shared =
            [StepName::Server, StepName::Nic, StepName::Parent].map(|name| ChainStep::good(name, ""));
        let explanation = Explanation {
            guest: Some(GuestKey::new(ServerId("lxd".into()), "default".into(), "web".into())),
            nic: Some("eth0".into()),
            steps: shared.into(),
            addresses: vec![address],
            ..Explanation::default()
        };
        let mut explained = Explanations { explanations: vec![explanation], ..Explanations::default() };
        with_times(&mut explained, &report());
        let since: Vec<Option<Timestamp>> =
            explained.explanations[0].all_steps().map(|step| step.since).collect();
        let at = |minute: u8| Some(format!("2026-11-30T14:0{minute}:00Z").parse().unwrap());
        assert_eq!(since, [at(1), None, at(2), at(5), None]);
    }
}
