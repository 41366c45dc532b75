//! A machine with a disk and a real systemd: boots, powers off, reboots.

use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{Daemon, Kind, Lan, Machine, Port, Server, eventually};

const SCRIPT: &str = include_str!("debian.sh");
/// The result of `setup.sh debian`; never written to.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/lab/root");
/// How long systemd may take to come up, or to shut down with all guests.
const PATIENCE: Duration = Duration::from_secs(90);

/// A Debian on its own disk. While it is on, it is a [`Machine`] with systemd as its init, networkd, udevd,
/// journald and LXD as `lxd.service`. Its files survive a reboot and end with the [`Lab`](crate::Lab). Of its
/// kernel state only the NICs survive, with their MACs.
///
/// It is quicker than a VM: half a second from power to `multi-user.target`. These are the differences from
/// one: the kernel is that of the real host, without modules; everything in `/proc/sys` except the network's
/// part cannot be written; units see `ConditionVirtualization=container`.
#[derive(Debug)]
pub struct Debian {
    /// Holds the disk, and ends with the lab.
    chassis: Machine,
    machine: Machine,
    power: Option<Daemon>,
    nics: Vec<Nic>,
}

#[derive(Debug)]
struct Nic {
    link: String,
    mac: String,
    lan: Lan,
    port: Option<Port>,
}

impl Debian {
    pub(crate) fn install_on(chassis: Machine) -> Result<Self> {
        let root =
            Path::new(ROOT).canonicalize().context("no root file system: run tests/lab/setup.sh debian")?;
        let name = chassis.name().to_owned();
        let debian = Self { machine: Machine::off(&name), chassis, power: None, nics: Vec::new() };
        let lower = root.display();
        debian.chassis.sh(&format!(
            "mkdir /run/lab/{{disk,root}}; mkfifo /run/lab/cables
             mount -t tmpfs -o mode=755 tmpfs /run/lab/disk; mkdir /run/lab/disk/{{upper,work}}
             mount -t overlay -o lowerdir={lower},upperdir=/run/lab/disk/upper,workdir=/run/lab/disk/work overlay /run/lab/root
             cp /etc/machine-id /etc/hostname /etc/hosts /run/lab/root/etc/"
        ))?;
        Ok(debian)
    }

    /// Adds a NIC and plugs it into a LAN. It is down and without addresses, because the system is
    /// responsible for those.
    ///
    /// # Errors
    /// If there is one of this name.
    pub fn nic(&mut self, link: &str, lan: &Lan) -> Result<()> {
        let [a, b, c, d] = self.chassis.pid().to_be_bytes();
        let mac = format!("02:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{:02x}", self.nics.len());
        let mut nic = Nic { link: link.to_owned(), mac, lan: lan.clone(), port: None };
        if self.power.is_some() {
            nic.plug(&self.machine)?;
        }
        self.nics.push(nic);
        Ok(())
    }

    /// The MAC of a NIC, which it keeps over a reboot.
    ///
    /// # Errors
    /// If there is no such NIC.
    pub fn nic_mac(&self, link: &str) -> Result<String> {
        let nic = self.nics.iter().find(|nic| nic.link == link);
        Ok(nic.with_context(|| format!("{} has no NIC {link}", self.chassis.name()))?.mac.clone())
    }

    /// Writes a file of the disk, on or off, and makes the folders that lead to it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.make_way(path)?, text)?)
    }

    /// Copies an executable file onto the disk, on or off.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn install(&self, file: impl AsRef<Path>, path: &str) -> Result<()> {
        let (file, to) = (file.as_ref(), self.make_way(path)?);
        // Not by us, for the same reason as in `Machine::write_program`.
        let output = Command::new("install").arg("--mode=755").arg(file).arg(&to).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn make_way(&self, path: &str) -> Result<PathBuf> {
        let outside = self.chassis.path("/run/lab/root").join(path.trim_start_matches('/'));
        std::fs::create_dir_all(outside.parent().context("a file has a folder")?)?;
        Ok(outside)
    }

    /// Turns it on and waits until all units of its default target are started.
    ///
    /// # Errors
    /// If it is on, or with the failed units.
    pub fn boot(&mut self) -> Result<()> {
        ensure!(self.power.is_none(), "{} is on already", self.chassis.name());
        let mut command = self.chassis.command("bash");
        command.args(["-c", "eval \"$LAB_SCRIPT\"", "lab", "power", &self.chassis.cgroup()?]);
        command.env("LAB_SCRIPT", SCRIPT);
        let power = self.power.insert(self.chassis.daemon(command)?);
        power.wait_line("ready", PATIENCE)?;
        self.machine.set_pid(only_child(power.outside_pid().context("it ended at once")?)?);
        for nic in &mut self.nics {
            nic.plug(&self.machine)?;
        }
        self.chassis.sh("echo >/run/lab/cables")?;
        // systemd 252 does not wait if it cannot be asked yet.
        let state = eventually(PATIENCE, || {
            let state = self.machine.sh("systemctl is-system-running --wait || true")?;
            ensure!(["running", "degraded"].contains(&state.trim()), "systemd's state is {state}");
            Ok(state)
        })?;
        if state.trim() == "degraded" {
            bail!(
                "{}",
                self.machine.sh("systemctl --no-pager --failed; journalctl --no-pager -b -p warning")?
            );
        }
        Ok(())
    }

    /// Shuts it down cleanly: `systemctl poweroff`.
    ///
    /// # Errors
    /// If it is off, or does not go off.
    pub fn power_off(&mut self) -> Result<()> {
        self.machine.run(&["systemctl", "poweroff"])?;
        let end = self.wait_for_end()?;
        ensure!(end.signal() == Some(2), "not a power-off: {end}"); // reboot(2) in a PID namespace
        Ok(())
    }

    /// Shuts it down cleanly and boots it again: `systemctl reboot`.
    ///
    /// # Errors
    /// If it is off, does not go off, or as for [`Debian::boot`].
    pub fn reboot(&mut self) -> Result<()> {
        self.machine.run(&["systemctl", "reboot"])?;
        let end = self.wait_for_end()?;
        ensure!(end.signal() == Some(1), "not a reboot: {end}");
        self.boot()
    }

    fn wait_for_end(&mut self) -> Result<ExitStatus> {
        let end = self.power.as_mut().context("it is off")?.wait(PATIENCE)?;
        self.power = None;
        self.machine.set_pid(0);
        for port in self.nics.iter_mut().filter_map(|nic| nic.port.take()) {
            // The kernel removes both ends, but in its own time. Either may go first.
            let _ = port.unplug();
        }
        Ok(end)
    }

    /// Starts units and waits until they are up.
    ///
    /// # Errors
    /// With their part of the journal.
    pub fn start(&self, units: &[&str]) -> Result<()> {
        let started = self.machine.run(&[&["systemctl", "start"], units].concat());
        started.with_context(|| self.journal(units))?;
        Ok(())
    }

    /// Waits until a unit is in a state, such as `active` or `failed`.
    ///
    /// # Errors
    /// With its part of the journal, if it is not within 90 s.
    pub fn wait_unit(&self, unit: &str, state: &str) -> Result<()> {
        let waited = eventually(PATIENCE, || {
            let is = self.machine.sh(&format!("systemctl is-active {unit} || true"))?;
            ensure!(is.trim() == state, "{unit} is {is}");
            Ok(())
        });
        waited.with_context(|| self.journal(&[unit]))
    }

    /// The journal of units since the boot.
    #[must_use]
    pub fn journal(&self, units: &[&str]) -> String {
        let units = units.iter().flat_map(|unit| ["-u", unit]);
        let command: Vec<_> =
            ["journalctl", "--no-pager", "-b", "-o", "short-precise"].into_iter().chain(units).collect();
        self.machine.run(&command).unwrap_or_else(|error| format!("no journal: {error:#}"))
    }

    /// Starts `lxd.service`, prepared as by [`Machine::lxd`]. The daemon belongs to the unit, so stop it with
    /// `systemctl`.
    ///
    /// # Errors
    /// With its journal.
    pub fn lxd(&self) -> Result<Server> {
        self.server(Kind::Lxd)
    }

    /// [`Debian::lxd`] or, after [`Debian::install_incus`], `incus.service`.
    ///
    /// # Errors
    /// With its journal.
    pub fn server(&self, kind: Kind) -> Result<Server> {
        self.start(&[kind.unit()])?;
        Server::started(&self.machine, kind)
    }

    /// Installs Incus from its packages, which come with the root file system.
    ///
    /// # Errors
    /// With apt's output.
    pub fn install_incus(&self) -> Result<()> {
        self.apt("install --no-install-recommends /var/lib/lab/incus/*.deb")
    }

    /// Installs the tool `rpm` in the same way.
    ///
    /// # Errors
    /// With apt's output.
    pub fn install_rpm(&self) -> Result<()> {
        self.apt("install --no-install-recommends /var/lib/lab/rpm/*.deb")
    }

    /// Runs `apt-get`, which finds only packages on the disk, because there is no way to an archive.
    ///
    /// # Errors
    /// With its output.
    pub fn apt(&self, arguments: &str) -> Result<()> {
        let options = "-q -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold";
        self.machine.sh(&format!("DEBIAN_FRONTEND=noninteractive apt-get {options} {arguments} 2>&1"))?;
        Ok(())
    }
}

impl Deref for Debian {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

impl Nic {
    fn plug(&mut self, machine: &Machine) -> Result<()> {
        self.port = Some(machine.cable(&self.link, &self.lan, &format!("address {}", self.mac))?);
        Ok(())
    }
}

/// The child that `unshare` has made is PID 1.
fn only_child(pid: u32) -> Result<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    children.trim().parse().with_context(|| format!("unshare has the children `{children}`"))
}
