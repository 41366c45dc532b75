//! A world in which nearly everything happens.

use std::time::{Duration, SystemTime};

use macvlan_shim::model::dropped::DroppedPackets;
use macvlan_shim::model::neighbours::NeighbourTable;
use macvlan_shim::model::op_kind::{OpAction, OpObject};
use macvlan_shim::model::tally::{LanAnswer, NetlinkTally, Reactions, ResyncTrigger, ServerTally};
use macvlan_shim::model::{Code, Family, LinkIndex, OpKind, ServerId, Tally, Timestamp};
use macvlan_shim::report::{Figures, Report};
use serde_json::json;

/// So many seconds after 1970.
pub(crate) fn second(number: u64) -> Option<Timestamp> {
    Some((SystemTime::UNIX_EPOCH + Duration::from_secs(number)).into())
}

/// The report of a node on which all is well: two servers, two parents, guests of both.
pub(crate) fn healthy() -> Report {
    let shim = |name: &str, parent: &str, routes: usize| {
        json!({"name": name, "parent": parent, "mac": "d6:b8:9f:a1:e8:73", "state": "up", "addresses": [], "ranges": [],
               "nics": 1, "routes": routes, "filtered": true, "parent_state": "up", "host_addresses": [], "message": null})
    };
    let server = |id: &str, state: &str, version: Option<&str>| {
        json!({"id": id, "kind": id.split('-').next(), "socket": "/s", "version": version, "name": "lxd2",
               "state": state, "message": null,
               "last_read": version.map(|_| "1970-01-01T00:09:50Z")})
    };
    let routed =
        |address: &str| json!({"address": address, "state": "routed", "reason": null, "message": null});
    let guest = |server: &str, project: &str, name: &str, nic: serde_json::Value| json!({"server": server, "project": project, "name": name, "type": "container", "nics": [nic]});
    let nic = |name: &str,
               parent: &str,
               state: &str,
               reason: Option<&str>,
               addresses: Vec<serde_json::Value>| {
        json!({"name": name, "parent": parent, "mac": null, "state": state, "reason": reason, "message": null,
               "addresses": addresses})
    };
    let addresses = vec![routed("192.168.100.148"), routed("fd64::148")];
    let status = json!({
        "version": "0.1.0", "host": "lxd2", "started": "1970-01-01T00:00:10Z", "time": "1970-01-01T00:10:00Z", "counts": {"wanted": 2, "reached": 2}, "ready": true,
        "servers": [server("incus", "connected", Some("6.0.4")), server("lxd", "connected", Some("5.0.2")),
                    server("lxd-snap", "absent", None)],
        "shims": [shim("mvs-eth0", "eth0", 2), shim("mvs-eth1", "eth1", 1)],
        "guests": [guest("incus", "default", "db", nic("eth0", "eth1", "reachable", None, vec![routed("10.1.0.9")])),
                   guest("lxd", "shop", "web", nic("eth0", "eth0", "reachable", None, addresses)),
                   guest("lxd", "default", "old", nic("eth0", "eth0", "stopped", None, vec![]))],
        "unclaimed": [], "problems": []
    });
    let server = |events| ServerTally { events, disconnects: 0 };
    let table = |family, entries, limit| NeighbourTable {
        family,
        entries,
        exempt: 4,
        limit,
        refusals: 0,
        refuses: false,
    };
    let mut reactions = Reactions::default();
    for micros in [300, 400, 700, 2200, 3_000_000] {
        reactions.add(Duration::from_micros(micros));
    }
    let ok = |object, action| (OpKind { object, action }, true);
    let tally = Tally {
        config_loaded: second(10),
        last_pass: second(599),
        servers: [(ServerId("incus".into()), server(42)), (ServerId("lxd".into()), server(7))].into(),
        netlink: NetlinkTally { events: 991, overruns: 0 },
        operations: [(ok(OpObject::Route, OpAction::Add), 3), (ok(OpObject::Shim, OpAction::Add), 2)].into(),
        repairs: [].into(),
        conflicts: [].into(),
        probes: [(LanAnswer::Free, 3)].into(),
        reactions,
        resyncs: [(ResyncTrigger::Timer, 20)].into(),
    };
    let tables = vec![table(Family::V4, 38, 1024), table(Family::V6, 12, 1024)];
    let spoofed = DroppedPackets {
        link: LinkIndex(7),
        direction: "in".into(),
        rule: "spoofed-source".into(),
        packets: 12,
    };
    let dropped = vec![("mvs-eth0".into(), spoofed)];
    let figures = Figures { tally, tables, dropped, per_guest: true, ..Figures::default() };
    Report { status: serde_json::from_value(status).unwrap(), figures }
}

/// The same node, where much has gone wrong, with names that nobody should give.
pub(crate) fn rich() -> Report {
    let mut report = healthy();
    let refused = |address: &str, reason: &str| json!({"address": address, "state": "refused", "reason": reason, "message": "…"});
    let failed = json!({"address": "10.1.0.10", "state": "failed", "reason": "parent-down", "message": "…"});
    let nics = json!([
        {"name": "eth0", "parent": "eth1", "mac": null, "state": "failed", "reason": "parent-down", "message": "…",
         "addresses": [failed]},
        {"name": "a \"quoted\" \\\\ name", "parent": "eth0", "mac": null, "state": "refused", "reason": null,
         "message": null, "addresses": [refused("192.168.100.1", "next-hop"), refused("2001:db8::1", "no-family")]},
        {"name": "eth2", "parent": "eth0", "mac": null, "state": "waiting", "reason": "no-address", "message": "…",
         "addresses": []},
        {"name": "eth3", "parent": "eth0", "mac": null, "state": "unsupported", "reason": "mode", "message": "…",
         "addresses": []},
        {"name": "eth4", "parent": "eth0", "mac": null, "state": "unselected", "reason": "opted-out", "message": "…",
         "addresses": []},
    ]);
    report.status.guests[0].nics = serde_json::from_value(nics).unwrap();
    report.status.counts.reached = 1;
    report.status.servers[1].state = serde_json::from_value(json!("failed")).unwrap();
    report.status.shims[1].parent_state = serde_json::from_value(json!("no-carrier")).unwrap();
    report.status.shims[1].state = serde_json::from_value(json!("down")).unwrap();
    report.status.shims[1].filtered = false;
    let unclaimed = json!([{"address": "192.168.100.9", "shim": "mvs-eth0", "mac": "00:16:3e:00:00:09"}]);
    report.status.unclaimed = serde_json::from_value(unclaimed).unwrap();
    let problems =
        [Code::ServerFailed, Code::NextHop, Code::NoCarrier, Code::NoAddress, Code::ConfigRejected];
    let problem = |code| macvlan_shim::model::status::Problem::new(code, "it", "is so", "change it");
    report.status.problems = problems.map(problem).into();
    let tally = &mut report.figures.tally;
    let failed = (OpKind { object: OpObject::Filter, action: OpAction::Change }, false);
    tally.operations.insert(failed, 5);
    tally.repairs = [(OpObject::Route, 2), (OpObject::Sysctl, 1)].into();
    tally.conflicts = [(Code::NextHop, 1), (Code::Held, 2)].into();
    tally.netlink.overruns = 1;
    report
}
