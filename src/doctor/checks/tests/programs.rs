//! Firewalls, and programs that manage links or name them.

use super::*;

fn nft(rules: &str) -> Firewall {
    let json = format!(
        r#"{{"nftables": [{{"chain": {{"family": "inet", "table": "t", "name": "in", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}}}},
           {{"rule": {{"family": "inet", "table": "t", "chain": "in", "handle": 2, "expr": [{rules}]}}}}]}}"#
    );
    Firewall::read(&json, "", Vec::new()).unwrap()
}

#[test]
fn a_firewall_that_knows_only_the_uplink_is_found_and_one_that_is_closed_is_a_note() {
    let match_of = |name: &str| {
        format!(
            r#"{{"match": {{"op": "==", "left": {{"meta": {{"key": "iifname"}}}}, "right": "{name}"}}}}, {{"accept": null}}"#
        )
    };
    let only = |name: &'static str| {
        let rules = match_of(name);
        World::surveyed(move |survey| survey.firewall = Ok(nft(&rules)))
    };
    let finding = only("eth0").finds(Code::FirewallDropsShim);
    assert!(finding.sentence.ends_with("over IPv4 and IPv6"), "{finding:#?}");
    assert_eq!(finding.cure, ["nft insert rule inet t in iifname \"mvs-*\" accept"]);
    assert!(finding.evidence[0].contains("chain in: its policy is drop"), "{finding:#?}");
    assert_eq!(only("lo").finds(Code::FirewallClosed).severity, Severity::Note);
    World::surveyed(move |survey| survey.firewall = Ok(nft(r#"{"accept": null}"#))).shows_nothing();
}

#[test]
fn networkd_is_a_danger_only_if_nothing_tells_it_to_spare_us() {
    let networkd = |keys: &[(&str, &str)], spares_shims, rule: bool| {
        let keys = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let networkd = Networkd { runs: Some(true), keys, spares_shims };
        World {
            change: Box::new(move |survey| survey.networkd = networkd),
            ..World::with(|world| {
                if rule {
                    world.snapshot.rules.insert(Rule::look_up(Family::V4, 5000, 52));
                }
            })
        }
    };
    networkd(&[], false, false).finds(Code::NetworkdForeignRoutes);
    networkd(&[], true, false).shows_nothing();
    networkd(&[("ManageForeignRoutes", "no")], false, false).shows_nothing();
    let codes = |world: World| world.found().iter().map(|finding| finding.code).collect::<Vec<_>>();
    assert_eq!(codes(networkd(&[], true, true)), [Code::NetworkdForeignRoutes, Code::PolicyRules]);
    let spared = &[("ManageForeignRoutingPolicyRules", "no")];
    assert_eq!(codes(networkd(spared, true, true)), [Code::PolicyRules]);
}

#[test]
fn network_manager_must_not_manage_a_shim() {
    let with = |state: Option<&'static str>| {
        World::surveyed(move |survey| {
            survey.network_manager =
                Ok(state.map(|state| [("mvs-eth0".to_owned(), state.to_owned())].into()));
        })
    };
    with(Some("connecting")).finds(Code::NetworkmanagerManages);
    with(Some("unmanaged")).shows_nothing();
    with(None).shows_nothing();
}

#[test]
fn masquerading_that_names_the_uplink_is_found_for_networks_that_are_there() {
    let wireguard = |rule: &str, forwards: i64| {
        let save = format!("*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING {rule} -j MASQUERADE\nCOMMIT\n");
        let firewall = Firewall::read("", "", vec![(Family::V4, save)]).unwrap();
        World {
            change: Box::new(move |survey| {
                survey.firewall = Ok(firewall);
                survey.sysctls.insert("net.ipv4.ip_forward".to_owned(), forwards);
            }),
            ..World::with(|world| {
                world
                    .snapshot
                    .links
                    .insert(LinkIndex(20), link(LinkIndex(20), "wg0", LinkKind::Other("wireguard".into())));
                network(&mut world.snapshot, LinkIndex(20), "10.8.0.1/24");
            })
        }
    };
    let finding = wireguard("-s 10.8.0.0/24 -o eth0", 1).finds(Code::NatNamesUplink);
    assert_eq!(finding.cure[0], "iptables -t nat -A POSTROUTING -s 10.8.0.0/24 -o mvs-+ -j MASQUERADE");
    wireguard("-s 10.8.0.0/24 -o eth0", 0).shows_nothing();
    wireguard("-s 10.8.0.0/24 ! -o wg0", 1).shows_nothing();
    wireguard("-s 10.99.0.0/24 -o eth0", 1).shows_nothing();
}

#[test]
fn programs_that_name_the_uplink_are_found() {
    let with = |program: &'static str, lines: &'static [&'static str]| {
        World::surveyed(move |survey| {
            survey.programs.insert(program.to_owned(), config_lines(lines));
        })
    };
    let finding = with("dnsmasq", &["domain=x", "interface=eth0"]).finds(Code::DnsmasqNamesUplink);
    assert_eq!(finding.evidence, ["/etc/x:2: interface=eth0"]);
    with("dnsmasq", &["interface=eth0", "interface=mvs-*"]).shows_nothing();
    with("dnsmasq", &["interface=lxdbr0"]).shows_nothing();
    with("keepalived", &["vrrp_instance a {", "interface eth0", "}"]).finds(Code::KeepalivedNamesUplink);
    with("keepalived", &["interface eth1"]).shows_nothing();
}
