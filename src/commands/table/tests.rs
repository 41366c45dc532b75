//! The look of each state at a terminal of 80 columns.

use super::*;
use crate::model::Code;
use crate::model::status::Problem;
use serde_json::{Value, json};

const TERMINAL: Look = Look { colour: false, width: Some(80), height: Some(24), symbols: true };

/// The status of a host where everything is well except for the given keys.
fn status(differs: Value) -> Status {
    let mut status = json!({
        "version": "0.1.0", "host": "lxd2", "started": "2026-11-27T14:02:11Z", "time": "2026-11-30T14:02:11Z", "ready": true, "counts": {"wanted": 1, "reached": 1},
        "servers": [{"id": "lxd", "kind": "lxd", "socket": "/var/lib/lxd/unix.socket", "version": "5.0.2",
                     "name": "lxd2", "state": "connected", "message": null}],
        "shims": [{"name": "mvs-eth0", "parent": "eth0", "mac": "02:5a:11:22:33:44", "state": "up",
                   "addresses": [], "ranges": [], "nics": 1, "routes": 2, "filtered": true, "parent_state": "up",
                   "host_addresses": ["192.168.100.62", "fd64::62"], "message": null}],
        "guests": [reached("test1", "192.168.100.253")], "unclaimed": [], "problems": [],
    });
    for (key, value) in differs.as_object().unwrap() {
        status[key] = value.clone();
    }
    serde_json::from_value(status).unwrap()
}

fn shown(differs: Value, wishes: Wishes<'_>, look: Look) -> String {
    let text = render(&status(differs), wishes, look);
    assert!(text.lines().all(|line| look.width.is_none_or(|width| line.chars().count() <= width)), "{text}");
    text
}

fn table(differs: Value) -> String {
    shown(differs, Wishes::default(), TERMINAL)
}

/// The part of the text that begins with this word.
fn part(text: &str, word: &str) -> String {
    let mut parts = text.split("\n\n").filter(|part| part.starts_with(word));
    format!("\n{}\n", parts.next().unwrap_or_else(|| panic!("no {word} in {text}")).trim_end())
}

fn guest(name: &str, state: &str, differs: Value) -> Value {
    let mut nic = json!({"name": "eth0", "parent": "eth0", "mac": "00:16:3e:00:00:01", "state": state,
                         "reason": null, "message": null, "addresses": []});
    for (key, value) in differs.as_object().unwrap() {
        nic[key] = value.clone();
    }
    json!({"server": "lxd", "project": "default", "name": name, "type": "container", "nics": [nic]})
}

fn routed(address: &str) -> Value {
    json!({"address": address, "state": "routed", "source": "192.168.100.62", "reason": null, "message": null})
}

fn reached(name: &str, address: &str) -> Value {
    guest(name, "reachable", json!({"addresses": [routed(address)]}))
}

fn refused(address: &str, code: Code, message: &str) -> Value {
    json!({"address": address, "state": "refused", "reason": code.as_str(), "message": message})
}

fn problem(code: Code, object: &str, message: &str, hint: &str) -> Value {
    serde_json::to_value(Problem::new(code, object, message, hint)).unwrap()
}

#[test]
fn all_is_well() {
    let addresses = [routed("192.168.100.253"), routed("2001:db8:1234:5678:216:3eff:fe15:6fa0")];
    let guests = json!([guest("test1", "reachable", json!({"addresses": addresses}))]);
    let expected = "\
● macvlan-shim 0.1.0 on lxd2, up 3 d: the running guest is reachable

SERVER  VERSION    STATE        GUESTS  SOCKET
lxd     LXD 5.0.2  ● connected  1       /var/lib/lxd/unix.socket

PARENT  STATE  SHIM      NICS  ROUTES  FILTER  THIS HOST IS REACHED AT
eth0    ● up   mvs-eth0  1     2       on      192.168.100.62, fd64::62

no problems

GUEST        NIC   ADDRESS
● lxd:test1  eth0  192.168.100.253
                   2001:db8:1234:5678:216:3eff:fe15:6fa0
";
    assert_eq!(table(json!({"guests": guests})), expected);
}

#[test]
fn a_parent_is_down_and_a_guest_claims_the_gateway() {
    let down = json!({"addresses": [{"address": "10.5.0.9", "state": "failed", "source": null,
                                     "reason": "parent-down", "message": "eth1 is down"}],
                      "reason": "parent-down", "message": "eth1 is down"});
    let claim =
        refused("192.168.100.1", Code::NextHop, "192.168.100.1 is the gateway of a route of this host");
    let guests = json!([
        guest("cam-2", "failed", down),
        guest("db-07", "refused", json!({"addresses": [claim]})),
        reached("test1", "192.168.100.253"),
    ]);
    let problems = json!([
        problem(
            Code::NextHop,
            "lxd:db-07 eth0",
            "192.168.100.1 is the gateway of a route of this host; policy.allow admits it",
            "give the guest another address"
        ),
        problem(
            Code::ParentDown,
            "eth1",
            "eth1 is down, so the guest on it and this host cannot reach each other",
            "ip link set eth1 up"
        ),
    ]);
    let shims = json!([
        {"name": "mvs-eth0", "parent": "eth0", "mac": null, "state": "up", "addresses": ["192.168.100.72"], "nics": 2,
         "routes": 1, "filtered": false, "parent_state": "up", "host_addresses": ["192.168.100.62"], "ranges": ["192.168.124.160/27"],
         "message": null},
        {"name": "mvs-eth1", "parent": "eth1", "mac": null, "state": "down", "addresses": [], "ranges": [], "nics": 1,
         "routes": 1, "filtered": true, "parent_state": "down", "host_addresses": [], "message": "eth1 is down"},
    ]);
    let expected = "\
✗ macvlan-shim 0.1.0 on lxd2, up 3 d
  1 of 3 running guests are reachable; 2 things need you

SERVER  VERSION    STATE        GUESTS  SOCKET
lxd     LXD 5.0.2  ● connected  3       /var/lib/lxd/unix.socket

PARENT  STATE   SHIM      NICS  ROUTES  FILTER  THIS HOST IS REACHED AT
eth0    ● up    mvs-eth0  2     1       ! off   192.168.100.62
                                                192.168.100.72 (the shim's own)
                                                routes also 192.168.124.160/27
eth1    ✗ down  mvs-eth1  1     1       on      no address of its own

NEEDS YOU
✗ eth1: eth1 is down, so the guest on it and this host cannot reach each other
  (parent-down)
    → ip link set eth1 up
! lxd:db-07 eth0: 192.168.100.1 is the gateway of a route of this host;
  policy.allow admits it (next-hop)
    → give the guest another address

GUEST        NIC   ADDRESS
✗ lxd:cam-2  eth0  10.5.0.9         parent-down
✗ lxd:db-07  eth0  192.168.100.1    next-hop
● lxd:test1  eth0  192.168.100.253
";
    let counts = json!({"wanted": 3, "reached": 1});
    assert_eq!(
        table(json!({"guests": guests, "problems": problems, "shims": shims, "counts": counts})),
        expected
    );
}

#[test]
fn nobody_needs_anybody_for_what_is_nobodys_fault() {
    let ipv6 = refused("2001:db8::9", Code::NoFamily, "this host has no IPv6 network on eth0");
    let lan = refused("192.168.7.10", Code::OtherUplink, "this host reaches it through eth1 and the LAN");
    let guests = json!([
        guest("a", "reachable", json!({"addresses": [routed("192.168.100.253"), ipv6]})),
        guest("nas", "refused", json!({"addresses": [lan]})),
        guest("old-1", "stopped", json!({})),
        guest("old-2", "stopped", json!({})),
        guest("build", "unselected", json!({"reason": "opted-out", "message": "its key says so"})),
        guest("vm1", "unsupported", json!({"reason": "vm", "message": "a VM is not served yet"})),
    ]);
    let differs = json!({"guests": guests});
    let expected = "
GUEST      NIC   ADDRESS
● lxd:a    eth0  192.168.100.253
● lxd:nas  eth0  -                no route: this host reaches it through eth1
                                  and the LAN (other-uplink)
  2 stopped: lxd:old-1, lxd:old-2
  1 left out: lxd:build (opted-out)
  1 not supported: lxd:vm1 (vm)
  1 more address has no route, which is nobody's fault: --all shows why
";
    assert_eq!(part(&table(differs.clone()), "GUEST"), expected);
    let expected = "
GUEST        NIC   ADDRESS
● lxd:a      eth0  192.168.100.253  routed from 192.168.100.62
                   2001:db8::9      refused: this host has no IPv6 network on
                                    eth0 (no-family)
● lxd:nas    eth0  192.168.7.10     refused: this host reaches it through eth1
                                    and the LAN (other-uplink)
○ lxd:old-1  eth0  -                stopped
○ lxd:old-2  eth0  -                stopped
○ lxd:build  eth0  -                left out: its key says so (opted-out)
○ lxd:vm1    eth0  -                not supported: a VM is not served yet (vm)
";
    let all = Wishes { all: true, ..Wishes::default() };
    assert_eq!(part(&shown(differs, all, TERMINAL), "GUEST"), expected);
}

#[test]
fn one_guest_is_shown_in_full_with_the_problems_that_concern_it() {
    let off = refused("8.8.8.8", Code::OffLink, "it is in none of the networks of eth0");
    let mut shop = guest("db", "reachable", json!({"addresses": [routed("192.168.100.9"), off]}));
    shop["project"] = json!("shop");
    let guests = json!([reached("db-2", "192.168.100.10"), shop]);
    let problems = json!([
        problem(
            Code::OffLink,
            "lxd:shop/db eth0",
            "it is in none of the networks of eth0",
            "admit its range"
        ),
        problem(Code::NoAddress, "lxd:db-2 eth0", "it has no address", "look in the guest"),
        problem(Code::ParentDown, "eth1", "eth1 is down", "ip link set eth1 up"),
        problem(Code::ParentDown, "eth0", "eth0 is down", "ip link set eth0 up"),
        problem(Code::AddressConflict, "192.168.100.9", "two have it", "take it from one"),
    ]);
    let expected = "\
GUEST          NIC   ADDRESS
! lxd:shop/db  eth0  192.168.100.9  routed from 192.168.100.62
                     8.8.8.8        refused: it is in none of the networks of
                                    eth0 (off-link)

NEEDS YOU
✗ eth0: eth0 is down (parent-down)
    → ip link set eth0 up
✗ 192.168.100.9: two have it (address-conflict)
    → take it from one
! lxd:shop/db eth0: it is in none of the networks of eth0 (off-link)
    → admit its range
";
    for name in ["db", "shop/db", "lxd:shop/db"] {
        let names = [name.to_owned()];
        let wishes = Wishes { names: &names, ..Wishes::default() };
        assert_eq!(shown(json!({"guests": guests, "problems": problems}), wishes, TERMINAL), expected);
    }
}

#[test]
fn nothing_to_serve_and_nothing_found() {
    let idle = json!({"guests": [], "shims": [], "counts": {"wanted": 0, "reached": 0}});
    assert!(
        table(idle.clone())
            .starts_with("○ macvlan-shim 0.1.0 on lxd2, up 3 d: there is no running guest to serve\n")
    );
    let mut reading = idle.clone();
    reading["ready"] = json!(false);
    assert!(
        table(reading).starts_with("○ macvlan-shim 0.1.0 on lxd2, up 3 d: it is still reading its servers\n")
    );

    let server = |id: &str, socket: &str| {
        json!({"id": id, "kind": null, "socket": socket, "version": null, "name": null, "state": "absent",
               "message": format!("no socket at {socket}")})
    };
    let mut none = idle;
    none["servers"] =
        json!([server("incus", "/run/incus/unix.socket"), server("lxd", "/var/lib/lxd/unix.socket")]);
    none["problems"] =
        json!([problem(Code::NoServer, "servers", "no LXD and no Incus was found on this host", "name it")]);
    let expected = "\
! macvlan-shim 0.1.0 on lxd2, up 3 d
  it finds no LXD and no Incus; 1 thing needs you

SERVER  VERSION  STATE     GUESTS  SOCKET
incus   -        ○ absent  0       no socket at /run/incus/unix.socket
lxd     -        ○ absent  0       no socket at /var/lib/lxd/unix.socket

NEEDS YOU
! servers: no LXD and no Incus was found on this host (no-server)
    → name it
";
    assert_eq!(table(none), expected);
}

#[test]
fn a_server_that_never_was_has_no_row_beside_one_that_is_there() {
    let server = |id: &str, state: &str, message: Option<&str>| {
        json!({"id": id, "kind": null, "socket": format!("/var/lib/{id}/unix.socket"), "version": null,
               "name": null, "state": state, "message": message})
    };
    let servers = json!([
        server("incus", "absent", Some("no socket at /var/lib/incus/unix.socket")),
        server("lxd", "failed", Some("it may not be asked: permission denied")),
    ]);
    let expected = "
SERVER  VERSION  STATE     GUESTS  SOCKET
lxd     -        ✗ failed  1       /var/lib/lxd/unix.socket
                                   it may not be asked: permission denied
";
    assert_eq!(part(&table(json!({"servers": servers})), "SERVER"), expected);
}

#[test]
fn routes_that_no_server_vouches_for() {
    let unclaimed = json!([{"address": "192.168.100.9", "shim": "mvs-eth0", "mac": "00:16:3e:00:00:09"}]);
    let expected = "
UNCLAIMED      SHIM      MAC                DETAIL
192.168.100.9  mvs-eth0  00:16:3e:00:00:09  kept: no server that answers vouches
                                            for it
";
    assert_eq!(part(&table(json!({"unclaimed": unclaimed})), "UNCLAIMED"), expected);
}

/// A thousand guests fit on every screen. Those that need somebody always have their rows.
#[test]
fn guests_that_do_not_fit_are_counted_if_they_are_well() {
    let well = (0..1000)
        .map(|nth| reached(&format!("web-{nth:04}"), &format!("10.0.{}.{}", nth / 250, nth % 250 + 1)));
    let off = refused("8.8.8.8", Code::OffLink, "it is in none of the networks of eth0");
    let guests: Vec<Value> = well.chain([guest("z", "refused", json!({"addresses": [off]}))]).collect();
    let differs = json!({"guests": guests});
    let text = table(differs.clone());
    assert!(text.lines().count() <= 24, "{text}");
    let (first, last) = (&guests[0]["name"], text.lines().last().unwrap());
    assert!(text.contains(first.as_str().unwrap()) && text.contains("✗ lxd:z"), "{text}");
    assert!(last.ends_with("more that are well: --all shows them"), "{text}");
    let all = shown(differs.clone(), Wishes { all: true, ..Wishes::default() }, TERMINAL);
    assert!(all.lines().count() > 1001);
    let piped = shown(differs.clone(), Wishes::default(), Look::PLAIN);
    assert!(piped.lines().count() > 1001, "a program wants every row");
    let by_state = shown(differs, Wishes { sort: Sort::State, ..Wishes::default() }, TERMINAL);
    assert!(part(&by_state, "GUEST").lines().nth(2).unwrap().starts_with("✗ lxd:z"), "{by_state}");
}

#[test]
fn a_long_name_has_a_line_of_its_own() {
    let off = refused("2001:db8:1234:5678:216:3eff:fe15:6fa0", Code::OffLink, "it is in no network");
    let long = guest(&"n".repeat(63), "refused", json!({"addresses": [off]}));
    let guests = json!([long, reached("web", "192.168.100.9")]);
    let expected = format!(
        "
GUEST      NIC   ADDRESS
✗ lxd:{}
           eth0  2001:db8:1234:5678:216:3eff:fe15:6fa0  off-link
● lxd:web  eth0  192.168.100.9
",
        "n".repeat(63)
    );
    assert_eq!(part(&table(json!({"guests": guests})), "GUEST"), expected);
}

#[test]
fn without_utf_8_the_symbols_are_ascii() {
    let problems = json!([problem(Code::ParentDown, "eth1", "eth1 is down", "ip link set eth1 up")]);
    let ascii = Look { symbols: false, ..TERMINAL };
    let text = shown(json!({"problems": problems}), Wishes::default(), ascii);
    assert!(text.is_ascii(), "{text}");
    assert!(text.contains("x eth1: eth1 is down (parent-down)\n    > ip link set eth1 up\n"), "{text}");
}

#[test]
fn problems_alone() {
    let problems = json!([problem(Code::ParentDown, "eth1", "eth1 is down", "ip link set eth1 up")]);
    let wishes = Wishes { problems: true, ..Wishes::default() };
    let expected = "\
✗ macvlan-shim 0.1.0 on lxd2, up 3 d
  the running guest is reachable; 1 thing needs you

NEEDS YOU
✗ eth1: eth1 is down (parent-down)
    → ip link set eth1 up
";
    assert_eq!(shown(json!({"problems": problems}), wishes, TERMINAL), expected);
    let many: Vec<Value> = (0..12)
        .map(|nth| problem(Code::NoAddress, &format!("lxd:g{nth} eth0"), "none yet", "look"))
        .collect();
    let text = shown(json!({"problems": many}), wishes, TERMINAL);
    assert!(text.ends_with("  … 2 more: --all shows them\n"), "{text}");
}

#[test]
fn what_has_changed_since_the_daemon_began_has_an_age() {
    let mut routed = routed("192.168.100.253");
    routed["since"] = json!("2026-11-30T13:57:11Z");
    let refused = json!({"address": "192.168.100.9", "state": "refused", "reason": "off-link", "message": "no",
                         "since": "2026-11-30T14:01:31Z"});
    let mut problem = problem(Code::OffLink, "lxd:web eth0", "192.168.100.9 is elsewhere", "take it away");
    problem["since"] = refused["since"].clone();
    let mut all = serde_json::to_value(status(json!({}))).unwrap();
    all["servers"][0]["since"] = json!("2026-11-30T11:02:11Z");
    all["shims"][0]["since"] = json!("2026-11-30T14:02:10Z");
    let text = table(json!({
        "servers": all["servers"], "shims": all["shims"], "problems": [problem],
        "guests": [guest("web", "reachable", json!({"addresses": [routed, refused]}))],
    }));
    for line in [
        "lxd     LXD 5.0.2  ● connected 3 h  1       /var/lib/lxd/unix.socket",
        "eth0    ● up 1 s  mvs-eth0  1     2       on      192.168.100.62, fd64::62",
        "! lxd:web eth0: 192.168.100.9 is elsewhere (off-link, for 40 s)",
        "! lxd:web  eth0  192.168.100.253  for 5 min",
        "                 192.168.100.9    off-link, for 40 s",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} is not in\n{text}");
    }
}

#[test]
fn a_host_without_a_guest_is_told_how_to_get_one() {
    let empty = json!({"guests": [], "shims": [], "counts": {"wanted": 0, "reached": 0}});
    let expected = "
No guest of lxd has a macvlan NIC. A profile with one puts a guest on the LAN of
PARENT, which is an interface of this host:
  lxc profile create macvlan
  lxc profile device add macvlan eth0 nic nictype=macvlan parent=PARENT
  lxc profile add GUEST macvlan
A guest that should be here and is not: macvlan-shim explain GUEST
";
    assert_eq!(part(&table(empty.clone()), "No guest"), expected);
    let mut absent = empty;
    absent["servers"] = json!([{"id": "lxd", "kind": "lxd", "socket": "/var/lib/lxd/unix.socket", "version": null,
                                "name": null, "state": "absent", "message": null}]);
    assert!(!table(absent).contains("No guest"));
}
