//! A real LXD or Incus daemon in a machine.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::machine::lock;
use crate::{Daemon, Guest, Kind, Machine, eventually, image, rest};

/// How long a daemon may take to answer after its start.
const READY: Duration = Duration::from_secs(60);

/// A server. Clones mean the same one. Its daemon is killed when the last of them and of its guests is
/// dropped.
#[derive(Clone, Debug)]
pub struct Server {
    machine: Machine,
    kind: Kind,
    daemon: Arc<Mutex<Option<Daemon>>>,
}

impl Machine {
    /// Starts LXD, with the storage pool `default`, a root disk in the profile `default` (and no NIC), and
    /// the image `bb`.
    ///
    /// # Errors
    /// With its log, if it does not come up.
    pub fn lxd(&self) -> Result<Server> {
        self.server(Kind::Lxd)
    }

    /// Starts Incus, prepared as by [`Machine::lxd`]. Both may run on one machine.
    ///
    /// # Errors
    /// With its log, if it does not come up.
    pub fn incus(&self) -> Result<Server> {
        self.server(Kind::Incus)
    }

    /// Starts a server of this kind, prepared as by [`Machine::lxd`].
    ///
    /// # Errors
    /// With its log, if it does not come up.
    pub fn server(&self, kind: Kind) -> Result<Server> {
        let server = Server { machine: self.clone(), kind, daemon: Arc::default() };
        server.start_daemon()?;
        server.prepare()?;
        Ok(server)
    }
}

impl Server {
    /// A server that is started by other means, such as a unit, and answers.
    pub(crate) fn started(machine: &Machine, kind: Kind) -> Result<Self> {
        let server = Server { machine: machine.clone(), kind, daemon: Arc::default() };
        server.prepare()?;
        Ok(server)
    }

    fn prepare(&self) -> Result<()> {
        self.query("POST", "/1.0/storage-pools", &json!({"name": "default", "driver": "dir"}))?;
        let root = json!({"root": {"type": "disk", "path": "/", "pool": "default"}});
        self.query("PATCH", "/1.0/profiles/default", &json!({"devices": root}))?;
        let socket = self.machine.path(self.kind.socket());
        let image =
            rest::request(&socket, "POST", "/1.0/images", "application/octet-stream", image::archive()?)?;
        self.query("POST", "/1.0/images/aliases", &json!({"name": "bb", "target": image["fingerprint"]}))?;
        Ok(())
    }

    /// The kind of this server.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The machine that it runs on.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Runs the server's client, `lxc` or `incus`, and returns its stdout.
    ///
    /// # Errors
    /// As for [`Machine::run`].
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        self.cli_with_stdin(arguments, "")
    }

    /// [`Server::cli`] with a text for its stdin, such as the YAML of `profile edit`.
    ///
    /// # Errors
    /// As for [`Machine::run`].
    pub fn cli_with_stdin(&self, arguments: &[&str], stdin: &str) -> Result<String> {
        self.machine.run_with_stdin(&[&[self.kind.client()], arguments].concat(), stdin)
    }

    /// Sends a request to its API, waits for the operation if it starts one, and returns the metadata of the
    /// answer or of the operation. Use [`Value::Null`] for no body.
    ///
    /// # Errors
    /// With the server's own message.
    pub fn query(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let socket = self.machine.path(self.kind.socket());
        rest::request(&socket, method, path, "application/json", body.as_bytes())
            .with_context(|| format!("{} on {}", self.kind, self.machine.name()))
    }

    /// [`Server::query`] without a body.
    ///
    /// # Errors
    /// As for [`Server::query`].
    pub fn get(&self, path: &str) -> Result<Value> {
        self.query("GET", path, &Value::Null)
    }

    /// Makes a profile, or replaces it, from YAML as in `profile edit`.
    ///
    /// # Errors
    /// With the client's complaint.
    pub fn profile(&self, name: &str, yaml: &str) -> Result<()> {
        if self.get(&format!("/1.0/profiles/{name}")).is_err() {
            self.query("POST", "/1.0/profiles", &json!({"name": name}))?;
        }
        self.cli_with_stdin(&["profile", "edit", name], yaml)?;
        Ok(())
    }

    /// Makes a profile with a root disk and one macvlan NIC, `eth0`, on `parent`.
    ///
    /// # Errors
    /// With the server's complaint.
    pub fn macvlan_profile(&self, name: &str, parent: &str) -> Result<()> {
        let devices = json!({
            "root": {"type": "disk", "path": "/", "pool": "default"},
            "eth0": {"type": "nic", "nictype": "macvlan", "parent": parent},
        });
        self.query("POST", "/1.0/profiles", &json!({"name": name, "devices": devices}))?;
        Ok(())
    }

    /// Launches a container of the image `bb` in the project `default`. `arguments` are those of the client's
    /// `launch`, such as `["-p", "mv", "-c", "environment.LAB_DHCP=none"]`. `LAB_DHCP=none` and `LAB_RA=none`
    /// keep the guest from getting addresses by DHCP and SLAAC. `LAB_DAD=real` gives it the kernel's ordinary
    /// duplicate address detection (3 s until an IPv6 address is no longer tentative), which is off
    /// otherwise.
    ///
    /// # Errors
    /// With the client's complaint.
    pub fn launch(&self, name: &str, arguments: &[&str]) -> Result<Guest> {
        self.launch_in("default", name, arguments)
    }

    /// [`Server::launch`] in another project, which has the image `bb` if it was made with
    /// `features.images=false`.
    ///
    /// # Errors
    /// With the client's complaint.
    pub fn launch_in(&self, project: &str, name: &str, arguments: &[&str]) -> Result<Guest> {
        self.cli(&[&["launch", "-q", "--project", project, "bb", name], arguments].concat())?;
        let guest = self.guest_in(project, name);
        guest.wait_for_boot()?;
        Ok(guest)
    }

    /// A guest of the project `default` that was made by other means.
    #[must_use]
    pub fn guest(&self, name: &str) -> Guest {
        self.guest_in("default", name)
    }

    /// A guest that was made by other means.
    #[must_use]
    pub fn guest_in(&self, project: &str, name: &str) -> Guest {
        Guest::new(self, project, name)
    }

    /// Ends the daemon with SIGTERM, which leaves guests running.
    ///
    /// # Errors
    /// If it does not run or does not end.
    pub fn stop_daemon(&self) -> Result<()> {
        self.with_daemon(|daemon| daemon.stop().map(drop))?;
        *lock(&self.daemon) = None;
        Ok(())
    }

    /// Ends the daemon with SIGKILL, which leaves guests running and the socket's file behind.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_daemon(&self) -> Result<()> {
        self.with_daemon(|daemon| daemon.kill().map(drop))?;
        *lock(&self.daemon) = None;
        Ok(())
    }

    /// Sends the daemon a signal, such as `"STOP"` and `"CONT"` for one that hangs for a while.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal_daemon(&self, signal: &str) -> Result<()> {
        self.with_daemon(|daemon| daemon.signal(signal))
    }

    /// Starts the daemon again after [`Server::stop_daemon`] or [`Server::kill_daemon`] and waits until it is
    /// ready.
    ///
    /// # Errors
    /// With its output, if it does not become ready.
    pub fn start_daemon(&self) -> Result<()> {
        let mut daemon = self.machine.spawn(self.kind.daemon())?;
        eventually(READY, || {
            ensure!(daemon.is_running(), "{} ended: {}", self.kind, daemon.output().join("\n"));
            self.get("/internal/ready")
        })?;
        self.set_daemon(daemon);
        Ok(())
    }

    /// Replaces the daemon by one that reports another version (of the same length) and starts that, after
    /// [`Server::stop_daemon`] or [`Server::kill_daemon`].
    ///
    /// # Errors
    /// If the present version is not in the program, and as for [`Server::start_daemon`].
    pub fn upgrade_daemon(&self, old: &str, new: &str) -> Result<()> {
        let program = self.kind.daemon()[0];
        let copy = self.machine.patched(program, old, new)?;
        self.machine.run(&["mount", "--bind", &copy, program])?;
        self.start_daemon()
    }

    pub(crate) fn set_daemon(&self, daemon: Daemon) {
        *lock(&self.daemon) = Some(daemon);
    }

    pub(crate) fn with_daemon<T>(&self, act: impl FnOnce(&mut Daemon) -> Result<T>) -> Result<T> {
        let mut daemon = lock(&self.daemon);
        act(daemon.as_mut().with_context(|| format!("{} does not run, or as a unit", self.kind))?)
    }
}
