//! Cables between machines and LANs.

use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;

use crate::enter::{command, finish, within};
use crate::{Daemon, Lan, Machine, image};

/// The place where a machine's link is plugged into a LAN.
#[derive(Clone, Debug)]
pub struct Port {
    lan: Lan,
    /// The LAN's end of the cable.
    name: String,
}

impl Machine {
    /// Makes a link with this name, plugged into a LAN and up, with these addresses (with prefix length). The
    /// LAN's gateway becomes the default route of each family that has an address and no default route yet.
    ///
    /// # Errors
    /// If the link exists or an address is wrong.
    pub fn plug(&self, link: &str, lan: &Lan, addresses: &[&str]) -> Result<Port> {
        let port = self.cable(link, lan, "")?;
        // A host has long been up when a test begins, so there is no wait for IPv6's duplicate address
        // detection.
        let conf = format!("/proc/sys/net/ipv6/conf/{link}");
        let mut script = format!("echo 0 >{conf}/dad_transmits\necho 0 >{conf}/router_solicitation_delay\n");
        script += &format!("ip link set {link} up\n");
        for address in addresses {
            let dad = if address.contains(':') { "nodad" } else { "" };
            script += &format!("ip addr add {address} dev {link} {dad}\n");
        }
        for (v6, gateway) in
            [(false, lan.gateway_v4().map(IpAddr::from)), (true, lan.gateway_v6().map(IpAddr::from))]
        {
            let Some(gateway) = gateway.filter(|_| addresses.iter().any(|a| a.contains(':') == v6)) else {
                continue;
            };
            let ip = if v6 { "ip -6" } else { "ip" };
            let there = format!("[ -n \"$({ip} route show default)\" ]");
            // A router advertisement may be faster.
            script += &format!("{there} || {ip} route add default via {gateway} dev {link} || {there}\n");
        }
        self.sh(&script)?;
        Ok(port)
    }

    /// Makes a link with this name, plugged into a LAN and down. `what` is passed on to `ip link`.
    pub(crate) fn cable(&self, link: &str, lan: &Lan, what: &str) -> Result<Port> {
        let name = port_name(self, link);
        let batch = format!(
            "link add {name} type veth peer name {link} {what} netns {}\nlink set {name} master br0 up\n",
            self.pid()
        );
        let mut ip = command("ip");
        ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // `netns PID` is resolved in the caller's PID namespace, so only the LAN's network is entered.
        let netns = format!("/proc/{}/ns/net", lan.pid());
        finish(|| within(Path::new(&netns), || Ok(ip.spawn()?)), lan.name(), &batch, &batch)?;
        Ok(Port { lan: lan.clone(), name })
    }

    /// Runs a DHCPv4 client on a link and waits for its first lease. The client ends with the returned value.
    ///
    /// # Errors
    /// If there is no lease within 30 s.
    pub fn dhcp_client(&self, link: &str) -> Result<Daemon> {
        self.write_program("/run/lab/lease", image::LEASE.as_ref())?;
        let client = self.spawn(&[
            "busybox",
            "udhcpc",
            "-f",
            "-i",
            link,
            "-T",
            "1",
            "-A",
            "1",
            "-s",
            "/run/lab/lease",
        ])?;
        client.wait_line("lease of", Duration::from_secs(30))?;
        Ok(client)
    }
}

impl Port {
    /// Takes the carrier away from the machine's link, or gives it back.
    ///
    /// # Errors
    /// If the cable is gone.
    pub fn carrier(&self, on: bool) -> Result<()> {
        self.lan.run(&["ip", "link", "set", &self.name, if on { "up" } else { "down" }])?;
        Ok(())
    }

    /// Takes the machine's link away. After this many seconds it makes it again with its MAC: down, and with
    /// no addresses.
    ///
    /// # Errors
    /// If the cable is gone.
    pub fn renew(&self, machine: &Machine, link: &str, seconds: f64) -> Result<()> {
        let mac = machine.run(&["cat", &format!("/sys/class/net/{link}/address")])?;
        self.clone().unplug()?;
        std::thread::sleep(Duration::from_secs_f64(seconds));
        machine.cable(link, &self.lan, &format!("address {}", mac.trim()))?;
        Ok(())
    }

    /// Takes the machine's link away.
    ///
    /// # Errors
    /// If the cable is gone.
    pub fn unplug(self) -> Result<()> {
        self.lan.run(&["ip", "link", "del", &self.name])?;
        Ok(())
    }

    /// The name of the LAN's end of the cable.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// `host-link`, shortened to the maximum length of a link's name. The PID keeps equal names apart.
fn port_name(machine: &Machine, link: &str) -> String {
    let name = format!("{}-{link}", machine.name());
    if name.len() <= 15 { name } else { format!("p{}-{link}", machine.pid()).chars().take(15).collect() }
}
