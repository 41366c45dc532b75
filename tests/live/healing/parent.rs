//! The parent goes down, loses its carrier, is renamed, goes and comes back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use lab::{Guest, Machine, eventually};

use super::{GUEST, GUEST_V6, HOST, HOST_V6, SOON, Ward, strike};
use crate::node::ours;

/// The kernel takes the host's IPv6 addresses. The program that sets the link up restores them.
#[test]
fn the_parent_goes_down_and_up() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    let up = "ip link set eth0 up; ip addr replace fd77::11/64 dev eth0 nodad";
    ward.heals(&talk, "the parent set down and up", &format!("ip link set eth0 down; {up}"))?;
    ward.heals(&talk, "the parent set up after 4 s", &format!("ip link set eth0 down; sleep 4\n{up}"))
}

#[test]
fn the_parent_loses_and_regains_its_carrier() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    for (what, seconds) in [("carrier lost for an instant", "0.01"), ("carrier lost for 4 s", "4")] {
        let port = ward.site.port.name();
        let moment = strike(
            &ward.site.lan,
            &format!("ip link set {port} down; sleep {seconds}\nip link set {port} up"),
        )?;
        talk.goes_on(what, moment).with_context(|| ward.story())?;
        ward.is_well(SOON)?;
    }
    Ok(())
}

#[test]
fn the_parents_mtu_and_name_change() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    let mtu = |expected: &str| {
        eventually(SOON, || {
            let link = ward.site.host.sh("ip -o link show mvs-eth0")?;
            ensure!(link.contains(&format!(" mtu {expected} ")), "{link}");
            Ok(())
        })
    };
    ward.heals(&talk, "the parent's MTU lowered", "ip link set eth0 mtu 1400")?;
    mtu("1400")?;
    ward.heals(&talk, "the parent's MTU raised", "ip link set eth0 mtu 1500")?;
    mtu("1500")?;
    ward.heals(&talk, "the parent renamed", "ip link set eth0 name lan0")?;
    ward.heals(&talk, "the parent renamed back while it is down",
        "ip link set lan0 down; ip link set lan0 name eth0\nip link set eth0 up; ip addr replace fd77::11/64 dev eth0 nodad")
}

/// Below 1280 the kernel takes IPv6 from the parent and from every link on it, and gives it back with none of
/// its settings. Nobody on the LAN may hear of the shim then.
#[test]
fn the_parents_mtu_is_too_low_for_ipv6_for_a_while() -> Result<()> {
    let ward = Ward::new()?;
    let (host, guest) = (&ward.site.host, &ward.guest);
    let before = host.sh(SHIM)?;
    let mac = host.sh("cat /sys/class/net/mvs-eth0/address")?;
    let heard = ward.site.lan.capture(&format!("ether src {}", mac.trim()))?;
    let talk = ward.talk_with(&[(GUEST.into(), HOST.into())])?;
    ward.heals(&talk, "the parent's MTU too low for IPv6", "ip link set eth0 mtu 1200")?;
    ensure!(!host.ok("test -e /proc/sys/net/ipv6/conf/mvs-eth0"), "the kernel leaves IPv6 on the shim");

    ward.heals(
        &talk,
        "the parent's MTU high enough again",
        "ip link set eth0 mtu 1500; ip addr add fd77::11/64 dev eth0 nodad",
    )?;
    let in_guest = format!("nsenter -t {} -n ip", guest.pid()?);
    host.sh(&format!("{in_guest} link set eth0 mtu 1500; {in_guest} addr add fd77::101/64 dev eth0 nodad"))?;
    ward.talk()?.goes_on("IPv6 there again", SystemTime::now()).with_context(|| ward.story())?;
    ward.is_well(SOON)?;
    let after = host.sh(SHIM)?;
    ensure!(after == before, "the shim was\n{before} and is\n{after}");
    // If it had begun to look for a router or for a duplicate of its address, that would be over by then.
    std::thread::sleep(Duration::from_secs(2));
    let frames = heard.stop()?;
    ensure!(frames.is_empty(), "the shim was heard on the LAN: {frames:#?}");
    Ok(())
}

/// The state of a shim, without the parts that the kernel sets by itself.
const SHIM: &str = "ip addr show dev mvs-eth0 | grep -v mvs-eth0; cd /proc/sys/net
    grep -s . ipv[46]/conf/mvs-eth0/* ipv6/neigh/mvs-eth0/* | grep -v stable_secret || :";

#[test]
fn another_link_takes_the_old_name_of_the_parent() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    ward.heals(&talk, "the parent renamed", "ip link set eth0 name lan0")?;
    let second = ward.site.lab.lan("10.88.0.0/24", "fd88::/64")?;
    ward.site.host.plug("eth0", &second, &["10.88.0.11/24", "fd88::11/64"])?;
    let other = ward.site.launch_static("c2", &["10.88.0.101/24", "fd88::101/64"])?;
    ward.node.wait_both_ways(&other, [10, 88, 0, 101], "10.88.0.11")?;
    ward.node.wait_both_ways(&other, "fd88::101".parse::<IpAddr>()?, "fd88::11")?;
    let shims = ward.site.host.sh("ip -br link show group 7173 | cut -d ' ' -f 1 | sort | xargs")?;
    ensure!(shims.trim() == "mvs-eth0@eth0 mvs-lan0@lan0", "the shims are {shims}");
    talk.goes_on("another parent with the old one's name", SystemTime::now())
}

/// The kernel deletes the guests' NICs with their parent, so they have to be started again.
#[test]
fn the_parent_is_deleted_and_made_again() -> Result<()> {
    let ward = Ward::new()?;
    let gone = "it is gone with all that was on it";
    ward.site.port.clone().unplug()?;
    eventually(SOON, || nothing_is_left(&ward.site.host)).context(gone)?;
    ward.site.host.plug("eth0", &ward.site.lan, &["192.168.77.11/24", "fd77::11/64"])?;
    ward.guest.stop_hard()?;
    ward.guest.start()?;
    let talk = ward.talk_with(&[(GUEST.into(), HOST.into()), (GUEST_V6.into(), HOST_V6.into())])?;
    let own = addresses_of(&ward.guest, GUEST, GUEST_V6)?;
    ward.heals(&talk, "the parent made again, its guest started", &own)
}

#[test]
fn the_parent_moves_into_another_namespace_and_back() -> Result<()> {
    let ward = Ward::new()?;
    ward.site.host.sh("ip netns add away; ip link set eth0 netns away")?;
    eventually(SOON, || nothing_is_left(&ward.site.host))
        .context("without its parent a shim serves nobody")?;
    let talk = ward.talk_with(&[(GUEST.into(), HOST.into()), (GUEST_V6.into(), HOST_V6.into())])?;
    let back = "ip -n away link set eth0 netns $$; ip link set eth0 up
        ip addr add 192.168.77.11/24 dev eth0; ip addr add fd77::11/64 dev eth0 nodad";
    ward.heals(&talk, "the parent back from another namespace", back)?;
    ward.site.host.sh("ip netns del away").map(drop)
}

/// LXD makes a VLAN interface for its first guest and removes it with the last. This kernel has no VLANs, so
/// a cable stands in for it. It is pulled after the last guest has stopped and plugged in before it starts
/// again.
#[test]
fn a_parent_that_exists_only_while_a_guest_uses_it() -> Result<()> {
    let ward = Ward::new()?;
    let host = &ward.site.host;
    let second = ward.site.lab.lan("10.88.0.0/24", "fd88::/64")?;
    let plug = || host.plug("eth9", &second, &["10.88.0.11/24", "fd88::11/64"]);
    let mut port = plug()?;
    ward.site.server.macvlan_profile("demand", "eth9")?;
    let quiet = ["-p", "demand", "-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"];
    let guest = ward.site.server.launch("c9", &quiet)?;
    let (v4, v6) = (Ipv4Addr::new(10, 88, 0, 101), "fd88::101".parse::<Ipv6Addr>()?);
    for round in 1..=3 {
        let talk = ward.talk_of(
            &guest,
            &[(v4.into(), [10, 88, 0, 11].into()), (v6.into(), "fd88::11".parse::<IpAddr>()?)],
        )?;
        let own = addresses_of(&guest, v4, v6)?;
        ward.heals(&talk, &format!("a parent on demand, round {round}"), &own)?;
        guest.stop_hard()?;
        port.unplug()?;
        eventually(SOON, || {
            ensure!(!host.ok("ip link show mvs-eth9"), "its shim still exists");
            Ok(())
        })?;
        port = plug()?;
        guest.start()?;
    }
    Ok(())
}

/// The script that gives a guest its addresses as soon as its link can carry anything. From then on traffic
/// is possible.
fn addresses_of(guest: &Guest, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<String> {
    let inside = format!("nsenter -t {} -n", guest.pid()?);
    Ok(format!(
        "until {inside} ip link show eth0 | grep -q 'state UP'; do sleep 0.01; done
        {inside} sh -c 'ip addr add {v4}/24 dev eth0; ip addr add {v6}/64 dev eth0 nodad'"
    ))
}

fn nothing_is_left(host: &Machine) -> Result<()> {
    let left = ours(host)?;
    ensure!(left.is_empty(), "left: {left}");
    Ok(())
}
