//! A Debian with systemd boots, runs LXD as a unit, and comes back unchanged after a reboot.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{Lab, until};

const SOON: Duration = Duration::from_secs(20);

const STATIC: &str =
    "[Match]\nName=eth0\n[Network]\nAddress=192.168.77.11/24\nGateway=192.168.77.1\nIPv6AcceptRA=no\n";

#[test]
fn a_debian_boots_and_comes_back_after_a_reboot() -> Result<()> {
    let lab = Lab::new()?;
    let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
    lan.dhcp()?;
    let mut host = lab.debian("node")?;
    host.nic("eth0", &lan)?;
    host.write("/etc/systemd/network/50-eth0.network", STATIC)?;
    host.install("/usr/bin/busybox", "/usr/local/bin/busybox.copy")?;
    ensure!(!host.ok("true"), "it is off");
    let start = Instant::now();
    host.boot()?;
    println!("on after {} ms", start.elapsed().as_millis());
    ensure!(
        host.sh("hostname; cat /proc/1/comm; /usr/local/bin/busybox.copy echo hello")?
            == "node\nsystemd\nhello\n"
    );
    ensure!(!lan.pings([192, 168, 77, 11]), "nobody has configured eth0");
    host.sh("systemctl enable --now --quiet systemd-networkd")?;
    ensure!(lan.reaches([192, 168, 77, 11], SOON));
    host.wait_unit("systemd-networkd", "active")?;
    ensure!(host.start(&["no-such-unit.service"]).is_err());

    let lxd = host.lxd()?;
    lxd.macvlan_profile("mv", "eth0")?;
    let c1 = lxd.launch("c1", &["-p", "mv"])?;
    let address = c1.ipv4("eth0")?;
    println!("guest with an address after {} ms", start.elapsed().as_millis());
    ensure!(lan.pings(address) && !host.pings(address));

    let (mac, id) = (host.sh("cat /sys/class/net/eth0/address")?, host.sh("cat /etc/machine-id")?);
    host.sh("ip link add left type bridge; touch /var/lib/stays")?;
    let start = Instant::now();
    host.reboot()?;
    println!("rebooted in {} ms", start.elapsed().as_millis());
    ensure!(host.sh("cat /sys/class/net/eth0/address")? == mac && host.sh("cat /etc/machine-id")? == id);
    host.sh("[ -e /var/lib/stays ]; ! ip link show left")?;
    until(SOON, "networkd is enabled", || lan.pings([192, 168, 77, 11]))?;
    until(Duration::from_secs(20), "LXD has started its guest", || c1.pid().is_ok())?;
    ensure!(lan.reaches(c1.ipv4("eth0")?, SOON));

    host.power_off()?;
    ensure!(!lan.pings([192, 168, 77, 11]) && host.power_off().is_err());
    host.boot()
}
