//! The look of each state at a terminal of 80 columns.

use super::*;
use serde_json::{Value, json};

const TERMINAL: Look = Look { colour: false, width: Some(80) };

/// The table of a status in which everything is well except for the given keys.
fn table(differs: Value) -> String {
    let mut status = json!({
        "version": "0.1.0", "ready": true,
        "servers": [{"id": "lxd", "kind": "lxd", "socket": "/var/lib/lxd/unix.socket", "version": "5.0.2",
                     "name": "lxd2", "state": "connected", "message": null}],
        "shims": [{"name": "mvs-eth0", "parent": "eth0", "mac": "02:5a:11:22:33:44", "state": "up",
                   "addresses": [], "nics": 1, "message": null}],
        "guests": [], "unclaimed": [], "problems": [],
    });
    for (key, value) in differs.as_object().unwrap() {
        status[key] = value.clone();
    }
    let status: Status = serde_json::from_value(status).unwrap();
    let text = render(&status, TERMINAL);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    text
}

/// Only the sections that differ from a status without guests.
fn section(differs: Value) -> String {
    let key = differs.as_object().unwrap().keys().next().unwrap().clone();
    let sections = table(differs);
    let mut sections = sections.split("\n\n");
    let n = match key.as_str() {
        "servers" => 1,
        "shims" => 2,
        "guests" => 3,
        "unclaimed" => 4,
        _ => 4,
    };
    format!("\n{}", sections.nth(n).unwrap().trim_end())
}

fn guest(name: &str, state: &str, differs: Value) -> Value {
    let mut nic = json!({"name": "eth0", "parent": "eth0", "mac": "00:16:3e:00:00:01", "state": state,
                         "reason": null, "message": null, "addresses": []});
    for (key, value) in differs.as_object().unwrap() {
        nic[key] = value.clone();
    }
    json!({"server": "lxd", "project": "default", "name": name, "type": "container", "nics": [nic]})
}

fn routed(address: &str, source: &str) -> Value {
    json!({"address": address, "state": "routed", "source": source, "reason": null, "message": null})
}

#[test]
fn all_is_well() {
    let addresses = [
        routed("192.168.100.253", "192.168.100.62"),
        routed("2001:db8:1:2:216:3eff:fe00:1", "2001:db8:1:2:5a11:22ff:fe33:4444"),
    ];
    let guests = json!([guest("test1", "reachable", json!({"addresses": addresses}))]);
    let expected = "\
macvlan-shim 0.1.0, ready

SERVER  VERSION    NAME  STATE      SOCKET
lxd     LXD 5.0.2  lxd2  connected  /var/lib/lxd/unix.socket

SHIM      PARENT  MAC                STATE  NICS  OWN ADDRESSES
mvs-eth0  eth0    02:5a:11:22:33:44  up     1     none

GUEST      NIC   PARENT  ADDRESS                       STATE   SOURCE OR REASON
lxd:test1  eth0  eth0    192.168.100.253               routed  192.168.100.62
                         2001:db8:1:2:216:3eff:fe00:1  routed
                                                2001:db8:1:2:5a11:22ff:fe33:4444

no problems
";
    assert_eq!(table(json!({"guests": guests})), expected);
}

#[test]
fn an_address_is_refused() {
    let refused = json!({"address": "8.8.8.8", "state": "refused", "reason": "off-link",
                         "message": "it lies in no on-link prefix of eth0"});
    let addresses = [routed("192.168.100.253", "192.168.100.62"), refused];
    let guests = json!([guest("test1", "reachable", json!({"addresses": addresses}))]);
    let expected = "
GUEST      NIC   PARENT  ADDRESS          STATE    SOURCE OR REASON
lxd:test1  eth0  eth0    192.168.100.253  routed   192.168.100.62
                         8.8.8.8          refused  it lies in no on-link prefix
                                                   of eth0 (off-link)";
    assert_eq!(section(json!({"guests": guests})), expected);
}

#[test]
fn nics_without_a_route_say_why() {
    let private =
        json!({"reason": "mode", "message": "its mode is private; only bridge mode can be reached"});
    let mut shop = guest("db", "waiting", json!({}));
    shop["project"] = json!("shop");
    let guests = json!([
        guest("a", "stopped", json!({})),
        guest("b", "unselected", json!({"reason": "opted-out"})),
        guest("c", "unsupported", private),
        shop,
    ]);
    let expected = "
GUEST        NIC   PARENT  ADDRESS  STATE        SOURCE OR REASON
lxd:a        eth0  eth0    -        stopped
lxd:b        eth0  eth0    -        unselected   opted-out
lxd:c        eth0  eth0    -        unsupported  its mode is private; only
                                                 bridge mode can be reached
                                                 (mode)
lxd:shop/db  eth0  eth0    -        waiting";
    assert_eq!(section(json!({"guests": guests})), expected);
}

#[test]
fn a_failed_nic_shows_its_addresses_too() {
    let failed = json!({"address": "10.0.0.9", "state": "failed", "source": null, "reason": "exists",
                        "message": "a foreign route stands there"});
    let guests =
        json!([guest("a", "failed", json!({"message": "every route failed", "addresses": [failed]}))]);
    let expected = "
GUEST  NIC   PARENT  ADDRESS   STATE   SOURCE OR REASON
lxd:a  eth0  eth0    -         failed  every route failed
                     10.0.0.9  failed  a foreign route stands there (exists)";
    assert_eq!(section(json!({"guests": guests})), expected);
}

#[test]
fn a_shim_failed() {
    let shims = json!([{"name": "mvs-eth0", "parent": "eth0", "mac": null, "state": "failed", "addresses": [],
                        "nics": 2, "message": "eth0 has another kind of receiver"}]);
    let problems = json!([{"code": "parent-busy", "object": "eth0", "hint": "take eth0 out of the bridge br0, or \
                           let the guests use br0 as their parent instead",
                           "message": "no shim is possible, because the interface is a port of the bridge br0"}]);
    let expected = "
SHIM      PARENT  MAC  STATE   NICS  OWN ADDRESSES
mvs-eth0  eth0    -    failed  2     none
                                     eth0 has another kind of receiver";
    assert_eq!(section(json!({"shims": shims})), expected);
    let expected = "
problem: eth0: no shim is possible, because the interface is a port of the
  bridge br0 (parent-busy)
  hint: take eth0 out of the bridge br0, or let the guests use br0 as their
        parent instead";
    assert_eq!(section(json!({"problems": problems})), expected);
}

#[test]
fn own_addresses_and_ranges_are_shown() {
    let shims = json!([{"name": "mvs-eth0", "parent": "eth0", "mac": "02:5a:11:22:33:44", "state": "down",
                        "addresses": ["192.168.100.72", "fd00::72"], "routes": ["192.168.124.160/27"],
                        "nics": 0, "message": "eth0 has no carrier"}]);
    let expected = "
SHIM      PARENT  MAC                STATE  NICS  OWN ADDRESSES
mvs-eth0  eth0    02:5a:11:22:33:44  down   0     192.168.100.72 fd00::72
                                                  routes 192.168.124.160/27
                                                  eth0 has no carrier";
    assert_eq!(section(json!({"shims": shims})), expected);
}

#[test]
fn servers_that_are_away() {
    let server = |id: &str, state: &str, message: Option<&str>| {
        json!({"id": id, "kind": null, "socket": format!("/var/lib/{id}/unix.socket"), "version": null,
               "name": null, "state": state, "message": message})
    };
    let absent = server("incus", "absent", Some("no socket at /var/lib/incus/unix.socket"));
    let expected = "
SERVER  VERSION  NAME  STATE   SOCKET
incus   -        -     absent  no socket at /var/lib/incus/unix.socket";
    assert_eq!(section(json!({"servers": [absent]})), expected);

    // A server that never was needs no row beside one that is there.
    let servers = json!([absent, server("lxd", "failed", Some("it may not be asked: permission denied"))]);
    let expected = "
SERVER  VERSION  NAME  STATE   SOCKET
lxd     -        -     failed  /var/lib/lxd/unix.socket
                               it may not be asked: permission denied";
    assert_eq!(section(json!({"servers": servers})), expected);
}

#[test]
fn empty_sections_are_said_in_words() {
    let expected = "\
macvlan-shim 0.1.0, not ready yet

no server: there is no LXD or Incus socket on this host

no shim: no guest needs one now

no guest with a macvlan NIC

no problems
";
    assert_eq!(table(json!({"ready": false, "servers": [], "shims": []})), expected);
}

#[test]
fn routes_that_no_server_vouches_for() {
    let unclaimed = json!([{"address": "192.168.100.9", "shim": "mvs-eth0", "mac": "00:16:3e:00:00:09"}]);
    let expected = "
UNCLAIMED      SHIM      MAC                DETAIL
192.168.100.9  mvs-eth0  00:16:3e:00:00:09  kept: no server that answers vouches
                                            for it";
    assert_eq!(section(json!({"unclaimed": unclaimed})), expected);
}

#[test]
fn a_pipe_gets_one_row_an_address() {
    let refused =
        json!({"address": "8.8.8.8", "state": "refused", "reason": "off-link", "message": "x ".repeat(99)});
    let mut status: Status =
        serde_json::from_value(json!({"version": "1", "ready": true, "servers": [], "shims": [],
        "guests": [guest("a", "refused", json!({"addresses": [refused]}))], "unclaimed": [], "problems": []}))
        .unwrap();
    assert!(
        render(&status, Look::PLAIN)
            .lines()
            .any(|line| line.contains("8.8.8.8") && line.ends_with("(off-link)"))
    );
    status.guests.clear();
    assert!(!render(&status, Look::PLAIN).contains('\x1b'));
}
