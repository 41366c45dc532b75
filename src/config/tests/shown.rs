//! The output of `config show` reads back as the same configuration.

use super::*;
use proptest::prelude::*;

#[test]
fn the_defaults_spell_out_every_key() {
    let expected = "\
# no [[server]]: every known socket of this host is followed

[select]
profiles = []
projects = []

[shim]
addresses = []
ipv6 = true
keep = false

[policy]
allow = []
deny = []
max_addresses = 32
probe = \"optimistic\"

[metrics]
per_guest = true
";
    assert_eq!(Config::default().to_toml(), expected);
}

#[test]
fn a_parent_shows_the_keys_that_it_sets() {
    let text = "[[parent]]\nname = \"eth1\"\naddresses = [\"10.0.0.1\"]\nroutes = []\nkeep = true\n";
    assert!(read(text).to_toml().contains(text));
}

fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    let address = prop_oneof![
        (1u8..=126, any::<u8>()).prop_map(|(a, d)| IpAddr::from([a, 0, 0, d])),
        any::<u16>().prop_map(|n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n])),
    ];
    proptest::collection::btree_set(address, 0..4).prop_map(|set| set.into_iter().collect())
}

fn nets() -> impl Strategy<Value = Vec<IpNet>> {
    let net = (addresses(), 0u8..=32).prop_filter_map("empty", |(addresses, length)| {
        IpNet::new(*addresses.first()?, length).ok().map(|net| net.trunc())
    });
    proptest::collection::btree_set(net, 0..4).prop_map(|set| set.into_iter().collect())
}

fn name() -> impl Strategy<Value = String> {
    "[!-~äß\"'\\\\]([ -~ä\n\"'\\\\]{0,8}[!-~])?"
}

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set(name(), 0..4).prop_map(|set| set.into_iter().collect())
}

fn parents() -> impl Strategy<Value = BTreeMap<String, Parent>> {
    let parent = (proptest::option::of(addresses()), any::<bool>(), proptest::option::of(any::<bool>()));
    let parents = proptest::collection::btree_map("[a-z\"'\\\\][a-z0-9.\"']{0,14}", parent, 0..3);
    parents.prop_map(|parents| {
        let parent = |(n, (name, (addresses, route, keep))): (usize, (String, _))| {
            // Ranges are unique over all parents.
            let range = || IpNet::new(IpAddr::from([10, u8::try_from(n).unwrap(), 0, 0]), 16).unwrap();
            let routes = if route { vec![range()] } else { vec![] };
            (name.clone(), Parent { name, addresses, routes, keep })
        };
        parents.into_iter().enumerate().map(parent).collect()
    })
}

prop_compose! {
    fn config()(
        servers in proptest::collection::btree_set("/[a-z\"' ]{1,8}", 0..3),
        (profiles, projects) in (names(), names()),
        addresses in addresses(),
        (ipv6, keep) in any::<(bool, bool)>(),
        parents in parents(),
        (allow, deny) in (nets(), nets()),
        max_addresses in 1usize..=4096,
        probe in proptest::sample::select(&Probe::ALL[..]),
        per_guest in any::<bool>(),
    ) -> Config {
        // Own addresses of IPv6 contradict `ipv6 = false`.
        let six = |a: &IpAddr| a.is_ipv6();
        let own = addresses.iter().chain(parents.values().flat_map(|p| p.addresses.iter().flatten()));
        let ipv6 = ipv6 || own.into_iter().any(six);
        Config {
            servers: servers.into_iter().map(|socket| ServerSection { socket: socket.into() }).collect(),
            select: Select { profiles, projects },
            shim: Shim { addresses, ipv6, keep },
            parents,
            policy: Policy { allow, deny, max_addresses, probe },
            metrics: Metrics { per_guest },
        }
    }
}

proptest! {
    #[test]
    fn a_shown_configuration_reads_back_the_same(config in config()) {
        prop_assert_eq!(read(&config.to_toml()), config);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\[{1,2}(server|shim|parent|x)\\]{0,2}|[ -~ä\n\t]{0,12}|\n){0,8}") {
        if let Err(error) = Config::parse(&text, Path::new("c.toml")) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
