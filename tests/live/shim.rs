//! Exactly the objects in the kernel for a guest, and when they go. On a real LXD.

use std::net::IpAddr;
use std::time::Duration;

use crate::nft::Nft;
use crate::node::{HOST, HOST_V6, Node, PATIENCE, Site, ours, routes};
use anyhow::{Context, Result, ensure};
use lab::{Kind, eventually};

/// Sooner than a resync.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_shim_is_exactly_as_designed() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    ensure!(ours(&site.host)?.is_empty(), "there is a shim although no guest needs it");
    let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    node.wait_both_ways(&guest, "fd77::101".parse::<IpAddr>()?, HOST_V6)?;
    let mac = guest.mac("eth0")?;

    let link = site.host.sh("ip -d -o link show mvs-eth0")?;
    for part in ["macvlan mode bridge", "group 7173", "addrgenmode none", "mtu 1500", "state UP"] {
        ensure!(link.contains(part), "no {part:?} in {link}");
    }
    ensure!(!link.contains("MULTICAST"), "multicast is on: {link}");
    let second_digit = link.split("link/ether ").nth(1).and_then(|mac| mac.chars().nth(1));
    ensure!(
        second_digit.is_some_and(|digit| "26ae".contains(digit)),
        "the MAC is not locally administered: {link}"
    );
    ensure!(site.host.sh("ip -o addr show mvs-eth0")?.is_empty(), "the shim has an address");

    let settings = site.host.sh(
        "cd /proc/sys/net; for s in ipv4/conf/mvs-eth0/arp_filter ipv4/conf/mvs-eth0/rp_filter \
         ipv4/conf/mvs-eth0/accept_redirects ipv4/conf/mvs-eth0/send_redirects \
         ipv4/conf/mvs-eth0/accept_source_route ipv6/conf/mvs-eth0/forwarding ipv6/conf/mvs-eth0/proxy_ndp \
         ipv6/conf/mvs-eth0/accept_ra ipv6/neigh/mvs-eth0/proxy_delay \
         ipv4/neigh/mvs-eth0/mcast_solicit ipv6/neigh/mvs-eth0/mcast_solicit \
         ipv4/conf/mvs-eth0/medium_id ipv4/conf/mvs-eth0/arp_ignore ipv6/conf/mvs-eth0/use_oif_addrs_only; do echo -n \"$(cat $s) \"; done",
    )?;
    ensure!(settings.trim() == "1 1 0 0 0 1 1 0 0 0 0 -1 0 0", "the sysctls are {settings}");

    ensure!(
        routes(&site.host)?
            == [
                "192.168.77.101 dev mvs-eth0 scope link src 192.168.77.11 ",
                "fd77::101 dev mvs-eth0 src fd77::11 metric 1024 pref medium "
            ],
        "the routes are {:#?}",
        routes(&site.host)?
    );
    let neighbours = site.host.sh("ip neigh show dev mvs-eth0 proto 77 | sort")?;
    let expected = format!("192.168.77.101 lladdr {mac} PERMANENT \nfd77::101 lladdr {mac} PERMANENT");
    let flat = |text: &str| text.replace("proto 77", "").split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(flat(&neighbours) == flat(&expected), "the neighbours are {neighbours}");
    // The dump is unordered, and the host has an address by SLAAC besides.
    let proxies = site.host.sh("ip -6 neigh show proxy dev mvs-eth0")?;
    let is_ours = |line: &str| line.starts_with("fd77::") && line.contains("proto 77");
    ensure!(
        proxies.lines().any(|line| line.starts_with("fd77::11 ")) && proxies.lines().all(is_ours),
        "the proxies are {proxies}"
    );

    // An address goes. Its route and neighbour go with it, and the rest stays.
    guest.sh("ip addr del fd77::101/64 dev eth0")?;
    node.wait_gone("fd77::101".parse::<IpAddr>()?)?;
    eventually(PATIENCE, || {
        let left = site.host.sh("ip neigh show dev mvs-eth0 proto 77")?;
        ensure!(left.lines().count() == 1, "neighbours are left: {left}");
        Ok(())
    })?;
    // The last guest goes, and the shim goes too.
    guest.stop_hard()?;
    eventually(PATIENCE, || {
        let left = ours(&site.host)?;
        ensure!(left.is_empty(), "left: {left}");
        Ok(())
    })?;
    // It comes back with the same MAC.
    let mac_of =
        |link: &str| link.split("link/ether ").nth(1).map(|rest| rest.chars().take(17).collect::<String>());
    guest.start()?;
    let again = eventually(PATIENCE, || site.host.sh("ip -d -o link show mvs-eth0"))?;
    ensure!(mac_of(&again) == mac_of(&link), "the MAC changed from {link} to {again}");
    Ok(())
}

#[test]
fn the_parents_mtu_is_followed_down_and_up() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    for mtu in [1400, 1500] {
        site.host.sh(&format!("ip link set eth0 mtu {mtu}"))?;
        eventually(PATIENCE, || {
            let link = site.host.sh("ip -o link show mvs-eth0")?;
            ensure!(link.contains(&format!("mtu {mtu} ")), "{link}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn own_addresses_are_the_cure_where_the_host_has_none() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let bare = site.lab.lan("10.88.0.0/24", "fd88::/64")?;
    bare.dhcp()?;
    site.host.plug("eth1", &bare, &[])?;
    let config = "[[parent]]\nname = \"eth1\"\naddresses = [\"10.88.0.72\", \"fd88::72\"]\n\
                  [policy]\nallow = [\"10.88.0.0/24\", \"fd88::/64\"]\n";
    let node = Node::start_with(&site.host, config)?;
    site.server.macvlan_profile("mv1", "eth1")?;
    let guest = site.server.launch("c1", &["-p", "mv1"])?;
    let (v4, v6) = (guest.ipv4("eth0")?, guest.ipv6("eth0")?);
    node.wait_both_ways(&guest, v4, "10.88.0.72")?;
    node.wait_both_ways(&guest, v6, "fd88::72")?;
    let status = node.status()?;
    ensure!(status["shims"][0]["addresses"] == serde_json::json!(["10.88.0.72", "fd88::72"]), "{status:#}");
    Ok(())
}

#[test]
fn a_kept_shim_and_configured_ranges_stand_without_a_guest() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let config = "[[parent]]\nname = \"eth0\"\nkeep = true\nroutes = [\"192.168.124.160/27\"]\n";
    let mut node = Node::start_with(&site.host, config)?;
    eventually(PATIENCE, || {
        let routes = routes(&site.host)?;
        ensure!(
            routes == ["192.168.124.160/27 dev mvs-eth0 scope link src 192.168.77.11 "],
            "the routes are {routes:#?}"
        );
        Ok(())
    })?;
    site.host.sh("rm /etc/macvlan-shim/config.toml")?;
    node.daemon.signal("HUP")?;
    eventually(PATIENCE, || {
        let left = ours(&site.host)?;
        ensure!(left.is_empty(), "left: {left}");
        Ok(())
    })
}

/// Each of these takes something of ours away, some of them without an event.
#[test]
fn objects_that_others_or_the_kernel_take_away_come_back_at_once() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
    let (v4, v6): (IpAddr, IpAddr) = ("192.168.77.101".parse()?, "fd77::101".parse()?);
    node.wait_both_ways(&guest, v4, HOST)?;
    node.wait_both_ways(&guest, v6, HOST_V6)?;
    for fault in [
        "ip route del 192.168.77.101; ip -6 route del fd77::101",
        "ip neigh del 192.168.77.101 dev mvs-eth0",
        "ip neigh replace fd77::101 lladdr 02:00:00:00:00:99 dev mvs-eth0 nud permanent",
        "ip -6 neigh del proxy fd77::11 dev mvs-eth0",
        "ip link set mvs-eth0 down",
        "ip link del mvs-eth0",
        "echo 0 > /proc/sys/net/ipv6/conf/mvs-eth0/proxy_ndp",
        "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding",
        "ip addr del 192.168.77.11/24 dev eth0; ip addr add 192.168.77.11/24 dev eth0",
        // With the carrier the kernel drops the shim's proxy entries, and the host's IPv6 addresses.
        "ip link set eth0 down; ip link set eth0 up; ip addr add fd77::11/64 dev eth0 nodad",
    ] {
        site.host.sh(fault)?;
        node.wait_well(SOON).with_context(|| format!("after {fault}"))?;
        // A new proxy entry helps a guest that asks again. A failed answer is remembered for a while.
        let reached = |address| site.host.reaches(address, SOON);
        ensure!(reached(v4) && reached(v6), "after {fault}\n{}", node.picture()?);
    }
    Ok(())
}

/// The kernel does not report it. The look at the host every 30 s finds it, or a reload at once.
#[test]
fn the_losses_by_arp_ignore_are_reported_until_it_is_put_back() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let config = "[shim]\naddresses = [\"192.168.77.72\"]\n";
    let mut node = Node::start_with(&site.host, config)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    let (v4, host) = ("192.168.77.101".parse::<IpAddr>()?, HOST.parse::<IpAddr>()?);
    node.wait_both_ways(&guest, v4, HOST)?;
    let forget = format!("nsenter --target={} --net ip neigh flush dev eth0", guest.pid()?);
    let told = |status: &serde_json::Value| status["problems"].to_string().contains("\"arp-ignore\"");
    for (value, form) in [(1, "192.168.77.72/32"), (2, "192.168.77.72/0"), (0, "192.168.77.72/32")] {
        site.host.sh(&format!("echo {value} > /proc/sys/net/ipv4/conf/all/arp_ignore"))?;
        if value > 0 {
            node.daemon.signal("HUP")?;
        }
        eventually(Duration::from_secs(45), || {
            let status = node.status()?;
            ensure!(told(&status) == (value > 0), "at {value}: {status:#}");
            let addresses = site.host.sh("ip -o addr show mvs-eth0")?;
            ensure!(addresses.contains(form) && addresses.lines().count() == 1, "at {value}: {addresses}");
            Ok(())
        })?;
        site.host.sh(&forget)?;
        node.wait_both_ways(&guest, v4, "192.168.77.72")?;
        let patience = if value == 0 { PATIENCE } else { Duration::from_secs(2) };
        ensure!(guest.reaches(host, patience) == (value == 0), "at {value}");
    }
    Ok(())
}

/// A machine on the LAN boots after a guest has asked for it. The host answers ARP for everything that it
/// routes, and has no filter.
#[test]
fn a_host_that_is_an_arp_proxy_hides_no_machine_from_its_guests() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    site.host.sh(
        "cd /proc/sys/net/ipv4; for it in ip_forward conf/all/proxy_arp conf/default/proxy_arp; do echo 1 > $it; done",
    )?;
    let nft = Nft::install(&site.host)?;
    nft.remove()?;
    let node = nft.start()?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    let enter = format!("nsenter --target={} --net", guest.pid()?);
    // A proxy takes up to 0.8 s for its answer, and the guest asks three times.
    let asks = "for last in $(seq 150 199); do ping -n -q -c 1 -W 2 192.168.77.$last >/dev/null & done; wait";
    site.host.sh(&format!("{enter} sh -c '{asks}'"))?;
    let known = site.host.sh(&format!("{enter} ip neigh show dev eth0"))?;
    let is_asked = |it: &&str| it.len() > 14 && ("192.168.77.150".."192.168.77.2").contains(&&it[..14]);
    let answered: Vec<&str> = known.lines().filter(is_asked).filter(|it| it.contains("lladdr")).collect();
    ensure!(answered.is_empty(), "somebody answered for {answered:#?}");
    let late = site.lab.host("late")?;
    late.plug("eth0", &site.lan, &["192.168.77.177/24"])?;
    let late = "192.168.77.177".parse::<IpAddr>()?;
    ensure!(guest.reaches(late, PATIENCE), "{}", node.picture()?);
    Ok(())
}
