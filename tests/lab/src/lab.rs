//! The lab: all machines of one test or demo.

use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

use crate::machine::lock;
use crate::{Debian, Lan, Machine, Place, Share, lan};

/// A set of machines that end together, at the latest when this value is dropped or its process ends.
#[derive(Debug)]
pub struct Lab {
    machines: Mutex<Vec<Machine>>,
    _place: Place,
}

impl Lab {
    /// An empty lab, as soon as there is room for one more. A caller that has a lab must not wait for
    /// another.
    ///
    /// # Errors
    /// Fails unless root runs it, because tests of the lab must then fail, not skip.
    pub fn new() -> Result<Self> {
        Self::with(Share::One)
    }

    /// [`Lab::new`] for a story that must not run beside as many others as usual.
    ///
    /// # Errors
    /// As for [`Lab::new`].
    pub fn with(share: Share) -> Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
        let uid =
            status.lines().find_map(|l| l.strip_prefix("Uid:")).and_then(|l| l.split_whitespace().next());
        ensure!(uid == Some("0"), "the lab makes namespaces and runs LXD and Incus: run it as root");
        Ok(Self { machines: Mutex::default(), _place: Place::take(share)? })
    }

    /// Starts a machine with this host name, no links but the loopback, and a random machine id.
    ///
    /// # Errors
    /// With the output of the machine's init, if it does not come up.
    pub fn host(&self, name: &str) -> Result<Machine> {
        let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").context("random uuid")?;
        self.host_with_id(name, uuid.replace('-', "").trim())
    }

    /// Like [`Lab::host`], with this `/etc/machine-id`.
    ///
    /// # Errors
    /// As for [`Lab::host`].
    pub fn host_with_id(&self, name: &str, machine_id: &str) -> Result<Machine> {
        let machine = Machine::start(name, machine_id).with_context(|| format!("starting machine {name}"))?;
        lock(&self.machines).push(machine.clone());
        Ok(machine)
    }

    /// Installs a Debian with this host name, whose init is systemd. It is off, and has no links.
    ///
    /// # Errors
    /// If its root file system does not exist: `tests/lab/setup.sh debian` builds it.
    pub fn debian(&self, name: &str) -> Result<Debian> {
        Debian::install_on(self.host(name)?)
    }

    /// Starts a LAN: a machine with the bridge `br0` that owns the first address of both subnets, such as
    /// `192.168.77.0/24` and `fd77::/64`, and forwards. `""` leaves a family out.
    ///
    /// # Errors
    /// If a subnet cannot be parsed or the machine does not come up.
    pub fn lan(&self, ipv4: &str, ipv6: &str) -> Result<Lan> {
        let number = lock(&self.machines).len() + 1;
        lan::start(self.host(&format!("lan{number}"))?, ipv4, ipv6)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let machines = std::mem::take(&mut *lock(&self.machines));
        for machine in &machines {
            machine.hang_up();
        }
        for machine in &machines {
            machine.wait_for_end();
        }
    }
}
