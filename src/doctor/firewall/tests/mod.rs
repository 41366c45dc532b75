//! Rule sets as the real programs showed them (nft 1.0.6, iptables 1.8.9), made of the `.nft` files beside this one.

use super::chain::{HookedAt, RuleProgram};
use super::fit::Fit;
use super::*;

/// The words of nft about one of the rule sets here.
macro_rules! nft {
    ($name:literal) => {
        Firewall::read(
            include_str!(concat!($name, ".json")),
            include_str!(concat!($name, ".listing")),
            Vec::new(),
        )
        .unwrap()
    };
}

fn ufw() -> Firewall {
    let saves = vec![
        (Family::V4, include_str!("ufw.iptables").to_owned()),
        (Family::V6, include_str!("ufw.ip6tables").to_owned()),
    ];
    Firewall::read(include_str!("ufw.json"), include_str!("ufw.listing"), saves).unwrap()
}

fn iptables(rules: &str) -> Firewall {
    Firewall::read("", "", vec![(Family::V4, rules.to_owned())]).unwrap()
}

fn v4() -> Entrance {
    Entrance {
        shim: "mvs-eth0".to_owned(),
        parent: "eth0".to_owned(),
        guest: "192.168.77.101".parse().unwrap(),
        host: "192.168.77.12".parse().unwrap(),
    }
}

fn v6() -> Entrance {
    let (guest, host) = ("fd77::101".parse().unwrap(), "fd77::12".parse().unwrap());
    Entrance { guest, host, ..v4() }
}

/// What is dropped for certain, and what may be.
fn told(blocked: &[Blocked]) -> Vec<String> {
    let one = |blocked: &Blocked| {
        let sure = if matches!(blocked.fate, Fate::Dropped(_)) { "" } else { "perhaps " };
        let answers = if blocked.is_answer { "answers to " } else { "" };
        format!("{sure}{answers}{}", blocked.content)
    };
    blocked.iter().map(one).collect()
}

fn stop(blocked: &[Blocked]) -> String {
    blocked[0].fate.stop().unwrap().to_string()
}

#[test]
fn no_rules_block_nothing() {
    for nothing in [Firewall::default(), Firewall::read("{\"nftables\": []}", "", Vec::new()).unwrap()] {
        assert!(nothing.is_empty());
        assert_eq!((nothing.blocked(&v4()), nothing.blocked(&v6())), (vec![], vec![]));
        assert_eq!(nothing.is_closed(&v4()), None);
    }
    assert!(Firewall::read("{", "", Vec::new()).is_err());
}

#[test]
fn a_firewall_that_accepts_only_the_uplink_blocks_everything_of_guests() {
    let firewall = nft!("eth0_only");
    let blocked = firewall.blocked(&v4());
    assert_eq!(told(&blocked), ["pings", "TCP to port 51234", "UDP to port 51234"]);
    assert_eq!(
        stop(&blocked),
        "table inet fw, chain in: its policy is drop, and no rule before accepts them"
    );
    assert_eq!(firewall.cure(&v4(), &blocked), ["nft insert rule inet fw in iifname \"mvs-*\" accept"]);
    let v6_blocked = firewall.blocked(&v6());
    assert_eq!(told(&v6_blocked)[0], "neighbour solicitations (IPv6)");
}

#[test]
fn only_what_the_lan_may_send_is_let_in_from_guests() {
    let firewall = nft!("ports");
    let blocked = firewall.blocked(&v4());
    assert_eq!(told(&blocked), ["pings", "TCP to port 22", "TCP to port 80", "UDP to port 53"]);
    assert_eq!(
        firewall.cure(&v4(), &blocked),
        [
            "nft insert rule inet fw in iifname \"mvs-*\" meta l4proto { icmp, ipv6-icmp } accept",
            "nft insert rule inet fw in iifname \"mvs-*\" tcp dport { 22, 80 } accept",
            "nft insert rule inet fw in iifname \"mvs-*\" udp dport 53 accept",
        ]
    );
    // Solicitations may come in through any link.
    assert_eq!(told(&firewall.blocked(&v6())), ["TCP to port 22", "TCP to port 80", "UDP to port 53"]);
}

#[test]
fn a_zone_of_firewalld_is_told() {
    let firewall = nft!("firewalld");
    let blocked = firewall.blocked(&v4());
    assert_eq!(told(&blocked), ["TCP to port 8000"]);
    assert_eq!(
        stop(&blocked),
        "table inet firewalld, chain filter_INPUT: reject with icmpx admin-prohibited"
    );
    assert_eq!(
        firewall.cure(&v4(), &blocked),
        ["firewall-cmd --permanent --zone=home --change-interface=mvs-eth0", "firewall-cmd --reload"]
    );
}

#[test]
fn conditions_on_the_link_of_an_address_arp_and_solicitations_are_understood() {
    let firewall = nft!("strict");
    let blocked = firewall.blocked(&v4());
    let named = |content| blocked.iter().find(|one| one.content == content).unwrap();
    assert!(matches!(&named(Content::ArpRequest).fate, Fate::Dropped(stop) if stop.family == "arp"));
    let Fate::Dropped(stop) = &named(Content::Tcp(ANY_PORT)).fate else { panic!("{blocked:?}") };
    assert_eq!(
        stop.to_string(),
        "table inet strict, chain pre: fib daddr . iif type != { local, broadcast, multicast } counter packets 0 \
         bytes 0 drop"
    );
    // The host's answers leave through the shim as well.
    assert!(blocked.iter().any(|one| one.is_answer && one.fate.stop().unwrap().hook == HookedAt::Output));
    assert_eq!(
        firewall.cure(&v4(), &blocked),
        [
            "nft insert rule arp quiet in iifname \"mvs-*\" accept",
            "nft insert rule inet strict pre iifname \"mvs-*\" accept",
            "nft insert rule ip out out oifname \"mvs-*\" accept",
        ]
    );
    let blocked = firewall.blocked(&v6());
    assert_eq!(
        blocked
            .iter()
            .find(|one| one.content == Content::Solicitation)
            .map(|one| &one.fate)
            .and_then(Fate::stop)
            .map(|stop| stop.table.as_str()),
        Some("solicit")
    );
}

#[test]
fn odd_conditions_are_never_taken_for_more_than_they_say() {
    let firewall = nft!("odd");
    // eth0 is in the set and the map, mvs-eth0 in neither. Later rules accept, or may.
    let blocked = firewall.blocked(&v4());
    let of = |content| blocked.iter().find(|one| one.content == content).map(|one| one.fate.rank());
    assert_eq!(of(Content::Echo), None, "within a limit they are accepted: {blocked:#?}");
    assert_eq!(of(Content::Tcp(22)), None, "the set of networks has the guest's: {blocked:#?}");
    assert_eq!(of(Content::Tcp(ANY_PORT)), None, "the group of shims is let in: {blocked:#?}");
    assert_eq!(told(&blocked), ["ARP requests"]);
    assert_eq!(told(&firewall.blocked(&v6())).iter().filter(|one| one.contains("solicit")).count(), 0);
}

#[test]
fn a_dormant_table_drops_nothing() {
    let table = |flags: &str| {
        let json = format!(
            r#"{{"nftables": [{{"table": {{"family": "inet", "name": "t"{flags}}}}},
               {{"chain": {{"family": "inet", "table": "t", "name": "i", "type": "filter", "hook": "input", "prio": 0, "policy": "accept"}}}},
               {{"rule": {{"family": "inet", "table": "t", "chain": "i", "handle": 3, "expr": [
                 {{"match": {{"op": "!=", "left": {{"meta": {{"key": "iifname"}}}}, "right": "eth0"}}}}, {{"drop": null}}]}}}}]}}"#
        );
        let blocked = Firewall::read(&json, "", Vec::new()).unwrap().blocked(&v4());
        blocked.iter().find(|one| one.content == Content::Echo).map(|one| one.fate.rank())
    };
    assert_eq!(table(""), Some(2));
    assert_eq!(table(r#", "flags": ["dormant"]"#), None);
    assert_eq!(table(r#", "flags": "dormant""#), None);
    assert_eq!(table(r#", "flags": "t""#), Some(1), "nft 1.0.6 does not tell which flag it is");
}

#[test]
fn what_nobody_knows_is_perhaps() {
    for (expression, rank) in [
        (r#"{"drop": null}"#, None),
        (
            r#"{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "mvs-*"}}, {"drop": null}"#,
            Some(2),
        ),
        (
            r#"{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "mvs-*"}}, {"news": 1}, {"drop": null}"#,
            Some(1),
        ),
        (
            r#"{"match": {"op": "==", "left": {"meta": {"key": "iifgroup"}}, "right": 7173}}, {"drop": null}"#,
            Some(2),
        ),
        (r#"{"match": {"op": "==", "left": {"meta": {"key": "cgroup"}}, "right": 1}}, {"drop": null}"#, None),
        (
            r#"{"match": {"op": "~~", "left": {"meta": {"key": "iifname"}}, "right": 1}}, {"drop": null}"#,
            None,
        ),
        (
            r#"{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "mvs-*"}}, {"jump": {"target": "gone"}}"#,
            None,
        ),
        (
            r#"{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "@gone"}}, {"drop": null}"#,
            None,
        ),
        (r#"{"match": 7}, 8, {"drop": null}"#, None),
        (
            r#"{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "mvs-*"}}, {"queue": {"num": 1}}"#,
            Some(1),
        ),
        (
            r#"{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": [["mvs-*", {"drop": null}], ["eth0", {"accept": null}]]}}}"#,
            Some(2),
        ),
        (
            r#"{"vmap": {"key": {"concat": [{"meta": {"key": "iifname"}}, {"meta": {"key": "l4proto"}}]}, "data": {"set": [[{"concat": ["mvs-*", "icmp"]}, {"drop": null}]]}}}"#,
            Some(2),
        ),
        (r#"{"vmap": 3}"#, None),
    ] {
        let json = format!(
            r#"{{"nftables": [{{"chain": {{"family": "ip", "table": "t", "name": "i", "type": "filter", "hook": "input", "prio": 0, "policy": "accept"}}}},
               {{"rule": {{"family": "ip", "table": "t", "chain": "i", "expr": [{expression}]}}}}]}}"#
        );
        let blocked = Firewall::read(&json, "", Vec::new()).unwrap().blocked(&v4());
        let rank_of = |blocked: &[Blocked]| {
            let echo = |one: &&Blocked| one.content == Content::Echo && !one.is_answer;
            blocked.iter().find(echo).map(|one| one.fate.rank())
        };
        assert_eq!(rank_of(&blocked), rank, "{expression}");
    }
}

#[test]
fn chains_that_call_each_other_for_ever_end() {
    let chain = |name: &str| format!(":{name} - [0:0]\n");
    let calls: String = ('a'..='p').map(|name| chain(&name.to_string())).collect();
    let jumps: String =
        ('a'..='p').flat_map(|from| ('a'..='p').map(move |to| format!("-A {from} -j {to}\n"))).collect();
    let firewall =
        iptables(&format!("*filter\n:INPUT ACCEPT [0:0]\n{calls}-A INPUT -i mvs-+ -j a\n{jumps}COMMIT\n"));
    assert_eq!(told(&firewall.blocked(&v4())), Vec::<String>::new());
}

#[test]
fn the_chains_of_ufw_are_walked_and_its_own_command_is_the_cure() {
    let firewall = ufw();
    let blocked = firewall.blocked(&v4());
    // A rule of ufw accepts pings from everywhere, and SSH from eth0.
    assert_eq!(told(&blocked), ["TCP to port 22"]);
    assert_eq!(
        stop(&blocked),
        "iptables, table filter, chain INPUT: its policy is drop, and no rule before accepts them (0 packets so far)"
    );
    assert_eq!(firewall.cure(&v4(), &blocked), ["ufw allow in on mvs-eth0 to any port 22 proto tcp"]);
    assert_eq!(told(&firewall.blocked(&v6())), Vec::<String>::new());
}

#[test]
fn the_conditions_of_iptables_are_understood() {
    let fate = |rule: &str| {
        let firewall = iptables(&format!("*filter\n:INPUT ACCEPT [0:0]\n[7:420] -A INPUT {rule}\nCOMMIT\n"));
        told(&firewall.blocked(&v4()))
    };
    let all = ["answers to pings", "pings", "TCP to port 51234", "UDP to port 51234"].map(str::to_owned);
    assert_eq!(fate("! -i eth0 -j DROP"), all);
    assert_eq!(
        fate(
            "-i mvs-+ -m comment --comment \"a \\\"b\\\" -j ACCEPT\" -j REJECT --reject-with icmp-port-unreachable"
        ),
        all
    );
    assert_eq!(fate("-i mvs-+ -p icmp -m icmp --icmp-type 8 -j DROP"), ["pings"]);
    assert_eq!(fate("-i mvs-+ -p icmp -m icmp ! --icmp-type 8 -j DROP"), ["answers to pings"]);
    assert_eq!(fate("-i mvs-+ -m conntrack --ctstate NEW -j DROP"), all[1..]);
    assert_eq!(fate("-i mvs-+ -m conntrack --ctstate INVALID -j DROP"), Vec::<String>::new());
    assert_eq!(fate("-i mvs-+ -s 10.0.0.0/8 -j DROP"), Vec::<String>::new());
    assert_eq!(fate("-i mvs-+ -m rpfilter --invert -j DROP"), Vec::<String>::new());
    assert_eq!(fate("-i mvs-+ -m set --match-set blocked src -j DROP")[0], "perhaps answers to pings");
    assert_eq!(
        fate("-i mvs-+ -p tcp -m tcp --dport 5000:5010 -j DROP"),
        ["TCP to port 5000", "TCP to port 5010"]
    );
    assert_eq!(fate("-i mvs-+ -p tcp -m tcp --tcp-flags SYN,RST SYN -j DROP"), ["perhaps TCP to port 51234"]);
    assert_eq!(fate("-i mvs-+ -j LOG --log-prefix \"x -j DROP\""), Vec::<String>::new());
    assert_eq!(fate("-i mvs-+ -j NFQUEUE --queue-num 0")[0], "perhaps answers to pings");
    let firewall = iptables("*filter\n:INPUT DROP [9:99]\n[1:2] -A INPUT -i eth0 -j ACCEPT\nCOMMIT\n");
    let blocked = firewall.blocked(&v4());
    assert_eq!(firewall.cure(&v4(), &blocked), ["iptables -I INPUT -i mvs-+ -j ACCEPT"]);
    assert!(stop(&blocked).ends_with("(9 packets so far)"), "{}", stop(&blocked));
}

#[test]
fn a_firewall_that_is_closed_to_everybody_is_not_a_fault_of_the_shim() {
    let firewall = iptables(
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n",
    );
    assert_eq!(told(&firewall.blocked(&v4())), Vec::<String>::new());
    assert_eq!(firewall.is_closed(&v4()).unwrap().program, RuleProgram::Iptables);
    assert!(nft!("eth0_only").is_closed(&v4()).is_none());
}

#[test]
fn address_translation_that_names_the_uplink_is_seen() {
    let packet = |output| Packet {
        path: Path::Through,
        input: Some("wg0"),
        output: Some(output),
        source: "10.8.0.2".parse().unwrap(),
        destination: "192.168.77.101".parse().unwrap(),
        content: Content::Echo,
        state: Tracked::New,
        is_shim: output == "mvs-eth0",
    };
    for firewall in [ufw(), nft!("odd")] {
        let (uplink, shim) = (firewall.translates(&packet("eth0")), firewall.translates(&packet("mvs-eth0")));
        assert_eq!((uplink, shim), (Fit::Yes, Fit::No));
    }
    assert_eq!(Firewall::default().translates(&packet("eth0")), Fit::No);
}
