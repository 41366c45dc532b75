//! Values that make no sense.

use super::*;
use crate::config::values::{parent, range, socket};

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
        ("::ffff:10.0.0.1", "is an IPv4-mapped IPv6 address"),
        ("192.168.1", "is not an IP address"),
        ("fe80::1%eth0", "is not an IP address"),
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
    assert!(refused("[policy]\nallow = ['2001:db8::1/64']\n").contains("the network is \"2001:db8::/64\""));
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
        ("", "is not an interface name"),
        ("enx00163e001122a", "has 16 bytes; an interface name has at most 15"),
        ("eth 0", "contains ' ', which an interface name cannot contain"),
        ("eth0:1", "contains ':', which an interface name cannot contain"),
        ("a/b", "contains '/', which an interface name cannot contain"),
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
c.toml, line 2: server.socket: "lxd/unix.socket" is not an absolute path; expected one that starts with /
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
    assert!(refused("[select]\nprofiles = ['']\n").contains("select.profiles: \"\" is not a name"));
    assert!(refused("[select]\nprojects = [' web']\n").ends_with("hint: write \"web\""));
}

#[test]
fn an_interface_name_is_one_that_the_kernel_takes() {
    for good in ["eth0", "enx00163e001122", "br-lan", "bond0.100", "wän", "a@b"] {
        assert_eq!(parent(good), Ok(good.to_owned()));
    }
    for bad in ["", ".", "..", "eth 0", "eth/0", "eth0:1", "enx00163e001122a", "e\tth", "mvs-eth0"] {
        assert!(parent(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn equal_sockets_are_equal_paths() {
    assert_eq!(socket("/var//lib/lxd/unix.socket/"), socket("/var/lib/lxd/unix.socket"));
}

#[test]
fn a_range_as_wide_as_multicast_is_refused() {
    for bad in ["0.0.0.0/0", "::/0", "128.0.0.0/1", "8000::/1", "224.0.0.0/4", "ff00::/8", "127.0.0.0/8"] {
        assert!(range(bad).is_err(), "{bad}");
    }
    for good in ["10.0.0.0/8", "2000::/3", "192.168.124.160/27", "192.0.2.1/32"] {
        assert!(range(good).is_ok(), "{good}");
    }
}
