//! A LAN: a machine with a bridge, the gateway's addresses, and DHCP and router advertisements if wanted.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::machine::lock;
use crate::{Capture, Daemon, Machine, Vm};

/// A LAN, which is also the [`Machine`] that is its gateway. Clones mean the same LAN.
#[derive(Clone, Debug)]
pub struct Lan {
    machine: Machine,
    ipv4: Option<(Ipv4Addr, u8)>,
    ipv6: Option<(Ipv6Addr, u8)>,
    dnsmasq: Arc<Mutex<Option<Daemon>>>,
}

/// The tasks of a LAN's DHCP server; see [`Lan::dhcp_with`].
#[derive(Clone, Debug)]
pub struct Dhcp {
    /// Whether IPv4 addresses are leased: all from the 20th of the subnet up.
    pub ipv4: bool,
    /// Whether routers are advertised, so that hosts form addresses in the IPv6 subnet by SLAAC.
    pub ra: bool,
    /// How long leases and advertised prefixes last, such as `"2m"`, the minimum of dnsmasq.
    pub lease: &'static str,
    /// Fixed leases: MAC and IPv4 address.
    pub fixed: Vec<(String, Ipv4Addr)>,
    /// Fixed leases of DHCPv6: MAC and IPv6 address. With any, router advertisements say that addresses are
    /// leased, and no address is formed by SLAAC.
    pub fixed_v6: Vec<(String, Ipv6Addr)>,
}

impl Default for Dhcp {
    fn default() -> Self {
        Self { ipv4: true, ra: true, lease: "10m", fixed: Vec::new(), fixed_v6: Vec::new() }
    }
}

pub(crate) fn start(machine: Machine, ipv4: &str, ipv6: &str) -> Result<Lan> {
    let ipv4 = subnet::<Ipv4Addr>(ipv4)?.map(|(net, len)| (Ipv4Addr::from(u32::from(net) + 1), len));
    let ipv6 = subnet::<Ipv6Addr>(ipv6)?.map(|(net, len)| (Ipv6Addr::from(u128::from(net) + 1), len));
    // A MAC and a link-local address of its own. Otherwise the MAC changes when cables are plugged in. And
    // until a link-local address is settled, routers are advertised with a wrong source, which costs a client
    // 4 s.
    let [a, b, c, d] = ipv4.map_or([0; 4], |(gateway, _)| gateway.octets());
    let mac = format!("02:01:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
    let mut script = format!("ip link add br0 address {mac} type bridge mcast_snooping 0 forward_delay 0\n");
    script += "ip link set br0 addrgenmode none up\nip addr add fe80::1/64 dev br0 nodad\n";
    script += "echo 1 >/proc/sys/net/ipv4/ip_forward\necho 1 >/proc/sys/net/ipv6/conf/all/forwarding\n";
    if let Some((gateway, len)) = ipv4 {
        script += &format!("ip addr add {gateway}/{len} dev br0\n");
    }
    if let Some((gateway, len)) = ipv6 {
        script += &format!("ip addr add {gateway}/{len} dev br0 nodad\n");
    }
    // The addresses beyond the gateway, so that guests and hosts can show that they have a way out.
    script +=
        &format!("ip addr add {}/32 dev lo\nip addr add {}/128 dev lo\n", Lan::BEYOND_V4, Lan::BEYOND_V6);
    machine.sh(&script)?;
    Ok(Lan { machine, ipv4, ipv6, dnsmasq: Arc::default() })
}

impl Lan {
    /// An address beyond the gateway, which answers pings.
    pub const BEYOND_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
    /// An address beyond the gateway, which answers pings.
    pub const BEYOND_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

    /// The gateway's IPv4 address: the first of the subnet.
    #[must_use]
    pub fn gateway_v4(&self) -> Option<Ipv4Addr> {
        self.ipv4.map(|(gateway, _)| gateway)
    }

    /// The gateway's IPv6 address: the first of the subnet.
    #[must_use]
    pub fn gateway_v6(&self) -> Option<Ipv6Addr> {
        self.ipv6.map(|(gateway, _)| gateway)
    }

    /// Starts DHCP and router advertisements for both families.
    ///
    /// # Errors
    /// As for [`Lan::dhcp_with`].
    pub fn dhcp(&self) -> Result<()> {
        self.dhcp_with(&Dhcp::default())
    }

    /// Starts DHCP and router advertisements in place of those that run. Leases are forgotten.
    ///
    /// # Errors
    /// With dnsmasq's complaint.
    pub fn dhcp_with(&self, dhcp: &Dhcp) -> Result<()> {
        self.stop_dhcp();
        let mut command = self.machine.command("dnsmasq");
        // Without --no-ping each offer is held back by up to 3 s.
        command.args([
            "--no-daemon",
            "--conf-file=/dev/null",
            "--port=0",
            "--interface=br0",
            "--bind-interfaces",
        ]);
        command.args(["--no-ping", "--dhcp-authoritative", "--user=root", "--leasefile-ro", "--log-dhcp"]);
        if let Some((gateway, len)) = self.ipv4.filter(|_| dhcp.ipv4) {
            let (net, size) = (u32::from(gateway) - 1, 1_u32.checked_shl(32 - u32::from(len)).unwrap_or(0));
            ensure!(size >= 64, "the subnet of {gateway}/{len} is too small for DHCP");
            // A machine's address depends on its MAC, which may be random. So the addresses that the tests
            // set by hand are below the range: up to .207 of a /24.
            let (first, last) = (Ipv4Addr::from(net + size / 16 * 13), Ipv4Addr::from(net + size - 2));
            command.arg(format!("--dhcp-range={first},{last},{}", dhcp.lease));
            command.arg(format!("--dhcp-option=3,{gateway}"));
            command.args(dhcp.fixed.iter().map(|(mac, address)| format!("--dhcp-host={mac},{address}")));
        }
        if let Some((gateway, len)) = self.ipv6.filter(|_| dhcp.ra) {
            let net = Ipv6Addr::from(u128::from(gateway) - 1);
            let range = match dhcp.fixed_v6.is_empty() {
                true => format!("{net},ra-stateless"),
                false => format!("{net},static"),
            };
            command.arg("--enable-ra").arg(format!("--dhcp-range={range},{len},{}", dhcp.lease));
            command.args(dhcp.fixed_v6.iter().map(|(mac, address)| format!("--dhcp-host={mac},[{address}]")));
        }
        let dnsmasq = self.machine.daemon(command)?;
        dnsmasq.wait_line("started, version", Duration::from_secs(30))?;
        *lock(&self.dnsmasq) = Some(dnsmasq);
        Ok(())
    }

    /// Ends DHCP and router advertisements, if they run.
    pub fn stop_dhcp(&self) {
        drop(lock(&self.dnsmasq).take());
    }

    /// The log of the DHCP server.
    #[must_use]
    pub fn dhcp_log(&self) -> Vec<String> {
        lock(&self.dnsmasq).as_ref().map(Daemon::output).unwrap_or_default()
    }

    /// Installs a Debian in a VM on this LAN, with this host name. It is off.
    ///
    /// # Errors
    /// If the guests' image cannot be made.
    pub fn vm(&self, name: &str) -> Result<Vm> {
        Vm::install_on(self, name)
    }

    /// Captures on the bridge. It sees every frame on the LAN, even unicast between two of its ports.
    ///
    /// # Errors
    /// As for [`Machine::capture`].
    pub fn capture(&self, filter: &str) -> Result<Capture> {
        self.machine.capture("br0", filter)
    }
}

impl Deref for Lan {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

fn subnet<A: std::str::FromStr>(text: &str) -> Result<Option<(A, u8)>> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.split_once('/').and_then(|(net, len)| Some((net.parse().ok()?, len.parse().ok()?)));
    parsed.map(Some).with_context(|| format!("`{text}` is not a subnet such as 192.168.77.0/24 or fd77::/64"))
}
