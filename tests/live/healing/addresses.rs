//! The host's own addresses change: it is renumbered, or has no address for a while.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use lab::{Dhcp, Machine, eventually};

use super::{GUEST, SOON, Ward};

#[test]
fn the_host_loses_its_addresses_for_ten_seconds() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    // The other IPv6 address, from router advertisements, would do as well.
    ward.site.lan.stop_dhcp();
    let blow = "ip addr flush dev eth0 scope global; sleep 10
        ip addr add 192.168.77.11/24 dev eth0; ip addr add fd77::11/64 dev eth0 nodad";
    ward.heals(&talk, "the host without an address for 10 s", blow)
}

/// The client of busybox does this at each renewal.
#[test]
fn the_hosts_addresses_are_gone_for_an_instant() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    for _ in 0..5 {
        let blow = "ip addr flush dev eth0 scope global; ip addr add 192.168.77.11/24 dev eth0; \
            ip addr add fd77::11/64 dev eth0 nodad";
        ward.heals(&talk, "the host's addresses flushed and set again", blow)?;
    }
    Ok(())
}

#[test]
fn the_host_is_renumbered_by_dhcp() -> Result<()> {
    let ward = Ward::new()?;
    let host = &ward.site.host;
    let mac = host.sh("cat /sys/class/net/eth0/address")?.trim().to_owned();
    let lease =
        |last| Dhcp { fixed: vec![(mac.clone(), Ipv4Addr::new(192, 168, 77, last))], ..Dhcp::default() };
    ward.site.lan.dhcp_with(&lease(150))?;
    let mut client = host.dhcp_client("eth0")?;
    let old = Ipv4Addr::new(192, 168, 77, 150);
    ward.node.wait_both_ways(&ward.guest, GUEST, &old.to_string())?;
    let talk = ward.talk_with(&[(GUEST.into(), old.into())])?;
    talk.wait(SystemTime::now(), SOON)?;

    ward.site.lan.dhcp_with(&lease(160))?;
    let events = host.monitor(&["ip", "-ts", "monitor", "address"])?;
    client.signal("USR2")?;
    client.signal("USR1")?;
    let new = Ipv4Addr::new(192, 168, 77, 160);
    events.wait_line(&new.to_string(), SOON)?;
    let moment = SystemTime::now();
    let to_new = ward.talk_with(&[(GUEST.into(), new.into())])?;
    to_new.goes_on("renumbered by DHCP, IPv4", moment).with_context(|| ward.story())?;
    ensure!(!ward.guest.pings(old), "the old address still answers");
    ward.is_well(SOON)
}

/// The provider gives another prefix. The router announces it and deprecates the old one. Host and guest both
/// form an address in it.
#[test]
fn host_and_guest_are_renumbered_by_router_advertisements() -> Result<()> {
    let ward = Ward::new()?;
    let (host, lan) = (&ward.site.host, &ward.site.lan);
    host.sh("ip addr del fd77::11/64 dev eth0")?;
    let guest = ward.site.server.launch("c2", &["-p", "mv"])?;
    let old = (guest.ipv6("eth0")?, host_ipv6(host, "fd77::")?);
    let talk = ward.talk_of(&guest, &[(old.0.into(), old.1.into())])?;
    talk.wait(SystemTime::now(), SOON)?;

    lan.stop_dhcp();
    lan.sh("ip addr add fd78::1/64 dev br0 nodad; ip addr change fd77::1/64 dev br0 preferred_lft 0 valid_lft 60")?;
    let _router = lan.spawn(&[
        "dnsmasq",
        "--no-daemon",
        "--conf-file=/dev/null",
        "--port=0",
        "--interface=br0",
        "--bind-interfaces",
        "--user=root",
        "--leasefile-ro",
        "--enable-ra",
        "--dhcp-range=::,constructor:br0,ra-stateless,64,2m",
    ])?;
    let renumbered = |address: Ipv6Addr| {
        let [_, rest @ ..] = address.segments();
        let [b, c, d, e, f, g, h] = rest;
        Ipv6Addr::new(0xfd78, b, c, d, e, f, g, h)
    };
    let new = (renumbered(old.0), renumbered(old.1));
    eventually(SOON, || {
        ensure!(host_ipv6(host, "fd78::")? == new.1, "the host has no address of the new prefix");
        ensure!(
            guest.addresses("eth0")?.contains(&new.0.into()),
            "the guest has no address of the new prefix"
        );
        Ok(())
    })?;
    let moment = SystemTime::now();
    let to_new = ward.talk_of(&guest, &[(new.0.into(), new.1.into())])?;
    to_new.goes_on("renumbered by router advertisements", moment).with_context(|| ward.story())?;
    talk.goes_on("the same, between the old addresses", moment).with_context(|| ward.story())?;
    let route = host.sh(&format!("ip -6 route show {}", new.0))?;
    ensure!(route.contains(&format!("src {}", new.1)), "the route is {route}");
    ward.is_well(SOON)
}

/// The host's address of that prefix.
fn host_ipv6(host: &Machine, prefix: &str) -> Result<Ipv6Addr> {
    let text = host.sh("ip -6 -o addr show dev eth0 scope global | awk '{ print $4 }'")?;
    let of_prefix =
        text.lines().find(|line| line.starts_with(prefix)).and_then(|line| line.split('/').next());
    Ok(of_prefix.with_context(|| format!("the host has no address of {prefix}: {text}"))?.parse()?)
}
