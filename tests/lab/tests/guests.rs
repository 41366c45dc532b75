//! Guests of real servers on a LAN: the assumptions of the other tests.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{Dhcp, Kind, Lab, Lan, eventually, until};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn lxd_and_incus_guests_reach_the_lan_but_not_their_own_host() -> Result<()> {
    let lab = Lab::new()?;
    let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
    lan.dhcp()?;
    let host = lab.host("host")?;
    host.plug("eth0", &lan, &["192.168.77.11/24", "fd77::11/64"])?;
    let peer = lab.host("peer")?;
    peer.plug("eth0", &lan, &["192.168.77.12/24", "fd77::12/64"])?;
    for kind in [Kind::Lxd, Kind::Incus] {
        let server = host.server(kind)?;
        server.macvlan_profile("mv", "eth0")?;
        let guest = server.launch(&format!("guest-of-{}", kind.client()), &["-p", "mv"])?;
        let (ipv4, ipv6) = (guest.ipv4("eth0")?, guest.ipv6("eth0")?);
        ensure!(peer.reaches(ipv4, SOON), "{kind}: the peer does not reach {ipv4}");
        ensure!(peer.reaches(ipv6, SOON), "{kind}: the peer does not reach {ipv6}");
        ensure!(guest.reaches(Lan::BEYOND_V4, SOON), "{kind}: the guest has no way out over IPv4");
        ensure!(guest.reaches(Lan::BEYOND_V6, SOON), "{kind}: the guest has no way out over IPv6");
        ensure!(!host.pings(ipv4), "{kind}: the host reaches {ipv4}; has the kernel changed?");
        ensure!(!host.pings(ipv6), "{kind}: the host reaches {ipv6}; has the kernel changed?");
    }
    ensure!(host.ok("test -S /var/lib/lxd/unix.socket && test -S /var/lib/incus/unix.socket"));
    Ok(())
}

#[test]
fn guests_survive_everything_that_can_be_done_to_them() -> Result<()> {
    let lab = Lab::new()?;
    let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
    lan.dhcp()?;
    let host = lab.host("host")?;
    host.plug("eth0", &lan, &["192.168.77.11/24"])?;
    for kind in [Kind::Lxd, Kind::Incus] {
        let server = host.server(kind)?;
        server.macvlan_profile("mv", "eth0")?;
        let guest = server.launch("g", &["-p", "mv"])?;
        let address = guest.ipv4("eth0")?;
        guest.pause()?;
        ensure!(guest.state()?["status"] == "Frozen");
        ensure!(lan.pings(address), "{kind}: the kernel no longer answers for a paused guest");
        guest.resume()?;
        guest.sh("true")?;
        guest.renew("eth0")?;
        guest.restart()?;
        ensure!(guest.ipv4("eth0")? == address, "{kind}: not the same lease after a restart");

        let pid = guest.pid()?;
        let _ = guest.sh("reboot"); // may be cut off
        until(SOON, "the guest has rebooted by itself", || guest.pid().is_ok_and(|new| new != pid))?;
        guest.ipv4("eth0")?;
        guest.power_off();
        until(SOON, "the guest has powered itself off", || {
            guest.state().is_ok_and(|s| s["status"] == "Stopped")
        })?;
        guest.start()?;
        guest.ipv4("eth0")?;

        guest.cli(
            &["config", "device", "add"],
            &["more", "nic", "nictype=macvlan", "parent=eth0", "name=eth7"],
        )?;
        guest.ipv4("eth7")?;
        guest.cli(&["config", "device", "remove"], &["more"])?;
        until(SOON, "its client ends with the NIC", || guest.ok("test ! -e /run/udhcpc.eth7.pid"))?;

        server.kill_daemon()?;
        ensure!(server.get("/1.0").is_err(), "{kind}: answers after kill -9");
        ensure!(lan.pings(address), "{kind}: the guest died with its server");
        server.start_daemon()?;
        server.stop_daemon()?;
        server.start_daemon()?;
        ensure!(guest.pid().is_ok(), "{kind}: the guest did not live through restarts of its server");
        guest.delete()?;
        ensure!(server.get("/1.0/instances")? == serde_json::json!([]));
    }
    Ok(())
}

#[test]
fn addresses_can_be_left_to_the_test_or_fixed() -> Result<()> {
    let lab = Lab::new()?;
    let lan = lab.lan("10.5.0.0/16", "fd05::/64")?;
    let fixed = vec![("00:16:3e:00:00:55".to_owned(), [10, 5, 9, 9].into())];
    lan.dhcp_with(&Dhcp { fixed, ..Dhcp::default() })?;
    let host = lab.host("host")?;
    host.plug("eth0", &lan, &[])?;
    let client = host.dhcp_client("eth0")?;
    ensure!(
        host.reaches(Lan::BEYOND_V4, SOON) && host.reaches(Lan::BEYOND_V6, SOON),
        "the host has no way out"
    );
    drop(client);
    let lxd = host.lxd()?;
    lxd.profile("mv", "devices: {eth0: {type: nic, nictype: macvlan, parent: eth0}}")?;
    let fixed = lxd.launch("fixed", &["-p", "default", "-p", "mv", "-d", "eth0,hwaddr=00:16:3e:00:00:55"])?;
    ensure!(fixed.mac("eth0")? == "00:16:3e:00:00:55");
    ensure!(fixed.ipv4("eth0")?.octets() == [10, 5, 9, 9], "not the fixed lease");
    let none = ["-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"];
    let bare = lxd.launch("bare", &[&["-p", "default", "-p", "mv"], &none[..]].concat())?;
    bare.sh("ip link show eth0 | grep -q LOWER_UP; ip addr add 10.5.1.1/16 dev eth0; ip addr add fd05::1:1/64 dev eth0")?;
    ensure!(lan.reaches([10, 5, 1, 1], SOON));
    eventually(SOON, || {
        let addresses = bare.addresses("eth0")?;
        ensure!(addresses.len() == 2, "not the two that the test has set: {addresses:?}");
        Ok(())
    })
}

#[test]
fn a_bridged_guest_goes_out_by_nat() -> Result<()> {
    let lab = Lab::new()?;
    let lan = lab.lan("192.168.77.0/24", "")?;
    let host = lab.host("host")?;
    host.plug("eth0", &lan, &["192.168.77.11/24"])?;
    for (kind, bridge, gateway) in
        [(Kind::Lxd, "lxdbr0", "10.99.1.1/24"), (Kind::Incus, "incusbr0", "10.99.2.1/24")]
    {
        let server = host.server(kind)?;
        server.cli(&[
            "network",
            "create",
            bridge,
            &format!("ipv4.address={gateway}"),
            "ipv4.nat=true",
            "ipv6.address=none",
        ])?;
        let guest = server.launch("bridged", &["-n", bridge])?;
        ensure!(
            guest.ipv4("eth0")?.octets()[..2] == [10, 99],
            "{kind}: no lease from the server's own bridge"
        );
        let capture = lan.capture("icmp")?;
        ensure!(guest.reaches(Lan::BEYOND_V4, SOON), "{kind}: no way out");
        capture.wait_line("192.168.77.11 > 203.0.113.1", SOON)?;
        let lines = capture.stop()?;
        ensure!(!lines.iter().any(|l| l.contains("10.99.")), "{kind}: not translated: {lines:?}");
    }
    Ok(())
}

#[test]
fn three_hosts_of_one_lab() -> Result<()> {
    let lab = Lab::new()?;
    let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
    lan.dhcp()?;
    let guests = std::thread::scope(|scope| {
        let start = |i: u8| {
            let (lab, lan) = (&lab, &lan);
            scope.spawn(move || {
                let host = lab.host(&format!("host{i}"))?;
                host.plug("eth0", lan, &[&format!("192.168.77.1{i}/24")])?;
                let lxd = host.lxd()?;
                lxd.macvlan_profile("mv", "eth0")?;
                lxd.launch("c1", &["-p", "mv"])
            })
        };
        let threads = [1, 2, 3].map(start);
        threads.map(|t| t.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked")))
    });
    let [one, two, three] = guests;
    let (one, two, three) = (one?, two?, three?);
    ensure!(two.reaches(one.ipv4("eth0")?, SOON) && three.reaches(two.ipv4("eth0")?, SOON));
    Ok(())
}
