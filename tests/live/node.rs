//! The real binary on a machine of the lab: started, asked, stopped.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::{Daemon, Guest, Machine, Share, eventually};
use serde_json::Value;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_macvlan-shim");

/// Long enough for everything that is not a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The path of the control socket.
const CONTROL: &str = "/run/macvlan-shim/control.sock";

/// A running daemon on a machine.
pub(crate) struct Node {
    pub(crate) host: Machine,
    pub(crate) daemon: Daemon,
}

impl Node {
    /// Starts `macvlan-shim run` with no configuration and waits until it is ready.
    pub(crate) fn start(host: &Machine) -> Result<Node> {
        Node::start_by(host, &[BINARY, "run"])
    }

    /// The same, with every op in its log. For stories whose failure cannot be told from the end alone.
    pub(crate) fn start_talkative(host: &Machine) -> Result<Node> {
        Node::start_by(host, &["env", "RUST_LOG=debug", BINARY, "run"])
    }

    /// The processor time that it and its programs have had so far.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let pid = self.daemon.outside_pid().context("the daemon has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = fields.get(11..=14).context("a process has times")?.iter();
        let ticks = ticks.map(|ticks| ticks.parse::<u64>()).sum::<Result<u64, _>>()?;
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Starts it by another command.
    pub(crate) fn start_by(host: &Machine, command: &[&str]) -> Result<Node> {
        let daemon = host.spawn(command)?;
        let node = Node { host: host.clone(), daemon };
        node.wait("the daemon is ready", |status| status["ready"] == true)?;
        Ok(node)
    }

    /// Starts it with a configuration at the default place.
    pub(crate) fn start_with(host: &Machine, config: &str) -> Result<Node> {
        host.run_with_stdin(&["sh", "-c", "cat > /etc/macvlan-shim/config.toml"], config)?;
        Node::start(host)
    }

    /// The output of `status --json`.
    pub(crate) fn status(&self) -> Result<Value> {
        status(&self.host)
    }

    /// Waits until the status is as expected, as `status --json` prints it. The error has the last status.
    /// Until then the daemon is asked directly, because the command takes ten times as much of a processor.
    pub(crate) fn wait(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let check = |status: Value| {
            if holds(&status) { Ok(status) } else { bail!("not yet: {what}; status is {status:#}") }
        };
        eventually(PATIENCE, || {
            check(self.host.get(CONTROL, "/1.0/status")?)?;
            check(self.status()?)
        })
        .with_context(|| format!("the daemon said:\n{}", self.daemon.story()))
    }

    /// Waits until a NIC is in a state.
    pub(crate) fn wait_nic(&self, guest: &Guest, nic: &str, state: &str) -> Result<Value> {
        let (kind, project, name) =
            (guest.server().kind().to_string().to_lowercase(), guest.project(), guest.name());
        let status = self.wait(&format!("{kind} {project}/{name} {nic} is {state}"), |status| {
            find_nic(status, &kind, project, name, nic).is_some_and(|nic| nic["state"] == state)
        })?;
        find_nic(&status, &kind, project, name, nic).cloned().context("it was there")
    }

    /// Waits until an address of a NIC is in a state, and returns it.
    pub(crate) fn wait_address(
        &self,
        guest: &Guest,
        address: impl Into<IpAddr>,
        state: &str,
    ) -> Result<Value> {
        let address = address.into().to_string();
        let (kind, project, name) =
            (guest.server().kind().to_string().to_lowercase(), guest.project(), guest.name());
        let find = |status: &Value| {
            let guests = status["guests"].as_array()?;
            let guest = guests
                .iter()
                .find(|g| g["server"] == kind.as_str() && g["project"] == project && g["name"] == name)?;
            let nics = guest["nics"].as_array()?;
            let all = nics.iter().flat_map(|nic| nic["addresses"].as_array().cloned().unwrap_or_default());
            all.into_iter().find(|entry| entry["address"] == address.as_str() && entry["state"] == state)
        };
        let status = self.wait(&format!("{name} {address} is {state}"), |status| find(status).is_some())?;
        find(&status).context("it was there")
    }

    /// Waits until the host no longer routes an address through a shim.
    pub(crate) fn wait_gone(&self, address: impl Into<IpAddr>) -> Result<()> {
        let address = address.into();
        eventually(PATIENCE, || {
            let routes = routes(&self.host)?;
            let prefix = format!("{address} ");
            if routes.iter().any(|route| route.starts_with(&prefix)) {
                bail!("{address} is still routed: {routes:#?}");
            }
            Ok(())
        })
    }

    /// Waits until nothing is left to do. The entry of a question that the LAN has just not answered is deleted
    /// at once, but `plan` may look in between.
    pub(crate) fn wait_well(&self, within: Duration) -> Result<()> {
        eventually(within, || {
            let plan = self.host.run(&[BINARY, "plan"])?;
            if plan.starts_with("nothing to do") { Ok(()) } else { bail!("the plan is not empty: {plan}") }
        })
    }

    /// Waits until a guest and its host reach each other at an address of the guest.
    pub(crate) fn wait_both_ways(
        &self,
        guest: &Guest,
        guest_address: impl Into<IpAddr>,
        host_address: &str,
    ) -> Result<()> {
        let address = guest_address.into();
        self.wait_address(guest, address, "routed")?;
        let host_address: IpAddr = host_address.parse()?;
        if !self.host.reaches(address, PATIENCE) {
            bail!("the host does not reach {address}\n{}", self.picture()?);
        }
        if !guest.reaches(host_address, PATIENCE) {
            bail!("{} does not reach its host at {host_address}\n{}", guest.name(), self.picture()?);
        }
        Ok(())
    }

    /// Everything that matters, for the error of a failed test.
    pub(crate) fn picture(&self) -> Result<String> {
        self.host.sh("ip -d addr; ip route; ip -6 route; ip rule; ip neigh; ip -6 neigh show proxy")
    }
}

/// The output of `status --json` on a machine.
pub(crate) fn status(host: &Machine) -> Result<Value> {
    let text = host.verdict(&[BINARY, "status", "--json"])?;
    serde_json::from_str(&text).with_context(|| format!("status --json printed {text}"))
}

/// One NIC in a status.
pub(crate) fn find_nic<'a>(
    status: &'a Value,
    server: &str,
    project: &str,
    guest: &str,
    nic: &str,
) -> Option<&'a Value> {
    let guests = status["guests"].as_array()?;
    let guest =
        guests.iter().find(|g| g["server"] == server && g["project"] == project && g["name"] == guest)?;
    guest["nics"].as_array()?.iter().find(|n| n["name"] == nic)
}

/// Our routes on a machine, both families, as `ip route` shows them.
pub(crate) fn routes(host: &Machine) -> Result<Vec<String>> {
    let text = host.sh("ip -4 route show table all proto 77; ip -6 route show table all proto 77")?;
    Ok(text.lines().map(|line| line.trim().to_owned() + " ").collect())
}

/// For how many milliseconds the host had a route to an address, which came and went.
pub(crate) fn stood(watch: &Daemon, address: &str) -> Result<f64> {
    eventually(PATIENCE, || {
        let lines = watch.output();
        let time = |deleted: bool| {
            let line = lines.iter().find(|line| {
                line.contains(&format!("{address} dev mvs-eth0")) && line.contains("Deleted") == deleted
            })?;
            let (_, clock) = line.split_once('T')?;
            let mut parts = clock.split(']').next()?.split(':').map(str::parse::<f64>);
            let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
            Some((hours * 3600.0 + minutes * 60.0 + seconds) * 1000.0)
        };
        let (came, went) = (time(false).context("it never came"), time(true).context("it never went"));
        Ok(went.with_context(|| format!("{lines:#?}"))? - came?)
    })
}

/// Everything of ours in a machine's kernel; empty if nothing is left.
pub(crate) fn ours(host: &Machine) -> Result<String> {
    host.sh(
        "ip -o link show group 7173; ip -4 route show table all proto 77; ip -6 route show table all proto 77; \
         ip neigh show nud permanent proto 77; ip -6 neigh show proxy | grep 'proto 77' || true; \
         { ip rule; ip -6 rule; } | grep 'lookup 77' || true",
    )
}

/// A LAN with DHCP and SLAAC, a host with a server and the profile `mv` (a macvlan NIC on eth0), and another
/// machine on the LAN.
pub(crate) struct Site {
    pub(crate) lab: lab::Lab,
    pub(crate) lan: lab::Lan,
    pub(crate) host: Machine,
    /// The bridge port that the host's eth0 is plugged into.
    pub(crate) port: lab::Port,
    pub(crate) peer: Machine,
    pub(crate) server: lab::Server,
}

/// The host's addresses at a [`Site`].
pub(crate) const HOST: &str = "192.168.77.11";
pub(crate) const HOST_V6: &str = "fd77::11";

impl Site {
    pub(crate) fn new(kind: lab::Kind) -> Result<Site> {
        Site::with(kind, Share::One)
    }

    /// A site for a story that must not run beside as many others as usual.
    pub(crate) fn with(kind: lab::Kind, share: Share) -> Result<Site> {
        let lab = lab::Lab::with(share)?;
        let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
        lan.dhcp()?;
        let host = lab.host("node")?;
        let port = host.plug("eth0", &lan, &["192.168.77.11/24", "fd77::11/64"])?;
        let peer = lab.host("peer")?;
        peer.plug("eth0", &lan, &["192.168.77.12/24", "fd77::12/64"])?;
        let server = host.server(kind)?;
        server.macvlan_profile("mv", "eth0")?;
        // Nothing of the host changes by itself from now on.
        eventually(PATIENCE, || host.sh("ip -6 route show default proto ra | grep ."))
            .context("no router advertisement came")?;
        Ok(Site { lab, lan, host, port, peer, server })
    }

    /// A guest whose NIC is on a bridge of the host, which has 10.9.9.1.
    pub(crate) fn launch_bridged(&self, name: &str) -> Result<Guest> {
        let bridge = "ip link add br9 type bridge; ip address add 10.9.9.1/24 dev br9; ip link set br9 up";
        self.host.sh(bridge)?;
        let device = ["device", "add", "bridged", "eth0", "nic", "nictype=bridged", "parent=br9"];
        self.server.cli(&["profile", "create", "bridged"])?;
        self.server.cli(&[&["profile"], &device[..]].concat())?;
        self.server.launch(name, &["-p", "default", "-p", "bridged", "-c", "environment.LAB_DHCP=none"])
    }

    /// A guest without DHCP and SLAAC, with these addresses.
    pub(crate) fn launch_static(&self, name: &str, addresses: &[&str]) -> Result<Guest> {
        let guest = self.server.launch(
            name,
            &["-p", "mv", "-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"],
        )?;
        for address in addresses {
            guest.sh(&format!("ip addr add {address} dev eth0"))?;
        }
        Ok(guest)
    }
}
