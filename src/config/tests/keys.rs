//! Keys and sections that do not exist, or are in the wrong place.

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
c.toml, line 1: the key "keep" is outside of any section
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
  hint: did you mean [[parent]]? the sections are [[server]], [select], [shim], [[parent]], [policy], [metrics]"#;
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
fn missing_keys() {
    let expected = r#"
c.toml, line 1: [[server]] has no socket
  1 | [[server]]
    | ^^^^^^^^^^
  hint: add socket = "…" below it
c.toml, line 2: [[parent]] has no name
  2 | [[parent]]
    | ^^^^^^^^^^
  hint: add name = "…" below it"#;
    assert_eq!(refused("[[server]]\n[[parent]]\nkeep = true\n"), expected.trim_start());
}
