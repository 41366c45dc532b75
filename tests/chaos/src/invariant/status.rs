//! The daemon tells the truth in its status and its log, and its process is well.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::must;
use crate::foreign::IN_THE_WAY;
use crate::intent::{Intent, ServerIntent};
use crate::model::{Claim, Expected, Memory, Verdict};
use crate::site::{ROLES, SERVERS};
use crate::truth::Truth;

pub(crate) fn check(
    truth: &Truth,
    intent: &Intent,
    memory: &Memory,
    expected: &Expected,
    version: &str,
) -> Vec<String> {
    let mut found = Vec::new();
    let status = &truth.status;
    must(&mut found, status["version"] == version, || {
        format!("status: it is version {}, and {version} was started", status["version"])
    });
    let all_up = all_up(intent);
    must(&mut found, status["ready"] == true || !all_up, || "status: it is not ready".to_owned());
    for (server, meant) in SERVERS.iter().zip(intent.servers) {
        let entry = list(&status["servers"]).find(|entry| entry["id"] == *server);
        let state = entry.map_or("missing", |entry| text(&entry["state"]));
        let good = match meant {
            ServerIntent::Up => state == "connected",
            ServerIntent::Down => matches!(state, "absent" | "connecting" | "failed"),
            ServerIntent::Hung => state != "missing",
        };
        must(&mut found, good, || format!("status: {server} is {state}, and it is {meant:?}"));
    }
    for claim in &expected.claims {
        check_claim(&mut found, truth, expected, claim);
    }
    check_routed(&mut found, truth);
    check_problems(&mut found, intent, memory, status);
    found
}

/// The verdict on an address.
fn check_claim(found: &mut Vec<String>, truth: &Truth, expected: &Expected, claim: &Claim) {
    let Some(nic) = nic(&truth.status, claim.guest) else { return };
    let (name, address) = (ROLES[claim.guest].name, claim.address);
    if ROLES[claim.guest].out {
        must(found, nic["state"] == "unselected", || format!("status: {name} is {}", nic["state"]));
        return;
    }
    let entry = list(&nic["addresses"]).find(|entry| entry["address"] == address.to_string());
    let state = entry.map_or("missing", |entry| text(&entry["state"]));
    let reason = entry.map_or("", |entry| text(&entry["reason"]));
    let unclaimed = list(&truth.status["unclaimed"]).any(|entry| entry["address"] == address.to_string());
    let shared = expected.routes.get(&address).is_some_and(|wanted| wanted.macs.len() > 1);
    let good = match &claim.verdict {
        Verdict::Must => state == "routed" || (shared && (state, reason) == ("refused", "held")),
        Verdict::Kept => state == "routed" || unclaimed,
        Verdict::May => true,
        Verdict::Never(reasons) => state == "missing" || (state == "refused" && reasons.contains(&reason)),
    };
    must(found, good, || format!("status: {name} {address} is {state} ({reason}), not {:?}", claim.verdict));
}

/// The addresses that it reports as routed are those that the kernel routes.
fn check_routed(found: &mut Vec<String>, truth: &Truth) {
    let nics = list(&truth.status["guests"]).flat_map(|guest| list(&guest["nics"]));
    let addresses = nics.flat_map(|nic| list(&nic["addresses"]));
    let routed = addresses.filter(|entry| entry["state"] == "routed");
    let unclaimed = list(&truth.status["unclaimed"]);
    let said: BTreeSet<IpAddr> =
        routed.chain(unclaimed).filter_map(|entry| text(&entry["address"]).parse().ok()).collect();
    let stand: BTreeSet<IpAddr> = truth.our_routes().filter_map(crate::truth::Route::host).collect();
    must(found, said == stand, || format!("status says that {said:?} are routed, {stand:?} are"));
}

/// Problems are reported where there are some, and only there.
fn check_problems(found: &mut Vec<String>, intent: &Intent, memory: &Memory, status: &Value) {
    let all_up = all_up(intent);
    for problem in list(&status["problems"]) {
        let good = match text(&problem["code"]) {
            "server-failed" => !all_up,
            "config-rejected" => intent.daemon.rejected,
            "route-taken" => intent.routes.contains(&IN_THE_WAY),
            "address-conflict" => text(&problem["object"]).parse().is_ok_and(|one| memory.is_contested(one)),
            "no-server" => intent.servers.iter().all(|server| *server == ServerIntent::Down),
            "parent-down" => !intent.uplink.up,
            "no-carrier" => intent.uplink.up && !intent.uplink.carrier,
            code => is_told_by_nic(status, text(&problem["object"]), code),
        };
        must(found, good, || format!("status: a problem: {problem}"));
    }
    let told = list(&status["problems"]).any(|problem| problem["code"] == "config-rejected");
    must(found, told || !intent.daemon.rejected, || "status: the faulty file is no problem".to_owned());
}

/// Whether a NIC, or an address of it, is in a state for that reason. The verdicts themselves are checked one by
/// one.
fn is_told_by_nic(status: &Value, object: &str, code: &str) -> bool {
    let is_it = |guest: &&Value| {
        let label = format!("{}:{} ", text(&guest["server"]), text(&guest["name"]));
        object.starts_with(&label)
    };
    let nics = list(&status["guests"]).filter(is_it).flat_map(|guest| list(&guest["nics"]));
    let mut told = nics.flat_map(|nic| list(&nic["addresses"]).chain([nic]));
    told.any(|entry| entry["reason"] == code)
}

/// Lines of the log that should not be there.
pub(crate) fn check_log(log: &[String]) -> Vec<String> {
    let bad = |line: &&String| {
        let error = line.contains("ERROR") && !line.contains("the running configuration is kept");
        error || line.contains("panicked")
    };
    log.iter().filter(bad).map(|line| format!("the daemon said: {line}")).collect()
}

fn all_up(intent: &Intent) -> bool {
    intent.servers.iter().all(|server| *server == ServerIntent::Up)
}

fn nic(status: &Value, guest: usize) -> Option<&Value> {
    let role = &ROLES[guest];
    let same = |entry: &&Value| entry["server"] == SERVERS[role.server] && entry["name"] == role.name;
    list(&status["guests"]).find(same)?["nics"].as_array()?.first()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
