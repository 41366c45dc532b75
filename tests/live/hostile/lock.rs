//! Users of the host at the lock, and a full /run.

use anyhow::{Context, Result, bail, ensure};
use lab::{Lab, Lan, Machine, until};

use crate::node::{BINARY, Node, PATIENCE};

const FOLDER: &str = "/run/macvlan-shim";
const MALLORY: [&str; 4] = ["setpriv", "--reuid=7002", "--regid=7002", "--clear-groups"];
/// Like the unit: a user of its own, with two capabilities.
const UNIT: [&str; 6] = [
    "setpriv",
    "--reuid=7077",
    "--regid=7077",
    "--clear-groups",
    "--inh-caps=-all,+net_admin,+net_broadcast",
    "--ambient-caps=-all,+net_admin,+net_broadcast",
];

/// Prints that it has the lock, and keeps it.
const HELD: &str = "echo held; exec sleep 1000";

/// A host on a LAN, without a server.
struct Bare {
    host: Machine,
    lock: String,
    _lan: Lan,
    _lab: Lab,
}

impl Bare {
    fn new() -> Result<Bare> {
        let lab = Lab::new()?;
        let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
        let host = lab.host("node")?;
        host.plug("eth0", &lan, &["192.168.77.11/24"])?;
        let inode = host.sh("stat -L -c %i /proc/self/ns/net")?;
        let lock = format!("{FOLDER}/{}.lock", inode.trim());
        Ok(Bare { host, lock, _lan: lan, _lab: lab })
    }

    fn as_user(&self, user: &[&str], command: &[&str]) -> Result<String> {
        self.host.run(&[user, command].concat())
    }

    fn mode(&self) -> Result<String> {
        Ok(self.host.sh(&format!("stat -c '%a %u' {}", self.lock))?.trim().to_owned())
    }

    /// Starts the daemon, which must come up, and ends it.
    fn runs(&self) -> Result<()> {
        let mut node = Node::start(&self.host)?;
        let Err(second) = self.host.run(&[BINARY, "cleanup"]) else { bail!("two at a time") };
        ensure!(format!("{second:#}").contains("already running in this network namespace"), "{second:#}");
        node.daemon.stop().map(drop)
    }
}

#[test]
fn no_user_can_hold_it() -> Result<()> {
    let bare = Bare::new()?;
    let hold = ["flock", "--nonblock", &bare.lock, "true"];
    bare.runs()?;
    ensure!(bare.mode()? == "600 0", "it is {}", bare.mode()?);
    ensure!(bare.as_user(&MALLORY, &hold).is_err(), "a user holds it");

    // A lock file of an earlier version was open to all, and somebody already holds it.
    bare.host.sh(&format!("chmod 644 {}", bare.lock))?;
    let hold = [&MALLORY[..], &["flock", &bare.lock, "sh", "-c", HELD]].concat();
    let holder = bare.host.spawn(&hold)?;
    holder.wait_line("held", PATIENCE)?;
    bare.runs()?;
    ensure!(bare.mode()? == "600 0", "it is {}", bare.mode()?);
    bare.runs()
}

#[test]
fn a_daemon_of_an_earlier_version_that_has_it_keeps_it() -> Result<()> {
    let bare = Bare::new()?;
    bare.host.sh(&format!("mkdir -p {FOLDER}; echo '77 0.0.9' > {0}; chmod 644 {0}", bare.lock))?;
    let earlier = bare.host.spawn(&["flock", &bare.lock, "sh", "-c", HELD])?;
    earlier.wait_line("held", PATIENCE)?;
    let Err(refused) = bare.host.run(&[BINARY, "cleanup"]) else { bail!("two at a time") };
    ensure!(format!("{refused:#}").contains("(pid 77, version 0.0.9, for "), "{refused:#}");
    Ok(())
}

#[test]
fn a_link_in_its_place_leads_nowhere() -> Result<()> {
    let bare = Bare::new()?;
    bare.host.sh(&format!(
        "mkdir -p {FOLDER}; echo precious > /etc/precious; ln -s /etc/precious {}",
        bare.lock
    ))?;
    bare.runs()?;
    ensure!(bare.host.sh("cat /etc/precious")? == "precious\n", "root has written through the link");
    Ok(())
}

#[test]
fn root_and_the_user_of_the_unit_take_turns() -> Result<()> {
    let bare = Bare::new()?;
    // As systemd makes it for the unit. A faulty configuration has kept the daemon from making its lock.
    bare.host.sh(&format!("mkdir -p {FOLDER}; chown 7077:7077 {FOLDER}"))?;
    bare.host.run(&[BINARY, "cleanup"])?;
    ensure!(bare.mode()? == "600 7077", "it is {}", bare.mode()?);
    bare.as_user(&UNIT, &[BINARY, "cleanup"]).context("root has shut the unit out")?;
    // Root's own file, as an earlier version left it.
    bare.host.sh(&format!("rm {0}; touch {0}; chmod 644 {0}", bare.lock))?;
    bare.as_user(&UNIT, &[BINARY, "cleanup"]).context("root's file has shut the unit out")?;
    ensure!(bare.mode()? == "600 7077", "it is {}", bare.mode()?);

    let user_runs = bare.host.spawn(&[&UNIT[..], &[BINARY, "run"]].concat())?;
    until(PATIENCE, "root gets an answer", || bare.host.verdict(&[BINARY, "status"]).is_ok())?;
    ensure!(bare.host.run(&[BINARY, "cleanup"]).is_err(), "two at a time");
    drop(user_runs);
    bare.runs()?;
    bare.as_user(&UNIT, &[BINARY, "cleanup"]).map(drop)
}

#[test]
fn a_full_run_keeps_nobody_from_starting_and_reloading() -> Result<()> {
    let bare = Bare::new()?;
    bare.host.sh(&format!(
        "mkdir -p {FOLDER}; mount -t tmpfs -o size=4k,mode=755 full {FOLDER}
         ! dd if=/dev/zero of={FOLDER}/filler bs=4k count=2 2>&1"
    ))?;
    ensure!(bare.host.run(&["sh", "-c", &format!("echo x > {FOLDER}/more")]).is_err(), "it is not full");
    let mut node = Node::start(&bare.host)?;
    node.daemon.wait_line("No space left on device", PATIENCE)?;
    let mark = node.daemon.mark();
    node.daemon.signal("HUP")?;
    node.daemon.wait_line_after(mark, "configuration reloaded", PATIENCE)?;
    node.wait("it is ready", |status| status["ready"] == true)?;
    node.daemon.stop()?;
    bare.runs()?;
    bare.host.run(&[BINARY, "cleanup"])?;

    // There is no room for one more file. Then there is no lock, and the error says so.
    bare.host.sh(&format!("umount {FOLDER}; mount -t tmpfs -o nr_inodes=1,mode=755 full {FOLDER}"))?;
    let Err(refused) = bare.host.run(&[BINARY, "run"]) else { bail!("it runs without a lock") };
    let refused = format!("{refused:#}");
    ensure!(
        refused.contains(&format!("cannot lock {}", bare.lock)) && refused.contains("df -i"),
        "{refused}"
    );
    bare.host.sh(&format!("umount {FOLDER}"))?;
    bare.runs()
}
