//! A node with systemd, on a LAN, where the package is installed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::{Debian, Guest, Kind, Lab, Lan, eventually};
use serde_json::Value;

use crate::packages;

/// Long enough for everything that is not a failure, and shorter than the daemon's resync.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);
/// The node's own address.
pub(crate) const HOST: &str = "192.168.77.11";
pub(crate) const UNIT: &str = "macvlan-shimd";

/// Prints everything in the kernel that is ours; nothing if there is nothing.
pub(crate) const OURS: &str = "ip -o link show group 7173; ip route show table all proto 77
     ip -6 route show table all proto 77; ip rule show table 77; ip neigh show proto 77; nft --stateless list ruleset netdev";
/// Prints everything of ours in the file system.
pub(crate) const FILES: &str = "find / -xdev \\( -name '*macvlan-shim*' -o -path '*/macvlan?shim/*' \\) \
     -not -path '/proc/*' -not -path '/tmp/*' -not -path '/var/log/journal/*' | sort";

const UPLINK: &str =
    "[Match]\nName=eth0\n[Network]\nAddress=192.168.77.11/24\nAddress=fd77::11/64\nIPv6AcceptRA=no\n";

pub(crate) struct Node {
    _lab: Lab,
    lan: Lan,
    pub(crate) host: Debian,
}

impl Node {
    /// A node that is on, with this server on it or none. Debian's LXD is there, and stopped, or not
    /// installed.
    pub(crate) fn new(server: Option<Kind>) -> Result<Node> {
        // Other stories may have the place while it is built.
        packages::deb()?;
        let lab = Lab::new()?;
        let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
        lan.dhcp()?;
        let mut host = lab.debian("node")?;
        host.nic("eth0", &lan)?;
        host.write("/etc/systemd/network/50-eth0.network", UPLINK)?;
        host.boot()?;
        host.sh("systemctl enable --quiet --now systemd-networkd")?;
        if server != Some(Kind::Lxd) {
            host.apt("purge lxd lxd-client")?;
        }
        if server == Some(Kind::Incus) {
            host.install_incus()?;
        }
        Ok(Node::of(lab, lan, host))
    }

    /// A machine that was prepared by other means.
    pub(crate) fn of(lab: Lab, lan: Lan, host: Debian) -> Node {
        Node { _lab: lab, lan, host }
    }

    /// Adds another NIC, on the same LAN.
    pub(crate) fn plug(&mut self, link: &str) -> Result<()> {
        self.host.nic(link, &self.lan)
    }

    /// Starts the server and a guest on a macvlan NIC.
    pub(crate) fn launch(&self, kind: Kind) -> Result<Guest> {
        let server = self.host.server(kind)?;
        server.macvlan_profile("mv", "eth0")?;
        server.launch("c1", &["-p", "mv"])
    }

    /// Installs the package under test.
    pub(crate) fn install(&self) -> Result<()> {
        self.install_file(packages::deb()?)
    }

    /// Installs a package, whatever version of it is there.
    pub(crate) fn install_file(&self, package: &Path) -> Result<()> {
        self.host.install(package, "/tmp/macvlan-shim.deb")?;
        self.host.apt("install --allow-downgrades /tmp/macvlan-shim.deb")
    }

    /// Waits until a guest and its host reach each other over IPv4 and IPv6.
    pub(crate) fn meets(&self, guest: &Guest) -> Result<()> {
        let (v4, v6) = (guest.ipv4("eth0")?, guest.ipv6("eth0")?);
        eventually(PATIENCE, || {
            ensure!(self.host.pings(v4), "the host does not reach {v4}");
            ensure!(self.host.pings(v6), "the host does not reach {v6}");
            ensure!(guest.pings(HOST.parse::<std::net::IpAddr>()?), "the guest does not reach its host");
            Ok(())
        })
        .with_context(|| self.picture())
    }

    /// Waits until the status is as expected.
    pub(crate) fn wait(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(PATIENCE, || {
            let status: Value =
                serde_json::from_str(&self.host.verdict(&["macvlan-shim", "status", "--json"])?)?;
            if holds(&status) { Ok(status) } else { bail!("not yet: {what}; status is {status:#}") }
        })
        .with_context(|| self.picture())
    }

    /// A property of the unit.
    pub(crate) fn unit(&self, property: &str) -> Result<String> {
        let value = self.host.sh(&format!("systemctl show --value -p {property} {UNIT}"))?;
        Ok(value.trim().to_owned())
    }

    /// Everything in the kernel that is ours, in words; nothing if it is empty.
    pub(crate) fn ours(&self) -> Result<String> {
        self.host.sh(OURS)
    }

    pub(crate) fn picture(&self) -> String {
        let objects = "ip -d addr; ip route; ip -6 route; ip rule; ip neigh; macvlan-shim status || :";
        let objects = self.host.sh(&format!("{objects}; systemctl status {UNIT}"));
        format!("{}\n{}", objects.unwrap_or_else(|error| format!("{error:#}")), self.host.journal(&[UNIT]))
    }
}
