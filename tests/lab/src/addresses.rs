//! The MAC and the addresses of a guest's NICs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{Guest, eventually};

/// How long DHCP and SLAAC may take. Both take less than a second.
const ADDRESS: Duration = Duration::from_secs(20);

impl Guest {
    /// The MAC that the server has given to a NIC.
    ///
    /// # Errors
    /// If it has none.
    pub fn mac(&self, nic: &str) -> Result<String> {
        let config = self.config()?;
        let mac =
            [&config["expanded_devices"][nic]["hwaddr"], &config["config"][format!("volatile.{nic}.hwaddr")]];
        let mac = mac
            .iter()
            .find_map(|m| m.as_str())
            .with_context(|| format!("{}: no MAC of {nic}", self.name()))?;
        Ok(mac.to_owned())
    }

    /// Waits for a global IPv4 address on a link in the guest, as DHCP sets it, and returns the first.
    ///
    /// # Errors
    /// If there is none within 20 s.
    pub fn ipv4(&self, link: &str) -> Result<Ipv4Addr> {
        eventually(ADDRESS, || {
            self.addresses(link)?.into_iter().find_map(v4).context(self.lacks(link, "IPv4"))
        })
    }

    /// Waits for a global IPv6 address on a link in the guest that is no longer tentative, and returns the
    /// first.
    ///
    /// # Errors
    /// If there is none within 20 s.
    pub fn ipv6(&self, link: &str) -> Result<Ipv6Addr> {
        eventually(ADDRESS, || {
            self.addresses(link)?.into_iter().find_map(v6).context(self.lacks(link, "IPv6"))
        })
    }

    /// The global addresses of a link in the guest now, without tentative ones.
    ///
    /// # Errors
    /// If the guest does not run.
    pub fn addresses(&self, link: &str) -> Result<Vec<IpAddr>> {
        let pid = self.init()?.to_string();
        let machine = self.server().machine();
        let text = machine.run(&["nsenter", "-t", &pid, "-n", "ip", "-j", "addr"])?;
        let links: Value = serde_json::from_str(&text)?;
        let link = links.as_array().into_iter().flatten().find(|l| l["ifname"] == link);
        let addresses = link.and_then(|l| l["addr_info"].as_array()).into_iter().flatten();
        let usable = addresses.filter(|a| a["scope"] == "global" && a["tentative"] != true);
        usable.map(|a| Ok(a["local"].as_str().context("an address without `local`")?.parse()?)).collect()
    }

    /// Makes the guest's DHCP client ask for its lease again, on one of its NICs.
    ///
    /// # Errors
    /// If no client runs there.
    pub fn renew(&self, link: &str) -> Result<()> {
        self.sh(&format!("kill -USR1 $(cat /run/udhcpc.{link}.pid)"))?;
        Ok(())
    }

    fn lacks(&self, link: &str, family: &str) -> String {
        format!("{}: {link} has no global {family} address", self.name())
    }
}

const fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    if let IpAddr::V4(address) = address { Some(address) } else { None }
}

const fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    if let IpAddr::V6(address) = address { Some(address) } else { None }
}
