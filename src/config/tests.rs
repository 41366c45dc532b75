//! What a file may say, and what is answered to one that says it wrongly.

use super::*;

fn read(text: &str) -> Config {
    Config::parse(text, Path::new("c.toml")).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    Config::parse(text, Path::new("c.toml")).map(|config| panic!("{config:?}")).unwrap_err().to_string()
}

mod good {
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
            "#,
        );
        let expected = Config {
            servers: vec!["/var/lib/lxd/unix.socket".into(), "/var/lib/incus/unix.socket".into()],
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
                        addresses: Some(vec![]),
                        routes: vec!["192.168.124.160/27".parse().unwrap()],
                        keep: Some(false),
                    },
                ),
                ("eth2".into(), Parent::default()),
            ]),
            policy: Policy {
                allow: vec!["0.0.0.0/0".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
                deny: vec!["10.0.0.0/8".parse().unwrap()],
                max_addresses: 4096,
                probe: Probe::Strict,
            },
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn two_shims_may_have_the_same_own_address() {
        let text = "[[parent]]\nname = 'a'\naddresses = ['10.0.0.1']\n\
                    [[parent]]\nname = 'b'\naddresses = ['10.0.0.1']\n";
        assert_eq!(read(text).parents.len(), 2);
    }
}

mod files {
    use super::*;

    #[test]
    fn a_missing_default_file_is_all_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let loaded = Config::load_or_default(None, &folder.path().join("config.toml")).unwrap();
        assert_eq!(loaded, Loaded { config: Config::default(), file: None });
    }

    #[test]
    fn an_empty_default_file_is_all_defaults_and_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let loaded = Config::load_or_default(None, file.path()).unwrap();
        assert_eq!(loaded, Loaded { config: Config::default(), file: Some(file.path().to_owned()) });
    }

    #[test]
    fn a_file_that_is_named_must_exist() {
        let error = Config::load(Some(Path::new("/nowhere/c.toml"))).unwrap_err();
        assert_eq!(error.to_string(), "/nowhere/c.toml: there is no such file");
        assert_eq!(error.summary(), error.to_string());
    }

    #[test]
    fn a_directory_is_no_file() {
        let error = Config::load(Some(Path::new("/proc"))).unwrap_err();
        assert_eq!(error.to_string(), "/proc: this is a directory; expected a file");
    }

    #[test]
    fn bytes_that_are_no_text_are_located() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"[shim]\nkeep = \xff\n").unwrap();
        let error = Config::load(Some(file.path())).unwrap_err().to_string();
        assert!(error.contains(", line 2: this is not UTF-8 text\n"), "{error}");
    }
}

mod keys {
    use super::*;

    #[test]
    fn a_misspelt_key() {
        let expected = r#"
c.toml, line 2: there is no key "adresses" in [shim]
  2 | adresses = []
    | ^^^^^^^^
  hint: did you mean "addresses"? the keys there are addresses, ipv6, keep"#;
        assert_eq!(refused("[shim]\nadresses = []\n"), expected.trim_start());
    }

    #[test]
    fn a_key_of_another_section() {
        let expected = r#"
c.toml, line 3: there is no key "max_addresses" in [[parent]]
  3 | max_addresses = 3
    | ^^^^^^^^^^^^^
  hint: "max_addresses" belongs to [policy]; the keys there are name, addresses, routes, keep
c.toml, line 5: there is no key "keep" in [policy]
  5 | keep = true
    | ^^^^
  hint: "keep" belongs to [shim] or [[parent]]; the keys there are allow, deny, max_addresses, probe"#;
        let text = "[[parent]]\nname = 'eth0'\nmax_addresses = 3\n[policy]\nkeep = true\n";
        assert_eq!(refused(text), expected.trim_start());
    }

    #[test]
    fn a_key_outside_of_any_section() {
        let expected = r#"
c.toml, line 1: the key "keep" stands outside of any section
  1 | keep = true
    | ^^^^
  hint: "keep" belongs to [shim] or [[parent]]"#;
        assert_eq!(refused("keep = true\n"), expected.trim_start());
        assert!(refused("max-addresses = 3").ends_with("hint: did you mean \"max_addresses\" of [policy]?"));
    }

    #[test]
    fn a_misspelt_section() {
        let expected = r#"
c.toml, line 1: there is no section "parents"
  1 | [[parents]]
    |   ^^^^^^^
  hint: did you mean [[parent]]? the sections are [[server]], [select], [shim], [[parent]], [policy]"#;
        assert_eq!(refused("[[parents]]\nname = 'eth0'\n"), expected.trim_start());
    }

    #[test]
    fn one_bracket_too_few_or_too_many() {
        let expected = r#"
c.toml, line 1: [server] may come several times and is written in two brackets
  1 | [server]
    |  ^^^^^^
  hint: write [[server]]"#;
        assert_eq!(refused("[server]\nsocket = '/s'\n"), expected.trim_start());
        let expected = r#"
c.toml, line 1: shim is a list; expected the section [shim]
  1 | [[shim]]
    |   ^^^^"#;
        assert_eq!(refused("[[shim]]\nkeep = true\n"), expected.trim_start());
    }

    #[test]
    fn what_is_missing() {
        let expected = r#"
c.toml, line 1: [[server]] names no socket
  1 | [[server]]
    | ^^^^^^^^^^
  hint: add socket = "…" below it
c.toml, line 2: [[parent]] has no name
  2 | [[parent]]
    | ^^^^^^^^^^
  hint: add name = "…" below it"#;
        assert_eq!(refused("[[server]]\n[[parent]]\nkeep = true\n"), expected.trim_start());
    }
}

mod types {
    use super::*;

    #[test]
    fn a_string_for_a_boolean() {
        let expected = r#"
c.toml, line 2: shim.ipv6 is a string; expected true or false, without quotes
  2 | ipv6 = "yes"
    |        ^^^^^"#;
        assert_eq!(refused("[shim]\nipv6 = \"yes\"\n"), expected.trim_start());
    }

    #[test]
    fn a_string_for_a_list() {
        let expected = r#"
c.toml, line 2: select.profiles is a string; expected a list of strings
  2 | profiles = "shim"
    |            ^^^^^^
  hint: write ["shim"]"#;
        assert_eq!(refused("[select]\nprofiles = \"shim\"\n"), expected.trim_start());
    }

    #[test]
    fn a_number_in_a_list_of_strings() {
        let expected = r#"
c.toml, line 3: an item of select.projects is a number; expected a string
  3 |   7,
    |   ^"#;
        assert_eq!(refused("[select]\nprojects = [\n  7,\n]\n"), expected.trim_start());
    }

    #[test]
    fn numbers_out_of_bounds() {
        let expected = r#"
c.toml, line 2: policy.max_addresses is 0; expected a number from 1 to 4096
  2 | max_addresses = 0
    |                 ^"#;
        assert_eq!(refused("[policy]\nmax_addresses = 0\n"), expected.trim_start());
        for bad in ["4097", "-1", "99999999999999999999999", "0x1001", "1.5", "'32'"] {
            let error = refused(&format!("[policy]\nmax_addresses = {bad}\n"));
            assert!(error.contains("expected a number from 1 to 4096"), "{error}");
        }
        assert_eq!(read("[policy]\nmax_addresses = 1_000\n").policy.max_addresses, 1000);
    }

    #[test]
    fn a_word_that_is_none_of_the_choices() {
        let expected = r#"
c.toml, line 2: policy.probe is "opportunistic"; expected one of "optimistic", "strict", "off"
  2 | probe = "opportunistic"
    |         ^^^^^^^^^^^^^^^
  hint: did you mean "optimistic"?"#;
        assert_eq!(refused("[policy]\nprobe = \"opportunistic\"\n"), expected.trim_start());
        assert!(
            refused("[policy]\nprobe = false\n").contains("policy.probe is true or false; expected a string")
        );
    }

    #[test]
    fn text_that_is_not_toml() {
        let expected = r#"
c.toml, line 2: string values must be quoted, expected literal string
  2 | socket = /var/lib/lxd/unix.socket
    |          ^^^^^^^^^^^^^^^^^^^^^^^^"#;
        assert_eq!(refused("[[server]]\nsocket = /var/lib/lxd/unix.socket\n"), expected.trim_start());
        assert!(refused("[shim]\nkeep = true\nkeep = false\n").starts_with("c.toml, line 3: duplicate key"));
        assert!(refused("[shim]\n[shim]\n").starts_with("c.toml, line 2: duplicate key"));
    }
}

mod values {
    use super::*;

    #[test]
    fn an_own_address_with_a_prefix_length() {
        let expected = r#"
c.toml, line 2: shim.addresses: "192.168.1.5/24" has a prefix length; own addresses are written without prefix length
  2 | addresses = ["192.168.1.5/24"]
    |              ^^^^^^^^^^^^^^^^
  hint: write "192.168.1.5""#;
        assert_eq!(refused("[shim]\naddresses = [\"192.168.1.5/24\"]\n"), expected.trim_start());
    }

    #[test]
    fn own_addresses_that_nobody_could_reach() {
        for (address, what) in [
            ("0.0.0.0", "is the unspecified address"),
            ("::", "is the unspecified address"),
            ("255.255.255.255", "is the broadcast address"),
            ("127.0.0.1", "is loopback"),
            ("::1", "is loopback"),
            ("224.0.0.1", "is multicast"),
            ("ff02::1", "is multicast"),
            ("169.254.1.1", "is link-local"),
            ("fe80::1", "is link-local"),
            ("0.1.2.3", "is of \"this network\" (0.0.0.0/8)"),
            ("241.0.0.1", "is reserved (240.0.0.0/4)"),
            ("::ffff:10.0.0.1", "is an IPv4 address in IPv6 clothes"),
            ("192.168.1", "is no IP address"),
            ("fe80::1%eth0", "is no IP address"),
        ] {
            let error = refused(&format!("[[parent]]\nname = 'eth0'\naddresses = ['{address}']\n"));
            let expected = format!("c.toml, line 3: parent.addresses: {address:?} {what}");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn a_network_with_host_bits() {
        let expected = r#"
c.toml, line 3: parent.routes: "192.168.124.170/27" has bits set behind its prefix length of 27
  3 | routes = ["192.168.124.170/27"]
    |           ^^^^^^^^^^^^^^^^^^^^
  hint: the network is "192.168.124.160/27"; the one address is "192.168.124.170/32""#;
        let text = "[[parent]]\nname = 'eth1'\nroutes = [\"192.168.124.170/27\"]\n";
        assert_eq!(refused(text), expected.trim_start());
        assert!(
            refused("[policy]\nallow = ['2001:db8::1/64']\n").contains("the network is \"2001:db8::/64\"")
        );
    }

    #[test]
    fn a_network_without_prefix_length() {
        let error = refused("[policy]\ndeny = ['10.0.0.1']\n");
        assert!(error.contains("\"10.0.0.1\" has no prefix length"), "{error}");
        assert!(error.ends_with("hint: for this one address, write \"10.0.0.1/32\""), "{error}");
    }

    #[test]
    fn everything_may_be_admitted_but_not_routed() {
        assert_eq!(read("[policy]\nallow = ['0.0.0.0/0', '::/0']\n").policy.allow.len(), 2);
        let expected = r#"
c.toml, line 3: parent.routes: "0.0.0.0/0" is the default route; a range through a shim may not be everything
  3 | routes = ["0.0.0.0/0"]
    |           ^^^^^^^^^^^
  hint: name the networks of the guests"#;
        assert_eq!(refused("[[parent]]\nname = 'eth1'\nroutes = [\"0.0.0.0/0\"]\n"), expected.trim_start());
    }

    #[test]
    fn a_parent_that_no_interface_can_be() {
        for (name, what) in [
            ("", "is no interface name"),
            ("enx00163e001122a", "has 16 bytes; an interface name has at most 15"),
            ("eth 0", "contains ' ', which no interface name can"),
            ("eth0:1", "contains ':', which no interface name can"),
            ("a/b", "contains '/', which no interface name can"),
            ("mvs-eth0", "is named like a shim; expected the parent below it"),
        ] {
            let error = refused(&format!("[[parent]]\nname = '{name}'\n"));
            let expected = format!("c.toml, line 2: parent.name: {name:?} {what}\n");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn a_socket_is_an_absolute_path() {
        let expected = r#"
c.toml, line 2: server.socket: "lxd/unix.socket" is no absolute path; expected one that starts with /
  2 | socket = "lxd/unix.socket"
    |          ^^^^^^^^^^^^^^^^^
  hint: write it like "/var/lib/lxd/unix.socket""#;
        assert_eq!(refused("[[server]]\nsocket = \"lxd/unix.socket\"\n"), expected.trim_start());
        assert!(refused("[[server]]\nsocket = 'unix:///s'\n").ends_with("hint: write \"/s\""));
        let long = "x".repeat(120);
        assert!(refused(&format!("[[server]]\nsocket = '/{long}'\n")).contains("has 121 bytes"));
    }

    #[test]
    fn a_name_of_white_space() {
        assert!(refused("[select]\nprofiles = ['']\n").contains("select.profiles: \"\" is no name"));
        assert!(refused("[select]\nprojects = [' web']\n").ends_with("hint: write \"web\""));
    }
}

mod together {
    use super::*;

    #[test]
    fn what_is_there_twice() {
        for (text, expected) in [
            (
                "[[parent]]\nname = 'a'\n[[parent]]\nname = 'a'\n",
                "c.toml, line 4: parent.name: \"a\" stands in line 2 already\n",
            ),
            (
                "[[server]]\nsocket = '/a/b'\n[[server]]\nsocket = '/a//b'\n",
                "c.toml, line 4: server.socket: \"/a//b\" stands in line 2 already\n",
            ),
            (
                "[shim]\naddresses = ['fd00::1',\n'fd00:0::1']\n",
                "c.toml, line 3: shim.addresses: \"fd00:0::1\" stands in line 2 already\n",
            ),
            (
                "[[parent]]\nname='a'\nroutes=['10.0.0.0/8']\n[[parent]]\nname='b'\nroutes=['10.0.0.0/8']\n",
                "c.toml, line 6: parent.routes: \"10.0.0.0/8\" stands in line 3 already\n",
            ),
            (
                "[select]\nprofiles = ['a', 'a']\n",
                "c.toml, line 2: select.profiles: \"a\" stands in line 2 already\n",
            ),
        ] {
            let error = refused(text);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn an_ipv6_address_where_ipv6_is_off() {
        let expected = r#"
c.toml, line 2: shim.addresses: "fd00::1" is of IPv6, which shim.ipv6 = false switches off
  2 | addresses = ["fd00::1"]
    |              ^^^^^^^^^"#;
        assert_eq!(refused("[shim]\naddresses = [\"fd00::1\"]\nipv6 = false\n"), expected.trim_start());
        assert!(
            refused("[[parent]]\nname = 'a'\nroutes = ['fd00::/8']\n[shim]\nipv6 = false\n")
                .contains("line 3")
        );
    }

    #[test]
    fn all_faults_are_told_at_once_in_the_order_of_the_file() {
        let text = "[policy]\nmax_addresses = 0\n[shim]\nkep = true\n[[server]]\nsocket = 'x'\n";
        let error = Config::parse(text, Path::new("c.toml")).unwrap_err();
        let all = error.to_string();
        let lines: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("c.toml, ")).collect();
        assert_eq!(lines.len(), 3, "{all}");
        assert!(
            lines[0].starts_with("line 2")
                && lines[1].starts_with("line 4")
                && lines[2].starts_with("line 6")
        );
        let first =
            "c.toml, line 2: policy.max_addresses is 0; expected a number from 1 to 4096 (and 2 more)";
        assert_eq!(error.summary(), first);
    }

    #[test]
    fn tabs_and_wide_characters_keep_the_mark_in_place() {
        let expected = "
c.toml, line 2: an item of select.profiles is a number; expected a string
  2 |  profiles = ['größe', 7]
    |                       ^";
        assert_eq!(refused("[select]\r\n\tprofiles = ['größe', 7]\r\n"), expected.trim_start());
    }
}

mod shown {
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
";
        assert_eq!(Config::default().to_toml(), expected);
    }

    #[test]
    fn a_parent_shows_what_it_sets() {
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
                (name, Parent { addresses, routes, keep })
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
        ) -> Config {
            // Own addresses of IPv6 contradict `ipv6 = false`.
            let six = |a: &IpAddr| a.is_ipv6();
            let own = addresses.iter().chain(parents.values().flat_map(|p| p.addresses.iter().flatten()));
            let ipv6 = ipv6 || own.into_iter().any(six);
            Config {
                servers: servers.into_iter().map(PathBuf::from).collect(),
                select: Select { profiles, projects },
                shim: Shim { addresses, ipv6, keep },
                parents,
                policy: Policy { allow, deny, max_addresses, probe },
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_the_same(config in config()) {
            prop_assert_eq!(read(&config.to_toml()), config);
        }

        #[test]
        fn no_text_makes_it_panic(text in "(\\[{1,2}(server|shim|parent|x)\\]{0,2}|[ -~ä\n\t]{0,12}|\n){0,8}") {
            if let Err(error) = Config::parse(&text, Path::new("c.toml")) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}

/// The file that the packages install.
mod sample {
    use super::*;

    const SAMPLE: &str = include_str!("../../packaging/files/etc/macvlan-shim/config.toml");

    #[test]
    fn it_changes_nothing() {
        assert_eq!(Config::parse(SAMPLE, Path::new("sample")).unwrap(), Config::default());
    }

    #[test]
    fn it_shows_every_key_of_the_three_sections_with_its_default() {
        let uncommented: String = SAMPLE
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if !key.starts_with(' ') => key,
                _ => line,
            })
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        let shown = Config::default().to_toml();
        let keys = shown.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        assert_eq!(uncommented, keys.map(|line| format!("{line}\n")).collect::<String>());
    }

    #[test]
    fn its_examples_are_good() {
        let examples: String = SAMPLE
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.starts_with("[[") || line.contains(" = "))
            .map(|line| format!("{line}\n"))
            .collect();
        let config = Config::parse(&examples, Path::new("sample")).unwrap();
        assert_eq!(config.servers, [Path::new("/var/lib/lxd/unix.socket")]);
        assert_eq!(config.parents["eth1"].keep, Some(true));
        assert_eq!(config.parents["eth1"].routes.len(), 1);
    }
}
