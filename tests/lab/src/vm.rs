//! A machine with its own kernel: Debian's, in a VM.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::machine::lock;
use crate::{Daemon, Lan, eventually, image};

/// Builds the disk and starts QEMU.
const START: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vm.sh");
/// Runs the lab's scripts.
const SHELL: &str = include_str!("vm_shell.sh");
const SHELL_UNIT: &str = "[Service]\nEnvironment=HOME=/root\nExecStart=/usr/local/sbin/lab-shell\n";
/// An emulated machine is 10 to 30 times slower than a real one. It takes 15 s to boot, and 5 to shut down.
const PATIENCE: Duration = Duration::from_secs(300);

/// A Debian like [`Debian`](crate::Debian), but as a complete machine: under Debian's own kernel with its
/// modules, with cgroup v2, a disk, and a virtio NIC `eth0` on a LAN. It is emulated, and therefore slow. It
/// ends with the LAN.
#[derive(Debug)]
pub struct Vm {
    name: String,
    lan: Lan,
    on: Option<On>,
}

#[derive(Debug)]
struct On {
    qemu: Daemon,
    /// The connection to the shell.
    line: Mutex<BufReader<UnixStream>>,
}

impl Vm {
    /// The MAC of its NIC.
    pub const MAC: &str = "02:77:6d:00:00:01";
    /// The path of the guests' image on its disk, for `lxc image import`.
    pub const IMAGE: &str = "/var/lib/lab/guest.tar";

    pub(crate) fn install_on(lan: &Lan, name: &str) -> Result<Self> {
        let vm = Self { name: name.to_owned(), lan: lan.clone(), on: None };
        vm.write("/etc/hostname", &format!("{name}\n"))?;
        vm.write("/etc/hosts", &format!("127.0.0.1 localhost {name}\n::1 localhost {name}\n"))?;
        let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        vm.write("/etc/machine-id", &uuid.replace('-', ""))?;
        // All its devices are its own.
        vm.write("/etc/systemd/system/systemd-udev-trigger.service.d/lab.conf", "")?;
        vm.write("/usr/local/sbin/lab-shell", SHELL)?;
        std::fs::set_permissions(vm.file("/usr/local/sbin/lab-shell"), PermissionsExt::from_mode(0o755))?;
        vm.write("/etc/systemd/system/lab-shell.service", SHELL_UNIT)?;
        let wanted = vm.make_way("/etc/systemd/system/multi-user.target.wants/lab-shell.service")?;
        symlink("../lab-shell.service", wanted)?;
        std::fs::write(vm.make_way(Self::IMAGE)?, image::archive()?)?;
        Ok(vm)
    }

    /// Writes a file of the disk before it is turned on for the first time.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.make_way(path)?, text)?)
    }

    /// Copies a file onto the disk before it is turned on for the first time.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn copy(&self, file: &Path, path: &str) -> Result<()> {
        std::fs::copy(file, self.make_way(path)?).with_context(|| file.display().to_string())?;
        Ok(())
    }

    /// Turns it on and waits until it runs scripts. Units may still be starting.
    ///
    /// # Errors
    /// With its console.
    pub fn boot(&mut self) -> Result<()> {
        ensure!(self.on.is_none(), "{} is on already", self.name);
        let (folder, tap) = (self.folder(), &self.name);
        self.lan.sh(&format!(
            "ip tuntap add {tap} mode tap; ip link set {tap} master br0 addrgenmode none; ip link set {tap} up"
        ))?;
        let mut command = self.lan.command(START);
        command
            .args([folder.as_str(), "quiet", "-serial"])
            .arg(format!("unix:{folder}/line,server=on,wait=off"));
        command.args(["-netdev", &format!("tap,id=lan,ifname={tap},script=no,downscript=no")]);
        command.args(["-device", &format!("virtio-net-pci,netdev=lan,mac={}", Self::MAC)]);
        let mut qemu = self.lan.daemon(command)?;
        let line = eventually(PATIENCE, || {
            ensure!(qemu.is_running(), "QEMU ended:\n{}", qemu.output().join("\n"));
            Ok(UnixStream::connect(self.lan.path(&format!("{folder}/line")))?)
        })?;
        line.set_read_timeout(Some(PATIENCE))?;
        self.on = Some(On { qemu, line: Mutex::new(BufReader::new(line)) });
        self.wait_until_ready()
    }

    /// Shuts it down cleanly and lets it boot again, as [`Vm::boot`] does: `systemctl reboot`.
    ///
    /// # Errors
    /// With its console.
    pub fn reboot(&self) -> Result<()> {
        self.send(&mut *self.line()?, "systemctl reboot")?;
        self.wait_until_ready()
    }

    /// Runs a bash script, which ends at its first failing command, and returns its stdout.
    ///
    /// # Errors
    /// If it fails or takes longer than five minutes. The error has its status, stdout and stderr.
    pub fn sh(&self, script: &str) -> Result<String> {
        let (status, stdout, stderr) = self.ask(script).with_context(|| self.console())?;
        ensure!(
            status == 0,
            "{}: `{script}` exited with {status}\nstdout: {}\nstderr: {}",
            self.name,
            stdout.trim_end(),
            stderr.trim_end()
        );
        Ok(stdout)
    }

    /// Whether a bash script succeeds.
    #[must_use]
    pub fn ok(&self, script: &str) -> bool {
        self.sh(script).is_ok()
    }

    /// Whether one ping is answered within two seconds.
    #[must_use]
    pub fn pings(&self, address: impl Into<IpAddr>) -> bool {
        self.ok(&format!("ping -n -q -c 1 -W 2 {}", address.into()))
    }

    /// The output of its console since it was turned on.
    #[must_use]
    pub fn console(&self) -> String {
        self.on.as_ref().map(|on| on.qemu.output().join("\n")).unwrap_or_default()
    }

    fn wait_until_ready(&self) -> Result<()> {
        let line = &mut *self.line()?;
        while next_line(line).with_context(|| self.console())? != "ready" {}
        Ok(())
    }

    fn ask(&self, script: &str) -> Result<(u8, String, String)> {
        let line = &mut *self.line()?;
        self.send(line, script)?;
        let answer = next_line(line)?;
        let mut numbers = answer.split(' ');
        let mut number = || numbers.next()?.parse::<u64>().ok();
        let (status, stdout, stderr) = (number(), number(), number());
        let mut text = |size: Option<u64>| {
            let mut text = Vec::new();
            line.take(size.with_context(|| answer.clone())?).read_to_end(&mut text)?;
            anyhow::Ok(String::from_utf8_lossy(&text).into_owned())
        };
        let (stdout, stderr) = (text(stdout)?, text(stderr)?);
        Ok((u8::try_from(status.context("no status")?)?, stdout, stderr))
    }

    fn send(&self, line: &mut BufReader<UnixStream>, script: &str) -> Result<()> {
        let written = write!(line.get_mut(), "{}\n{script}", script.len());
        written.with_context(|| self.console())
    }

    fn line(&self) -> Result<MutexGuard<'_, BufReader<UnixStream>>> {
        Ok(lock(&self.on.as_ref().with_context(|| format!("{} is off", self.name))?.line))
    }

    /// All of it, in the LAN's files.
    fn folder(&self) -> String {
        format!("/run/lab/{}", self.name)
    }

    fn file(&self, path: &str) -> PathBuf {
        self.lan.path(&format!("{}/files{path}", self.folder()))
    }

    fn make_way(&self, path: &str) -> Result<PathBuf> {
        let file = self.file(path);
        std::fs::create_dir_all(file.parent().context("a file has a folder")?)?;
        Ok(file)
    }
}

fn next_line(line: &mut BufReader<UnixStream>) -> Result<String> {
    let mut text = String::new();
    let size = line.read_line(&mut text)?;
    ensure!(size > 0, "it went off");
    Ok(text.trim_end().to_owned())
}
