//! Values that do not go together.

use super::*;

#[test]
fn values_that_are_there_twice() {
    for (text, expected) in [
        (
            "[[parent]]\nname = 'a'\n[[parent]]\nname = 'a'\n",
            "c.toml, line 4: parent.name: \"a\" is already in line 2\n",
        ),
        (
            "[[server]]\nsocket = '/a/b'\n[[server]]\nsocket = '/a//b'\n",
            "c.toml, line 4: server.socket: \"/a//b\" is already in line 2\n",
        ),
        (
            "[shim]\naddresses = ['fd00::1',\n'fd00:0::1']\n",
            "c.toml, line 3: shim.addresses: \"fd00:0::1\" is already in line 2\n",
        ),
        (
            "[[parent]]\nname='a'\nroutes=['10.0.0.0/8']\n[[parent]]\nname='b'\nroutes=['10.0.0.0/8']\n",
            "c.toml, line 6: parent.routes: \"10.0.0.0/8\" is already in line 3\n",
        ),
        (
            "[select]\nprofiles = ['a', 'a']\n",
            "c.toml, line 2: select.profiles: \"a\" is already in line 2\n",
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
        refused("[[parent]]\nname = 'a'\nroutes = ['fd00::/8']\n[shim]\nipv6 = false\n").contains("line 3")
    );
}

#[test]
fn all_faults_are_reported_at_once_in_the_order_of_the_file() {
    let text = "[policy]\nmax_addresses = 0\n[shim]\nkep = true\n[[server]]\nsocket = 'x'\n";
    let error = Config::parse(text, Path::new("c.toml")).unwrap_err();
    let all = error.to_string();
    let lines: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("c.toml, ")).collect();
    assert_eq!(lines.len(), 3, "{all}");
    assert!(
        lines[0].starts_with("line 2") && lines[1].starts_with("line 4") && lines[2].starts_with("line 6")
    );
    let first = "c.toml, line 2: policy.max_addresses is 0; expected a number from 1 to 4096 (and 2 more)";
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
