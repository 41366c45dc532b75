//! Files that are understood.

use super::*;

#[test]
fn nothing_configured_is_all_defaults() {
    for text in ["", "# only a comment\n", "[shim]\n", "[select]\n[policy]\n[shim]\n"] {
        assert_eq!(read(text), Config::default());
    }
    let Config { shim, policy, .. } = Config::default();
    assert!(shim.ipv6 && !shim.keep);
    assert_eq!(policy.max_addresses, 32);
}

#[test]
fn every_key_arrives_where_it_belongs() {
    let config = read(
        r#"
            [[server]]
            socket = "/var/lib/lxd/unix.socket"
            [[server]]
            socket = "/var/lib/incus/unix.socket"
            [select]
            profiles = ["shim", "lan"]
            projects = ["default"]
            [shim]
            addresses = ["192.168.100.72", "fd00::72"]
            keep = true
            [[parent]]
            name = "eth1"
            addresses = []
            routes = ["192.168.124.160/27"]
            keep = false
            [[parent]]
            name = "eth2"
            [policy]
            allow = ["0.0.0.0/0", "2001:db8::/32"]
            deny = ["10.0.0.0/8"]
            max_addresses = 4096
            probe = "strict"
            [metrics]
            per_guest = false
            "#,
    );
    let expected = Config {
        servers: vec![
            ServerSection { socket: "/var/lib/lxd/unix.socket".into() },
            ServerSection { socket: "/var/lib/incus/unix.socket".into() },
        ],
        select: Select { profiles: vec!["shim".into(), "lan".into()], projects: vec!["default".into()] },
        shim: Shim {
            addresses: vec!["192.168.100.72".parse().unwrap(), "fd00::72".parse().unwrap()],
            ipv6: true,
            keep: true,
        },
        parents: BTreeMap::from([
            (
                "eth1".into(),
                Parent {
                    name: "eth1".into(),
                    addresses: Some(vec![]),
                    routes: vec!["192.168.124.160/27".parse().unwrap()],
                    keep: Some(false),
                },
            ),
            ("eth2".into(), Parent { name: "eth2".into(), ..Parent::default() }),
        ]),
        policy: Policy {
            allow: vec!["0.0.0.0/0".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            deny: vec!["10.0.0.0/8".parse().unwrap()],
            max_addresses: 4096,
            probe: Probe::Strict,
        },
        metrics: Metrics { per_guest: false },
    };
    assert_eq!(config, expected);
}

#[test]
fn two_shims_may_have_the_same_own_address() {
    let text = "[[parent]]\nname = 'a'\naddresses = ['10.0.0.1']\n\
                    [[parent]]\nname = 'b'\naddresses = ['10.0.0.1']\n";
    assert_eq!(read(text).parents.len(), 2);
}
