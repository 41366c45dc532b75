//! The package on a complete machine: Debian's own kernel, cgroup v2, a virtio NIC, its addresses by DHCP and
//! router advertisements, and real reboots. The rest of the LAN is outside of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Dhcp, Lab, Lan, Vm, eventually};
use serde_json::Value;

use crate::node::{FILES, OURS, UNIT};
use crate::packages;
use crate::unit::{EXPOSURE, exposure};

/// Everything takes 10 to 30 times longer than on a real machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Sorts after the present version.
const NEXT: &str = "9.9.9";
const HOST_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 11);
/// The address by SLAAC, from [`Vm::MAC`].
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0x77, 0x6dff, 0xfe00, 1);
const UPLINK: &str = "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=yes\n";
/// The administrator's configuration for the VLAN that LXD makes: the host's addresses there.
const VLAN: &str = "[Match]\nName=eth0.100\n[Network]\nAddress=10.100.0.11/24\nAddress=fd64::11/64\n\
                    IPv6AcceptRA=no\n";
const VLAN_PROFILE: &str = "lxc profile create vlan
    lxc profile device add vlan root disk path=/ pool=default
    lxc profile device add vlan eth0 nic nictype=macvlan parent=eth0 vlan=100";
const LXD: &str = "lxc storage create default dir
    lxc profile device add default root disk path=/ pool=default
    lxc profile device add default eth0 nic nictype=macvlan parent=eth0
    lxc image import /var/lib/lab/guest.tar --alias bb
    lxc launch bb c1";
/// Since [`Node::watch`].
const ROUTES_GONE: &str = "grep '^Deleted .* dev mvs-eth0' /run/routes || true";
/// Ends them, too.
const PINGS_LOST: &str = "systemctl kill --signal=INT pings
    until grep 'packet loss' /run/pings; do sleep 0.1; done";

#[test]
#[ignore = "emulates a machine for some minutes: make test-stock-node"]
fn installed_rebooted_upgraded_removed_and_purged() -> Result<()> {
    let started = Instant::now();
    let step = |what: &str| println!("{:>4} s  {what}", started.elapsed().as_secs());

    let lab = Lab::new()?;
    let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
    lan.dhcp_with(&Dhcp { fixed: vec![(Vm::MAC.to_owned(), HOST_V4)], ..Dhcp::default() })?;
    let mut vm = lan.vm("node")?;
    vm.copy(packages::deb()?, "/srv/present.deb")?;
    let folder = tempfile::tempdir()?;
    vm.copy(&packages::deb_of_version(NEXT, folder.path())?, "/srv/next.deb")?;
    folder.close()?;
    vm.write("/etc/systemd/network/50-eth0.network", UPLINK)?;
    vm.write("/etc/systemd/network/60-vlan.network", VLAN)?;

    step("a machine is turned on");
    vm.boot()?;
    ensure!(vm.sh("stat -fc %T /sys/fs/cgroup")? == "cgroup2fs\n", "no cgroup v2");
    vm.sh("systemctl enable --quiet --now systemd-networkd")?;
    runs(&vm)?;
    let node = Node { vm, lan };
    step(&format!("all its units run, {}", node.vm.sh("uname -sr")?.trim()));
    let before = node.vm.sh(FILES)?;
    node.vm.sh(LXD)?;
    let guest = node.guest()?;
    eventually(PATIENCE, || {
        ensure!(node.lan.pings(guest.v4) && node.lan.pings(guest.v6), "the LAN does not reach {guest:?}");
        ensure!(node.lan.pings(HOST_V4) && node.lan.pings(HOST_V6), "the LAN does not reach the host");
        Ok(())
    })?;
    ensure!(!node.vm.pings(guest.v4) && !node.vm.pings(guest.v6), "the kernel's rule that this is about");
    step(&format!("LXD has a guest, {} and {}; all the LAN reaches it but its host", guest.v4, guest.v6));

    node.install("present")?;
    node.meets(&guest)?;
    step("the package is installed: guest and host reach each other");
    let shim = node.vm.sh("cat /sys/class/net/mvs-eth0/address")?.trim().to_owned();
    let wire = node.lan.capture(&format!("ether host {shim}"))?;
    node.ensure_installation_is_right()?;
    step(&format!("the unit is as it should be; {}", node.unit("StatusText")?));

    node.vm.reboot()?;
    step("rebooted, and not touched");
    let guest = node.guest()?;
    step("LXD has started its guest again");
    node.meets(&guest)?;
    runs(&node.vm)?;
    ensure!(node.vm.sh("cat /sys/class/net/mvs-eth0/address")?.trim() == shim, "the shim has another MAC");
    node.ensure_installation_is_right()?;
    step("guest and host reach each other again");

    node.vlan_comes_and_goes()?;
    step("a shim came and went with a VLAN that LXD made and removed, and met both its guests");

    node.watch(&guest)?;
    let process = node.unit("MainPID")?;
    node.install("next")?;
    ensure!(node.version()? == format!("{NEXT}-1"), "it is {}", node.version()?);
    ensure!(node.unit("MainPID")? != process, "it was not restarted\n{}", node.picture());
    node.meets(&guest)?;
    let gone = node.vm.sh(ROUTES_GONE)?;
    ensure!(gone.is_empty(), "routes went:\n{gone}{}", node.picture());
    step(&format!("upgraded: no route went, {}", node.vm.sh(PINGS_LOST)?.trim()));
    let seen = wire.stop()?;
    ensure!(seen.is_empty(), "the LAN has seen the shim: {seen:#?}");
    step("no frame from or to the shim was ever on the wire");

    node.apt("remove macvlan-shim")?;
    ensure!(node.vm.sh(OURS)?.is_empty(), "left: {}", node.vm.sh(OURS)?);
    ensure!(!node.vm.sh(ROUTES_GONE)?.is_empty(), "the watcher of routes that go saw nothing");
    ensure!(!node.vm.pings(guest.v4) && node.lan.pings(guest.v4), "as it was before");
    step("removed: nothing of ours is left in the kernel");
    node.apt("purge macvlan-shim")?;
    ensure!(node.vm.sh(FILES)? == before, "left: {}\nbefore: {before}", node.vm.sh(FILES)?);
    step("purged: nor on the disk");
    Ok(())
}

struct Node {
    vm: Vm,
    lan: Lan,
}

#[derive(Debug)]
struct Guest {
    pid: u64,
    v4: IpAddr,
    v6: IpAddr,
}

impl Node {
    /// The guest, once it has its addresses.
    fn guest(&self) -> Result<Guest> {
        eventually(PATIENCE, || {
            let state: Value = serde_json::from_str(&self.vm.sh("lxc query /1.0/instances/c1/state")?)?;
            let addresses = state["network"]["eth0"]["addresses"].as_array().into_iter().flatten();
            let global: Vec<IpAddr> = addresses
                .filter(|address| address["scope"] == "global")
                .filter_map(|address| address["address"].as_str()?.parse().ok())
                .collect();
            let of = |v4: bool| global.iter().copied().find(|address| address.is_ipv4() == v4);
            Ok(Guest {
                pid: state["pid"].as_u64().context("no pid")?,
                v4: of(true).with_context(|| format!("no IPv4 address: {state:#}"))?,
                v6: of(false).with_context(|| format!("no IPv6 address: {state:#}"))?,
            })
        })
    }

    /// Waits until a guest and its host reach each other over IPv4 and IPv6.
    fn meets(&self, guest: &Guest) -> Result<()> {
        eventually(PATIENCE, || {
            for address in [guest.v4, guest.v6] {
                ensure!(self.vm.pings(address), "the host does not reach {address}");
            }
            for address in [IpAddr::from(HOST_V4), HOST_V6.into()] {
                let ping = format!("nsenter -t {} -n ping -n -q -c 1 -W 2 {address}", guest.pid);
                ensure!(self.vm.ok(&ping), "the guest does not reach {address}");
            }
            Ok(())
        })
        .with_context(|| self.picture())
    }

    /// LXD makes `eth0.100` for its first guest and removes it with the last.
    fn vlan_comes_and_goes(&self) -> Result<()> {
        ensure!(!self.vm.ok("ip link show eth0.100"), "the VLAN is there already");
        self.vm.sh(VLAN_PROFILE)?;
        let tagged = self.lan.capture("vlan 100")?;
        self.joins_vlan("c2", 101)?;
        let shim = self.vm.sh("cat /sys/class/net/mvs-eth0.100/address")?.trim().to_owned();
        self.joins_vlan("c3", 102)?;
        self.vm.sh("lxc delete -f c2")?;
        ensure!(
            self.vm.pings([10, 100, 0, 102]),
            "the other guest's end cuts this one off\n{}",
            self.picture()
        );
        self.vm.sh("lxc delete -f c3")?;
        eventually(PATIENCE, || {
            let links = self.vm.sh("ip -br link")?;
            ensure!(!links.contains("eth0.100"), "left: {links}{}", self.picture());
            Ok(())
        })?;
        // The next first guest makes everything again.
        self.joins_vlan("c2", 101)?;
        self.vm.sh("lxc delete -f c2; lxc profile delete vlan")?;
        let seen = tagged.stop()?;
        ensure!(!seen.is_empty(), "not one tagged frame was seen, not even of the guests");
        let of_shim: Vec<_> = seen.iter().filter(|frame| frame.contains(&shim)).collect();
        ensure!(of_shim.is_empty(), "the VLAN has seen the shim: {of_shim:#?}");
        self.ensure_installation_is_right()
    }

    /// Starts a guest on the VLAN. It and its host reach each other over IPv4 and IPv6.
    fn joins_vlan(&self, name: &str, last: u8) -> Result<()> {
        self.vm.sh(&format!(
            "lxc launch bb {name} -p vlan -c environment.LAB_DHCP=none -c environment.LAB_RA=none
             lxc exec {name} -- sh -c 'ip addr add 10.100.0.{last}/24 dev eth0; ip addr add fd64::{last}/64 dev eth0'"
        ))?;
        eventually(PATIENCE, || {
            let from_host =
                format!("ping -n -q -c 1 -W 2 10.100.0.{last}; ping -n -q -c 1 -W 2 fd64::{last}");
            self.vm.sh(&from_host)?;
            let from_guest = "ping -c 1 -W 2 10.100.0.11; ping -c 1 -W 2 fd64::11";
            self.vm.sh(&format!("lxc exec {name} -- sh -ec '{from_guest}'"))
        })
        .with_context(|| self.picture())?;
        Ok(())
    }

    fn ensure_installation_is_right(&self) -> Result<()> {
        let status: Value = eventually(PATIENCE, || {
            let status: Value =
                serde_json::from_str(&self.vm.sh("macvlan-shim status --json || [ $? = 1 ]")?)?;
            ensure!(status["ready"] == true, "{status:#}");
            Ok(status)
        })?;
        ensure!(status["problems"].as_array().is_some_and(Vec::is_empty), "{}", self.picture());
        ensure!(status["servers"].to_string().contains(r#""connected""#), "{}", self.picture());
        ensure!(
            self.unit("ActiveState")? == "active" && self.unit("NRestarts")? == "0",
            "{}",
            self.picture()
        );
        let pid = self.unit("MainPID")?;
        ensure!(self.vm.sh(&format!("stat -c %U /proc/{pid}"))? == "macvlan-shim\n", "{}", self.picture());
        let cgroup = self.vm.sh(&format!("cat /proc/{pid}/cgroup"))?;
        ensure!(cgroup == "0::/system.slice/macvlan-shimd.service\n", "{cgroup}");
        let rating = self.vm.sh(&format!("systemd-analyze security --no-pager {UNIT}"))?;
        ensure!(exposure(&rating)? <= EXPOSURE, "{rating}");
        let filter = self.vm.sh("nft list table netdev macvlan_shim")?;
        ensure!(filter.contains("hook ingress") && filter.contains("hook egress"), "{filter}");
        Ok(())
    }

    /// Starts to ping a guest and to watch the routes.
    fn watch(&self, guest: &Guest) -> Result<()> {
        let start = "systemd-run --quiet --property=StandardOutput=file:/run/";
        self.vm.sh(&format!(
            "{start}pings --unit=pings ping -n -i 0.05 {}; {start}routes --unit=routes ip monitor route
             until grep -q 'bytes from' /run/pings; do sleep 0.1; done",
            guest.v4
        ))?;
        Ok(())
    }

    fn install(&self, package: &str) -> Result<()> {
        self.apt(&format!("install /srv/{package}.deb"))
    }

    fn apt(&self, arguments: &str) -> Result<()> {
        let apt = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0";
        self.vm.sh(&format!("{apt} {arguments} 2>&1")).map(drop)
    }

    fn version(&self) -> Result<String> {
        self.vm.sh("dpkg-query -W -f '${Version}' macvlan-shim")
    }

    fn unit(&self, property: &str) -> Result<String> {
        Ok(self.vm.sh(&format!("systemctl show --value -p {property} {UNIT}"))?.trim().to_owned())
    }

    fn picture(&self) -> String {
        let picture = self.vm.sh(&format!(
            "ip -d addr; ip route; ip -6 route; ip neigh; macvlan-shim status || :; systemctl status --no-pager {UNIT}
             journalctl --no-pager -b -u {UNIT}"
        ));
        picture.unwrap_or_else(|error| format!("{error:#}"))
    }
}

/// Waits until all units that should start have started, and none has failed.
fn runs(vm: &Vm) -> Result<()> {
    let state = vm.sh("systemctl is-system-running --wait || true")?;
    ensure!(state == "running\n", "it is {state}{}", vm.sh("systemctl --no-pager --failed")?);
    Ok(())
}
