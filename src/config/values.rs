//! One text → an address, a prefix, an interface name, a socket. An error says what was expected and, if
//! possible, what to write instead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::model::names;

/// The fault of a text.
#[derive(Debug, PartialEq)]
pub(super) struct Wrong {
    /// Follows the quoted text: `"…" has a prefix length`.
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

pub(super) type Checked<T> = Result<T, Wrong>;

fn wrong<T>(what: impl Into<String>, hint: impl Into<Option<String>>) -> Checked<T> {
    Err(Wrong { what: what.into(), hint: hint.into() })
}

/// The longest path that a unix socket can have, in bytes.
const MAX_SOCKET_PATH: usize = 107;

/// An own address of a shim.
pub(super) fn own_address(text: &str) -> Checked<IpAddr> {
    if let Some((address, length)) = text.split_once('/') {
        let hint = address.parse::<IpAddr>().ok().filter(|_| length.parse::<u8>().is_ok());
        return wrong(
            "has a prefix length; own addresses are written without prefix length",
            hint.map(|address| format!("write {:?}", address.to_string())),
        );
    }
    let Ok(address) = text.parse::<IpAddr>() else {
        return wrong(
            "is not an IP address",
            Some("write it like \"192.168.1.5\" or \"fd00::5\"".to_owned()),
        );
    };
    match unfit(address) {
        Some(what) => wrong(
            format!("is {what}; expected a unicast address that other machines can reach"),
            mapped(address),
        ),
        None => Ok(address),
    }
}

/// Any prefix.
pub(super) fn prefix(text: &str) -> Checked<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let host = IpNet::from(address);
        return wrong("has no prefix length", Some(format!("for this one address, write \"{host}\"")));
    }
    let Ok(net) = text.parse::<IpNet>() else {
        return wrong(
            "is not a network",
            Some("write it like \"192.168.1.0/24\" or \"fd00::/64\"".to_owned()),
        );
    };
    if net != net.trunc() {
        let network = net.trunc();
        return wrong(
            format!("has bits set behind its prefix length of {}", net.prefix_len()),
            Some(format!("the network is \"{network}\"; the one address is \"{}\"", IpNet::from(net.addr()))),
        );
    }
    Ok(net)
}

/// A range that may be routed through a shim.
pub(super) fn range(text: &str) -> Checked<IpNet> {
    let net = prefix(text)?;
    if net.prefix_len() == 0 {
        return wrong(
            "is the default route; a range through a shim may not be everything",
            Some("name the networks of the guests".to_owned()),
        );
    }
    match unfit(net.network()).or_else(|| unfit_range(net)) {
        Some(what) => wrong(format!("is {what}; expected a range of unicast addresses"), None),
        None => Ok(net),
    }
}

/// The name of a parent.
pub(super) fn parent(text: &str) -> Checked<String> {
    if let Some(what) = no_interface_name(text) {
        return wrong(
            what,
            Some("write it as \"ip link\" shows it, without the @ and everything after it".to_owned()),
        );
    }
    if text.starts_with("mvs-") {
        return wrong(
            "is named like a shim; expected the parent below it",
            Some("name the interface that the guests' NICs have as their parent".to_owned()),
        );
    }
    Ok(text.to_owned())
}

/// The path of a server's socket.
pub(super) fn socket(text: &str) -> Checked<PathBuf> {
    let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
    if path.starts_with('/') && path != text {
        return wrong("is a URL; expected a path", Some(format!("write {path:?}")));
    }
    if !text.starts_with('/') {
        let hint = Some("write it like \"/var/lib/lxd/unix.socket\"".to_owned());
        return wrong("is not an absolute path; expected one that starts with /", hint);
    }
    if text.len() > MAX_SOCKET_PATH {
        let what = format!("has {} bytes; a socket's path has at most {MAX_SOCKET_PATH}", text.len());
        return wrong(what, None);
    }
    if text.contains('\0') {
        return wrong("contains a zero byte", None);
    }
    // `components` removes doubled and trailing slashes, so that equal paths are equal.
    Ok(PathBuf::from(text).components().collect())
}

/// The name of a profile or project.
pub(super) fn name(text: &str) -> Checked<String> {
    match text.trim() {
        "" => wrong("is not a name", None),
        trimmed if trimmed != text => wrong("has white space around it", Some(format!("write {trimmed:?}"))),
        _ => Ok(text.to_owned()),
    }
}

/// The kernel's own rule (`dev_valid_name`).
fn no_interface_name(text: &str) -> Option<String> {
    let max = names::MAX_LINK_NAME;
    match text {
        "" => Some("is not an interface name".to_owned()),
        "." | ".." => Some("is not an interface name".to_owned()),
        _ if text.len() > max => {
            Some(format!("has {} bytes; an interface name has at most {max}", text.len()))
        }
        _ => {
            let bad = text.chars().find(|&c| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace())?;
            Some(format!("contains {bad:?}, which an interface name cannot contain"))
        }
    }
}

fn unfit(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            Some("the unspecified address")
        }
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("of \"this network\" (0.0.0.0/8)"),
        IpAddr::V4(v4) if v4.octets()[0] >= 240 => Some("reserved (240.0.0.0/4)"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("link-local"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("link-local"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4-mapped IPv6 address"),
        _ if address.is_loopback() => Some("loopback"),
        _ if address.is_multicast() => Some("multicast"),
        _ => None,
    }
}

/// Why a range is refused although its network address alone would pass.
fn unfit_range(net: IpNet) -> Option<&'static str> {
    let multicast =
        [IpNet::from(IpAddr::from([224, 0, 0, 0])), IpNet::from(IpAddr::from([0xff00, 0, 0, 0, 0, 0, 0, 0]))];
    multicast.iter().any(|group| net.contains(group)).then_some("wide enough to hold multicast")
}

fn mapped(address: IpAddr) -> Option<String> {
    let IpAddr::V6(v6) = address else { return None };
    v6.to_ipv4_mapped().map(|v4| format!("write {:?}", v4.to_string()))
}
