//! Values of another type.

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

#[test]
fn all_places_that_are_not_toml_are_reported_at_once() {
    let error = refused("[shim]\nkeep = yes\n[policy]\nmax_addresses = 32\nprobe = strict\nallow = []]\n");
    let lines: Vec<&str> = error.lines().filter_map(|line| line.strip_prefix("c.toml, ")).collect();
    assert_eq!(lines.len(), 3, "{error}");
    assert!(
        lines[0].starts_with("line 2") && lines[1].starts_with("line 5") && lines[2].starts_with("line 6")
    );
}
