//! The place of the measurement: a LAN, a host with guests by the number, a stand-in for their server, and
//! the daemon.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::stand_in::StandIn;
use lab::{Daemon, Lab, Machine, Share, eventually};
use serde_json::{Value, json};

use crate::guests::{self, Guest};
use crate::netlink::{Event, Socket};
use crate::process;
use crate::watch::Watch;

/// The host's own address.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The interface that all guests are on.
pub(crate) const PARENT: &str = "eth0";
/// The shim on it.
pub(crate) const SHIM: &str = "mvs-eth0";
/// The mark of our routes and neighbour entries.
pub(crate) const PROTOCOL: u8 = 77;
/// The mark of our links.
pub(crate) const LINK_GROUP: u32 = 7173;

/// Long enough for everything that is not a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A breath of the daemon (200 ms) is shorter.
const QUIET: Duration = Duration::from_millis(350);

/// An instance as a real LXD 5.0.2 lists it.
const INSTANCES: &str = include_str!("../../servers/lxd-5.0.2-instances.json");

/// The world. All of it ends with this value, and with this process.
pub(crate) struct World {
    daemon: Option<Daemon>,
    /// All guests, running.
    pub(crate) guests: Vec<Guest>,
    /// For requests in the host's namespace.
    pub(crate) socket: Socket,
    /// The host.
    pub(crate) host: Machine,
    stand_in: StandIn,
    binary: String,
    passed: u32,
    _lab: Lab,
}

impl World {
    /// A host without guests, on which nothing of ours runs.
    pub(crate) fn new(binary: &str) -> Result<World> {
        let lab = Lab::with(Share::All)?;
        let lan = lab.lan("10.77.0.0/16", "fd77::/64")?;
        let host = lab.host("node")?;
        host.plug(PARENT, &lan, &["10.77.0.2/16", "fd77::2/64"])?;
        let socket = host.within(|| Ok(Socket::open()?))?;
        let stand_in = stand_in(host.path("/var/lib/lxd"))?;
        Ok(World {
            daemon: None,
            guests: vec![],
            socket,
            host,
            stand_in,
            binary: binary.to_owned(),
            passed: 0,
            _lab: lab,
        })
    }

    /// Makes guests until there are this many.
    pub(crate) fn grow(&mut self, size: u32) -> Result<()> {
        let numbers = self.guests.len() as u32..size;
        self.guests.extend(guests::make(&self.host, PARENT, numbers)?);
        let list: Vec<Value> = self.guests.iter().map(instance).collect::<Result<_>>()?;
        self.stand_in.set_instances(Value::Array(list));
        if self.daemon.is_some() {
            self.stand_in.happens("instance-started");
            self.wait_for_routes()?;
            self.settle()?;
        }
        Ok(())
    }

    /// The command that is the daemon.
    pub(crate) fn command(&self) -> std::process::Command {
        let mut command = self.host.command(&self.binary);
        // As its unit does.
        command.arg("run").env("GLIBC_TUNABLES", "glibc.malloc.arena_max=1");
        command
    }

    /// Uses this daemon from now on.
    pub(crate) fn adopt(&mut self, daemon: Daemon) {
        self.daemon = Some(daemon);
    }

    /// Starts the daemon if it does not run, and waits until it has done everything.
    pub(crate) fn start(&mut self) -> Result<()> {
        if self.daemon.is_none() {
            self.daemon = Some(self.host.daemon(self.command())?);
            self.wait_for_routes()?;
        }
        self.settle()
    }

    /// Ends the daemon if it runs. Its objects stay.
    pub(crate) fn stop(&mut self) -> Result<()> {
        match self.daemon.take() {
            Some(mut daemon) => daemon.stop().map(drop),
            None => Ok(()),
        }
    }

    /// Takes the shim away, and with it everything of ours. For use while no daemon runs.
    pub(crate) fn wipe(&self) -> Result<()> {
        self.host.run(&[&self.binary, "cleanup"]).map(drop)
    }

    /// Halts the daemon in its present state.
    pub(crate) fn pause(&mut self) -> Result<()> {
        let pid = self.pid()?;
        self.running()?.signal("STOP")?;
        eventually(PATIENCE, || {
            ensure!(process::is_stopped(pid)?, "process {pid} does not stop");
            Ok(())
        })
    }

    /// Ends [`World::pause`], and waits until the daemon has caught up.
    pub(crate) fn resume(&mut self) -> Result<()> {
        self.running()?.signal("CONT")?;
        self.settle()
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.daemon.as_ref().and_then(Daemon::outside_pid).context("the daemon does not run")
    }

    /// Waits until the daemon has nothing to do.
    pub(crate) fn settle(&self) -> Result<()> {
        let pid = self.pid()?;
        let end = Instant::now() + PATIENCE;
        let mut before = process::usage(pid)?;
        loop {
            std::thread::sleep(QUIET);
            let now = process::usage(pid)?;
            if now.switches_since(&before) == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < end, "the daemon has been busy for {PATIENCE:?}");
            before = now;
        }
    }

    /// The daemon's answer to `GET /1.0/status`, or an error.
    pub(crate) fn status(&self) -> Result<Value> {
        let mut stream = UnixStream::connect(self.host.path("/run/macvlan-shim/control.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /1.0/status HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("no end of the head")?;
        serde_json::from_slice(&answer[head + 4..]).context("the status is not JSON")
    }

    /// Whether a status says that it is ready and that each guest is reached.
    pub(crate) fn is_complete(&self, status: &Value) -> bool {
        let guests = status["guests"].as_array().map(Vec::as_slice).unwrap_or_default();
        let nics = guests.iter().filter_map(|guest| guest["nics"].as_array()).flatten();
        status["ready"] == true && nics.filter(|nic| nic["state"] == "reachable").count() == self.guests.len()
    }

    /// The address of the next change: one that was not seen for long.
    pub(crate) fn next_address(&mut self) -> Ipv4Addr {
        self.passed += 1;
        guests::passing_address(self.passed)
    }

    /// The addresses that all guests always have.
    pub(crate) fn addresses(&self) -> BTreeSet<IpAddr> {
        self.guests.iter().map(|guest| guest.address().into()).collect()
    }

    /// The ifindex of a link of the host.
    pub(crate) fn index(&self, link: &str) -> Result<u32> {
        self.host.within(|| nix::net::if_::if_nametoindex(link).with_context(|| format!("link {link}")))
    }

    /// Listens on the host.
    pub(crate) fn watch(&self, groups: &[u32]) -> Result<Watch> {
        Watch::open(&self.host, groups)
    }

    /// The daemon's output so far.
    pub(crate) fn output(&self) -> String {
        self.daemon.as_ref().map(|daemon| daemon.output().join("\n")).unwrap_or_default()
    }

    fn wait_for_routes(&self) -> Result<()> {
        eventually(PATIENCE, || {
            let status = self.status()?;
            ensure!(self.is_complete(&status), "not all guests are reached; status is {status:#}");
            Ok(())
        })
        .with_context(|| self.output())
    }

    fn running(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("the daemon does not run")
    }
}

/// Waits until a route of this protocol to each of these addresses was seen. Returns when the last was.
pub(crate) fn all_routed(watch: &Watch, mut missing: BTreeSet<IpAddr>, by: u8) -> Result<Instant> {
    if missing.is_empty() {
        bail!("no routes to wait for");
    }
    watch.until(PATIENCE, "all routes are there", |event| {
        if let Event::Route { new: true, to, protocol, .. } = event
            && protocol == by
        {
            missing.remove(&to);
        }
        missing.is_empty()
    })
}

/// A server that lists instances, on its own thread.
fn stand_in(folder: PathBuf) -> Result<StandIn> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let inside = runtime.enter();
    let stand_in = StandIn::start(&folder).with_context(|| folder.display().to_string())?;
    drop(inside);
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    Ok(stand_in)
}

/// A guest as its server lists it, in full length.
fn instance(guest: &Guest) -> Result<Value> {
    let captured: Value = serde_json::from_str(INSTANCES)?;
    let mut instance = captured["metadata"][0].clone();
    let mac = guest.mac().map(|byte| format!("{byte:02x}")).join(":");
    for config in ["config", "expanded_config"] {
        instance[config]["volatile.eth0.hwaddr"] = json!(mac);
    }
    instance["name"] = json!(guest.name());
    instance["status"] = json!("Running");
    instance["status_code"] = json!(103);
    Ok(instance)
}
