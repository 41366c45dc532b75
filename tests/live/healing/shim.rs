//! Somebody deletes or changes our objects.

use anyhow::{Context, Result, ensure};
use lab::eventually;

use super::{RESYNC, SOON, Ward};

#[test]
fn deleted_objects_are_made_again() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    for (what, blow) in [
        ("the IPv4 route deleted", "ip route del 192.168.77.101"),
        ("the IPv6 route deleted", "ip -6 route del fd77::101"),
        ("all routes of the shim flushed", "ip route flush dev mvs-eth0; ip -6 route flush dev mvs-eth0"),
        ("the IPv4 neighbour deleted", "ip neigh del 192.168.77.101 dev mvs-eth0"),
        ("the IPv6 neighbour deleted", "ip neigh del fd77::101 dev mvs-eth0"),
        ("the proxy entry deleted", "ip -6 neigh del proxy fd77::11 dev mvs-eth0"),
        ("the shim deleted", "ip link del mvs-eth0"),
    ] {
        ward.heals(&talk, what, blow)?;
    }
    Ok(())
}

#[test]
fn changed_objects_are_put_back() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    let before = ward.site.host.sh("ip -o link show dev mvs-eth0 | tr -d '\\n' | sed 's/^[0-9]*//'")?;
    for (what, blow) in [
        ("the shim set down", "ip link set mvs-eth0 down"),
        ("the shim set down and up", "ip link set mvs-eth0 down; ip link set mvs-eth0 up"),
        ("the shim's MAC changed", "ip link set mvs-eth0 address 02:00:00:00:00:77"),
        (
            "the shim's MAC changed while it is down",
            "ip link set mvs-eth0 down\nip link set mvs-eth0 address 02:00:00:00:00:78",
        ),
        ("the shim renamed", "ip link set mvs-eth0 name foo"),
        ("the shim's group changed", "ip link set mvs-eth0 group 0"),
        ("the shim's MTU lowered", "ip link set mvs-eth0 mtu 1300"),
        ("the shim's multicast switched on", "ip link set mvs-eth0 multicast on"),
        ("the shim's ARP switched off", "ip link set mvs-eth0 arp off"),
        ("the shim without carrier", "ip link set mvs-eth0 protodown on"),
        ("the shim without carrier, for a reason", "ip link set mvs-eth0 protodown on protodown_reason 3 on"),
        (
            "the IPv4 neighbour with a wrong MAC",
            "ip neigh replace 192.168.77.101 lladdr 02:00:00:00:00:99 dev mvs-eth0 nud permanent",
        ),
        (
            "the IPv6 neighbour with a wrong MAC",
            "ip neigh replace fd77::101 lladdr 02:00:00:00:00:99 dev mvs-eth0 nud permanent",
        ),
        (
            "the IPv4 neighbour made to expire",
            "ip neigh replace 192.168.77.101 lladdr 02:00:00:00:00:99 dev mvs-eth0 nud reachable",
        ),
        ("proxy_ndp switched off", "echo 0 > /proc/sys/net/ipv6/conf/mvs-eth0/proxy_ndp"),
        ("forwarding of the shim switched off", "echo 0 > /proc/sys/net/ipv6/conf/mvs-eth0/forwarding"),
        ("all.forwarding switched on", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"),
        ("all.forwarding switched off", "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding"),
        (
            "the shim given an address by the kernel",
            "echo 0 > /proc/sys/net/ipv6/conf/mvs-eth0/addr_gen_mode",
        ),
        ("IPv6 switched off on the shim", "echo 1 > /proc/sys/net/ipv6/conf/mvs-eth0/disable_ipv6"),
        ("the route led elsewhere", "ip route change 192.168.77.101 dev eth0 proto 77"),
    ] {
        ward.heals(&talk, what, blow)?;
    }
    let after = ward.site.host.sh("ip -o link show dev mvs-eth0 | tr -d '\\n' | sed 's/^[0-9]*//'")?;
    ensure!(after == before, "the shim was\n{before} and is\n{after}");
    eventually(SOON, || {
        let addresses = ward.site.host.sh("ip -o addr show dev mvs-eth0")?;
        ensure!(addresses.is_empty(), "the shim has addresses: {addresses}");
        Ok(())
    })?;
    Ok(())
}

/// The kernel reports none of these. The figure is that of the resync, because traffic is not disturbed.
#[test]
fn changes_without_an_event_are_put_back_by_the_resync() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    let conf = "/proc/sys/net/ipv4/conf/mvs-eth0";
    let conf6 = "/proc/sys/net/ipv6/conf/mvs-eth0";
    let start = std::time::SystemTime::now();
    ward.site.host.sh(&format!(
        "echo 0 > {conf}/arp_filter; echo 1 > {conf}/accept_redirects; echo 1 > {conf}/send_redirects
         echo 1 > {conf}/accept_source_route; echo 2 > {conf6}/accept_ra; echo 1 > {conf6}/accept_redirects
         echo 80 > /proc/sys/net/ipv6/neigh/mvs-eth0/proxy_delay"
    ))?;
    eventually(RESYNC, || {
        let values = ward.site.host.sh(&format!(
            "cd {conf}; cat arp_filter accept_redirects send_redirects accept_source_route
             cd {conf6}; cat accept_ra accept_redirects; cat /proc/sys/net/ipv6/neigh/mvs-eth0/proxy_delay"
        ))?;
        let values = values.split_whitespace().collect::<Vec<_>>();
        ensure!(values == ["1", "0", "0", "0", "0", "0", "0"], "the sysctls are {values:?}");
        Ok(())
    })
    .context("no resync put them back")?;
    println!("sysctls without an event put back after {:.1} s", start.elapsed()?.as_secs_f64());
    talk.goes_on("sysctls without an event changed", start)
}
