//! A host with systemd as its init, its uplink managed by systemd-networkd, and LXD and the daemon as units.
//! Whatever networkd does to the uplink, host and guest reach each other again as soon as the LAN reaches
//! them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use lab::{Debian, Dhcp, Guest, Lab, Lan, Machine, Pulse, eventually, until};

use crate::node::{BINARY, PATIENCE};

/// Beyond the time for which the LAN did not reach them either. It takes milliseconds, but machines are busy.
/// The resync, which must not be the cure, comes after 30 s.
const GRACE: Duration = Duration::from_secs(10);

const HOST: &str = "192.168.77.11";
const HOST_V6: &str = "fd77::11";
const PEER: &str = "192.168.77.12";
const PEER_V6: &str = "fd77::12";
const GUEST: &str = "192.168.77.101";
const GUEST_V6: &str = "fd77::101";

const UNIT: &str = "[Service]\nType=notify\nExecStart=/usr/local/sbin/macvlan-shim run\n\
                    [Install]\nWantedBy=multi-user.target\n";
const STATIC: &str =
    "[Network]\nAddress=192.168.77.11/24\nGateway=192.168.77.1\nAddress=fd77::11/64\nIPv6AcceptRA=no\n";
/// IPv6 stays as it is, so that a host without IPv4 still counts as one with a network.
const DHCP: &str = "[Network]\nDHCP=ipv4\nAddress=fd77::11/64\nIPv6AcceptRA=no\n";
/// IPv6 by DHCP: the router announces the network, and a server gives the address.
const DHCPV6: &str = "[Network]\nAddress=192.168.77.11/24\nDHCP=ipv6\nIPv6AcceptRA=yes\n";
/// After these networkd flushes everything that it did not make.
const FLUSHES: [&str; 3] = [
    "networkctl reconfigure eth0",
    "systemctl restart systemd-networkd",
    "systemctl kill --signal=KILL systemd-networkd",
];
/// After this the kernel flushes it, and networkd restores its own.
const DOWN_AND_UP: &str = "networkctl down eth0; networkctl up eth0";

/// Objects that any administrator may have added by hand.
const FOREIGN_ROUTE: &str = "198.51.100.0/24";
const FOREIGN_RULE: &str = "pref 2000 table 200";

/// A LAN with a peer, a host and the host's one guest, which has static addresses.
struct Site {
    _lab: Lab,
    lan: Lan,
    peer: Machine,
    host: Debian,
    guest: Guest,
}

impl Site {
    /// `eth0` is the text that follows `[Match]` in the file for eth0.
    fn new(eth0: &str) -> Result<Self> {
        let lab = Lab::new()?;
        let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
        let peer = lab.host("peer")?;
        peer.plug("eth0", &lan, &["192.168.77.12/24", "fd77::12/64"])?;
        let mut host = lab.debian("node")?;
        host.nic("eth0", &lan)?;
        match eth0 {
            DHCPV6 => lease_v6(&lan, &host, HOST_V6)?,
            _ => lease(&lan, &host, Ipv4Addr::new(192, 168, 77, 11))?,
        }
        host.install(BINARY, "/usr/local/sbin/macvlan-shim")?;
        host.write("/etc/systemd/system/macvlan-shimd.service", UNIT)?;
        host.write("/etc/systemd/network/50-eth0.network", &format!("[Match]\nName=eth0\n\n{eth0}"))?;
        host.boot()?;
        host.sh("systemctl enable --quiet --now systemd-networkd macvlan-shimd")?;
        let lxd = host.lxd()?;
        lxd.macvlan_profile("mv", "eth0")?;
        let by_itself = ["-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"];
        let guest = lxd.launch("c1", &[&["-p", "mv"], &by_itself[..]].concat())?;
        let site = Self { _lab: lab, lan, peer, host, guest };
        site.address_guest()?;
        Ok(site)
    }

    fn address_guest(&self) -> Result<()> {
        self.guest.sh("ip addr add 192.168.77.101/24 dev eth0; ip addr add fd77::101/64 dev eth0")?;
        for address in [GUEST, GUEST_V6] {
            let address: std::net::IpAddr = address.parse()?;
            ensure!(self.host.reaches(address, PATIENCE), "{}", self.picture());
        }
        Ok(())
    }

    /// Something happens on the host, and all paths work again as soon as those of the LAN do.
    fn survive(&self, event: &str) -> Result<()> {
        let families = [self.ways(HOST, GUEST, PEER)?, self.ways(HOST_V6, GUEST_V6, PEER_V6)?];
        let start = SystemTime::now();
        self.host.sh(event)?;
        for (family, ways) in ["IPv4", "IPv6"].into_iter().zip(&families) {
            let gaps: Result<Vec<_>> = ways.iter().map(|way| way.longest_gap(start, PATIENCE)).collect();
            let gaps = gaps.with_context(|| self.picture())?;
            let shown: Vec<_> = gaps.iter().map(Duration::as_millis).collect();
            println!(
                "{event}: {family} silent for {shown:?} ms: LAN to host, guest to LAN, host to guest, guest to host"
            );
            let limit = gaps[0].max(gaps[1]) + GRACE;
            ensure!(gaps[2].max(gaps[3]) < limit, "not soon after {event}\n{}", self.picture());
        }
        Ok(())
    }

    /// [`Site::survive`] an event that removes everything that networkd did not make. Foreign objects, which
    /// nobody restores, show that it did.
    fn survive_flush(&self, event: &str) -> Result<()> {
        self.host.sh(&format!("ip route add {FOREIGN_ROUTE} dev eth0; ip rule add {FOREIGN_RULE}"))?;
        self.survive(event)?;
        eventually(PATIENCE, || {
            let left = format!("ip route show {FOREIGN_ROUTE}; ip rule show {FOREIGN_RULE}");
            let left = self.host.sh(&left)?;
            ensure!(left.is_empty(), "{event} has not flushed {left}{}", self.picture());
            let ours = "ip route show table all proto 77; ip -6 route show table all proto 77";
            let ours = self.host.sh(ours)?;
            let stands = |guest| ours.lines().any(|route| route.starts_with(guest));
            ensure!([GUEST, GUEST_V6].into_iter().all(stands), "after {event}: {ours}{}", self.picture());
            Ok(())
        })
    }

    /// The LAN's view of host and guest, and their view of each other.
    fn ways(&self, host: &str, guest: &str, peer: &str) -> Result<[Pulse; 4]> {
        let pid = self.guest.pid()?.to_string();
        let in_guest: &[&str] = &["nsenter", "-t", &pid, "-n"];
        Ok([
            self.peer.pulse(&[], host)?,
            self.host.pulse(in_guest, peer)?,
            self.host.pulse(&[], guest)?,
            self.host.pulse(in_guest, host)?,
        ])
    }

    fn picture(&self) -> String {
        let objects =
            "networkctl; ip -d addr; ip route; ip -6 route; ip rule; ip neigh; ip -6 neigh show proxy";
        let objects = self.host.sh(&format!("{objects}; macvlan-shim status || :"));
        let journal = self.host.journal(&["macvlan-shim", "systemd-networkd"]);
        format!("{}\n{journal}", objects.unwrap_or_else(|error| format!("{error:#}")))
    }
}

/// The LAN's DHCP server starts again, and gives the host this address.
fn lease(lan: &Lan, host: &Debian, address: Ipv4Addr) -> Result<()> {
    lan.dhcp_with(&Dhcp { ra: false, fixed: vec![(host.nic_mac("eth0")?, address)], ..Dhcp::default() })
}

/// Likewise over IPv6, with router advertisements.
fn lease_v6(lan: &Lan, host: &Debian, address: &str) -> Result<()> {
    lan.dhcp_with(&Dhcp { fixed_v6: vec![(host.nic_mac("eth0")?, address.parse()?)], ..Dhcp::default() })
}

#[test]
fn a_static_uplink_is_reconfigured_restarted_and_taken_down() -> Result<()> {
    let site = Site::new(STATIC)?;
    FLUSHES.iter().try_for_each(|event| site.survive_flush(event))?;
    site.survive(DOWN_AND_UP)
}

#[test]
fn a_dhcp_uplink_is_renewed_reconfigured_restarted_and_taken_down() -> Result<()> {
    let site = Site::new(DHCP)?;
    site.survive("networkctl renew eth0")?;
    FLUSHES.iter().try_for_each(|event| site.survive_flush(event))?;
    site.survive(DOWN_AND_UP)?;

    // The LAN gives the host another address.
    lease(&site.lan, &site.host, Ipv4Addr::new(192, 168, 77, 13))?;
    let start = Instant::now();
    site.host.sh("networkctl reconfigure eth0")?;
    until(PATIENCE, "the guest reaches its host at the new address", || {
        site.guest.pings([192, 168, 77, 13])
    })?;
    println!("renumbered in {} ms", start.elapsed().as_millis());
    until(PATIENCE, "the host reaches its guest", || site.host.pings([192, 168, 77, 101]))
}

#[test]
fn a_host_is_renumbered_by_dhcpv6() -> Result<()> {
    let site = Site::new(DHCPV6)?;
    ensure!(site.host.sh("ip -6 addr show dev eth0")?.contains(" fd77::11/128 "), "{}", site.picture());
    lease_v6(&site.lan, &site.host, "fd77::13")?;
    let start = Instant::now();
    site.host.sh("networkctl reconfigure eth0")?;
    eventually(PATIENCE, || {
        let (new, guest) = (Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x13), GUEST_V6.parse::<Ipv6Addr>()?);
        let met = site.guest.pings(new) && site.host.pings(guest);
        ensure!(met, "host and guest do not reach each other\n{}", site.picture());
        let route = site.host.sh(&format!("ip -6 route show {guest}"))?;
        ensure!(route.contains(&format!(" src {new} ")), "{route}{}", site.picture());
        Ok(())
    })?;
    println!("renumbered over IPv6 in {} ms", start.elapsed().as_millis());
    ensure!(!site.guest.pings(HOST_V6.parse::<Ipv6Addr>()?), "the old address still answers");
    Ok(())
}

#[test]
fn rules_that_networkd_flushes_are_back_at_once() -> Result<()> {
    let rules = "\n[RoutingPolicyRule]\nFrom=192.168.77.11\nTable=100\nPriority=1000\n\n\
                 [Route]\nGateway=192.168.77.1\nTable=100\n";
    let site = Site::new(&format!("{STATIC}{rules}"))?;
    let rule = site.host.sh("ip rule show table 77")?;
    ensure!(!rule.is_empty(), "the host's rule is not preceded by one of ours\n{}", site.picture());
    site.survive_flush("systemctl restart systemd-networkd")?;
    eventually(PATIENCE, || {
        ensure!(site.host.sh("ip rule show table 77")? == rule, "{}", site.picture());
        Ok(())
    })
}

#[test]
fn a_reboot_of_the_host_brings_everything_back() -> Result<()> {
    let mut site = Site::new(DHCP)?;
    let shim = site.host.sh("cat /sys/class/net/mvs-eth0/address")?;
    let start = Instant::now();
    site.host.reboot()?;
    println!("rebooted in {} ms", start.elapsed().as_millis());
    until(PATIENCE, "LXD has started the guest", || site.guest.pid().is_ok())?;
    site.guest.wait_for_boot()?;
    site.address_guest()?;
    println!("host and guest reach each other after {} ms", start.elapsed().as_millis());
    ensure!(site.host.sh("cat /sys/class/net/mvs-eth0/address")? == shim, "the shim has another MAC");
    site.survive("true")
}
