//! The sysctls of a shim, and those of the host that no sysctl of a shim undoes. SYSCTLS.md has every sysctl
//! of the kernel, and the reason why it is among them or not.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::shim::DesiredShim;
use crate::model::snapshot::{Link, Setting, Sysctls};
use crate::model::status::Problem;
use crate::model::{Code, Family};
use crate::reconcile::facts::Facts;

/// How often the kernel asks the LAN for a MAC, if it may: its own default.
const SOLICITATIONS: i64 = 3;

/// Smallest MTU with which the kernel lets a link have IPv6 (`IPV6_MIN_MTU`), in bytes. Below it the link has
/// no IPv6 sysctls either (FACTS 59).
const IPV6_MIN_MTU: u32 = 1280;

/// The sysctls of a shim on this parent, as far as the kernel has them. `asks`: it leads to ranges, and so to
/// machines whose MACs only the LAN knows.
pub(super) fn settings(facts: &Facts<'_>, parent: &Link, asks: bool) -> Vec<(Setting, i64)> {
    let host = &facts.snapshot.host;
    let value = |setting| match setting {
        // Guests' MACs are known. If an entry is missing for an instant, the question for it would leave with
        // the host's address and the shim's MAC, and everybody who hears it remembers that.
        Setting::Solicit | Setting::Ipv6Solicit => i64::from(asks) * SOLICITATIONS,
        // Deaf to strangers: one ARP answer for the host's address, no frame twice, no foreign sources.
        Setting::ArpFilter | Setting::RpFilter => 1,
        // It answers for the host's own addresses and for no others. It is no proxy, whatever `all.proxy_arp`
        // says.
        Setting::MediumId => -1,
        Setting::ProxyArp | Setting::ProxyArpPvlan => 0,
        // It does answer for them, whatever `default` was when it was made.
        Setting::ArpIgnore => 0,
        // No guest can make an entry in the table that all share by a claim of its own, and the shim
        // announces nothing to the LAN.
        Setting::ArpAccept | Setting::Ipv6AcceptUntrackedNa => 0,
        Setting::ArpNotify | Setting::Ipv6NdiscNotify => 0,
        // Guests reach the services that the host has for the LAN, not its loopback, and nothing behind it.
        Setting::AcceptLocal | Setting::RouteLocalnet | Setting::BcForwarding => 0,
        Setting::AcceptRedirects | Setting::SendRedirects | Setting::AcceptSourceRoute => 0,
        Setting::Ipv6ForceForwarding => 0,
        Setting::Ipv6Seg6Enabled | Setting::Ipv6RplSegEnabled | Setting::Ipv6Ioam6Enabled => 0,
        // An own address that goes takes no others of its subnet with it.
        Setting::PromoteSecondaries => 1,
        // It makes no address by itself.
        Setting::Ipv6AddrGenMode => 1,
        Setting::Ipv6AcceptRa | Setting::Ipv6AcceptRedirects => 0,
        // It answers for the host's addresses, at once, and from an address of another link, because it has
        // none. Forwarding on one interface alone forwards nothing.
        Setting::Ipv6Forwarding | Setting::Ipv6ProxyNdp => i64::from(facts.ipv6()),
        Setting::Ipv6ProxyDelay | Setting::Ipv6UseOifAddrsOnly => 0,
        Setting::Ipv6Disable => i64::from(!facts.ipv6()),
    };
    let ipv6 = host.ipv6 && parent.mtu >= IPV6_MIN_MTU;
    let present =
        |setting: &Setting| (ipv6 || setting.family() == Family::V4) && !host.lacks.contains(setting);
    Setting::ALL.into_iter().filter(present).map(|setting| (setting, value(setting))).collect()
}

/// The own addresses of the shim on this parent, each as a host prefix. If the host answers ARP only to
/// askers in the subnet of the address that they ask for (`all.arp_ignore=2`), IPv4 addresses have the length
/// 0. Then every guest is in the subnet. And unlike any other length, 0 makes the kernel add no broadcast
/// route (FACTS 42), by which the host's own broadcasts could leave through the shim.
pub(super) fn own_addresses(facts: &Facts<'_>, parent: &Link) -> BTreeSet<IpNet> {
    let asks_for_subnet = facts.snapshot.host.arp_ignore == 2;
    let own = |own: IpAddr| match own {
        IpAddr::V4(own) if asks_for_subnet => Ipv4Net::new_assert(own, 0).into(),
        own => IpNet::from(own),
    };
    facts.own_addresses(&parent.name).map(own).collect()
}

/// The faults in the sysctls of the host, as far as they harm the possible shims.
pub(super) fn problems<'a>(
    facts: &Facts<'_>,
    shims: impl Iterator<Item = &'a DesiredShim>,
) -> impl Iterator<Item = Problem> {
    let mut problems = Vec::new();
    for shim in shims.filter(|shim| shim.obstacle.is_none()) {
        problems.extend(unusable(facts.snapshot.host.sysctls));
        problems.extend(arp_ignore(facts, shim));
        problems.extend(route_localnet(facts));
        problems.extend(proxy_arp_pvlan(facts));
        problems.extend(rp_filter(facts, shim));
    }
    problems.into_iter()
}

fn unusable(sysctls: Sysctls) -> Option<Problem> {
    let (what, hint) = match sysctls {
        Sysctls::Usable => return None,
        Sysctls::ReadOnly => (
            "is mounted read-only, so no sysctl of a shim can be set",
            "add ReadWritePaths=/proc/sys/net to the unit; in a container, its host must mount /proc/sys/net writable",
        ),
        Sysctls::Missing => (
            "is not there, so no sysctl of a shim can be read or set",
            "mount -t proc proc /proc; or remove InaccessiblePaths=/proc/sys from the unit",
        ),
    };
    Some(Problem::new(
        Code::SysctlsUnavailable,
        "/proc/sys/net",
        format!("/proc/sys/net {what}"),
        hint.to_owned(),
    ))
}

/// The kernel takes the larger of `all` and the link's own, so a shim cannot answer if `all` forbids it.
fn arp_ignore(facts: &Facts<'_>, shim: &DesiredShim) -> Option<Problem> {
    let (value, parent) = (facts.snapshot.host.arp_ignore, &shim.parent);
    let own = shim.addresses.iter().map(IpNet::addr).find(|own| own.is_ipv4() && value != 8);
    let rule = match value {
        1 => "the host answers ARP only for addresses of the very link that is asked",
        2 => {
            "the host answers ARP only for addresses of the very link that is asked, to askers in their subnet"
        }
        8 => "the host answers no ARP request at all",
        // 3 spares addresses of global scope, and the kernel knows no others.
        _ => return None,
    };
    let lost = match own {
        Some(own) => {
            format!("so its guests on {parent} reach it at {own} over IPv4, and not at its ordinary address")
        }
        None => format!("so it and its guests on {parent} do not reach each other over IPv4"),
    };
    let otherwise = match own {
        None if value != 8 => "; where it must stay, guests can reach an own address ([shim] addresses)",
        _ => "",
    };
    Some(Problem::new(
        Code::ArpIgnore,
        parent.clone(),
        format!("net.ipv4.conf.all.arp_ignore is {value}: {rule}, {lost}"),
        format!(
            "sysctl -w net/ipv4/conf/all/arp_ignore=0 net/ipv4/conf/{parent}/arp_ignore={value}, and likewise for \
             every other link that needs it{otherwise}"
        ),
    ))
}

/// The filter drops packets to the loopback. Without a filter nothing does.
fn route_localnet(facts: &Facts<'_>) -> Option<Problem> {
    let problem = || {
        Problem::new(
            Code::RouteLocalnet,
            "net.ipv4.conf.all.route_localnet",
            "net.ipv4.conf.all.route_localnet is 1, and there is no filter: guests reach services on \
                  127.0.0.1 of the host",
            "apt install nftables; or set it on the links that need it, and sysctl -w \
               net.ipv4.conf.all.route_localnet=0",
        )
    };
    (facts.snapshot.host.route_localnet != 0 && is_unfiltered(facts)).then(problem)
}

/// The filter drops ARP requests for addresses that are not the host's. Without a filter the kernel answers
/// for guests.
fn proxy_arp_pvlan(facts: &Facts<'_>) -> Option<Problem> {
    let problem = || {
        Problem::new(
            Code::ProxyArp,
            "net.ipv4.conf.all.proxy_arp_pvlan",
            "net.ipv4.conf.all.proxy_arp_pvlan is 1, and there is no filter: where the host forwards, it answers \
                  guests' ARP requests for each other, and their traffic goes through it",
            "apt install nftables; or set it on the links that need it, and sysctl -w \
               net.ipv4.conf.all.proxy_arp_pvlan=0",
        )
    };
    (facts.snapshot.host.proxy_arp_pvlan != 0 && is_unfiltered(facts)).then(problem)
}

/// On a link without an IPv4 address the kernel treats loose filtering as strict, so only an own address
/// makes it loose.
fn rp_filter(facts: &Facts<'_>, shim: &DesiredShim) -> Option<Problem> {
    let is_loose = facts.snapshot.host.rp_filter > 1 && shim.addresses.iter().any(|own| own.addr().is_ipv4());
    let problem = || {
        Problem::new(
            Code::RpFilter,
            "net.ipv4.conf.all.rp_filter",
            format!(
                "net.ipv4.conf.all.rp_filter is {}, and no filter checks sources: guests on {} can send to the host \
             from any address that it has a route to",
                facts.snapshot.host.rp_filter, shim.parent
            ),
            "apt install nftables; or sysctl -w net.ipv4.conf.all.rp_filter=0, and set 2 on the links that need it",
        )
    };
    (is_loose && facts.snapshot.filter.lacks.is_some()).then(problem)
}

/// Whether filters are impossible. A filter that cannot be read for a moment still exists.
fn is_unfiltered(facts: &Facts<'_>) -> bool {
    let filter = &facts.snapshot.filter;
    !filter.usable && filter.lacks.is_some()
}
