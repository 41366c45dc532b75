//! A machine: its nature, the programs in it, and its end.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::{Lab, Machine, until};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_machine_looks_like_a_fresh_host() -> Result<()> {
    let lab = Lab::new()?;
    let (one, two) = (lab.host("one")?, lab.host("two")?);
    one.sh("[ $(hostname) = one ] && [ $HOME = /run/lab/home ] && [ ! -e /run/netns ] && ip netns add x")?;
    one.sh(
        "touch /etc/macvlan-shim/config.toml; echo 1 >/proc/sys/net/ipv4/ip_forward; mkdir /var/lib/mine",
    )?;
    two.sh("[ ! -e /etc/macvlan-shim/config.toml ] && [ ! -e /run/netns/x ] && [ ! -e /var/lib/mine ]")?;
    ensure!(!std::path::Path::new("/etc/macvlan-shim/config.toml").exists(), "seen from the real host");
    ensure!(one.sh("ls /sys/class/net")? == "lo\n");
    ensure!(one.run(&["cat", "/etc/machine-id"])? != two.run(&["cat", "/etc/machine-id"])?);
    one.sh("(sleep 0.1 & ) ; sleep 0.3; ! ps -e -o stat= | grep Z")?;
    Ok(())
}

#[test]
fn an_error_says_everything_that_is_known() -> Result<()> {
    let lab = Lab::new()?;
    let error =
        lab.host("one")?.sh("echo to stdout; echo to stderr >&2; exit 3").err().context("no error")?;
    let text = format!("{error:#}");
    for part in ["one: `echo", "exited with 3", "stdout: to stdout", "stderr: to stderr"] {
        ensure!(text.contains(part), "no `{part}` in: {text}");
    }
    Ok(())
}

#[test]
fn daemons_get_signals_and_lines_arrive() -> Result<()> {
    let lab = Lab::new()?;
    let machine = lab.host("one")?;
    let script = "trap 'echo hup' HUP; trap 'echo term; exit 7' TERM; echo up; while :; do sleep 0.02; done";
    let mut daemon = machine.spawn(&["bash", "-c", script])?;
    daemon.wait_line("up", SOON)?;
    let mark = daemon.mark();
    daemon.signal("STOP")?;
    daemon.signal("HUP")?;
    ensure!(daemon.wait_line_after(mark, "hup", Duration::from_millis(100)).is_err(), "ran on after SIGSTOP");
    daemon.signal("CONT")?;
    daemon.wait_line_after(mark, "hup", SOON)?;
    machine.sh(&format!("kill -0 {}", daemon.pid().context("no pid")?))?;
    ensure!(daemon.stop()?.code() == Some(7));
    ensure!(daemon.output() == ["up", "hup", "term"]);
    ensure!(daemon.signal("HUP").is_err());

    let mut killed = machine.spawn(&["sleep", "98765"])?;
    killed.signal("STOP")?;
    ensure!(killed.kill()?.signal() == Some(9));
    let dropped = machine.spawn(&["sleep", "98765"])?;
    drop(dropped);
    let mut child = machine.command("sleep").arg("98765").spawn()?;
    until(SOON, "sleep runs", || machine.ok("pgrep -f '^sleep 98765'"))?;
    child.kill()?;
    child.wait()?;
    until(SOON, "none is left", || !machine.ok("pgrep -f '^sleep 98765'"))
}

#[test]
fn cables_lose_their_carrier_and_are_unplugged() -> Result<()> {
    let lab = Lab::new()?;
    let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
    let host = lab.host("host-of-long-name")?;
    let port = host.plug("eth0", &lan, &["192.168.77.11/24", "fd77::11/64"])?;
    let capture = host.capture("eth0", "arp or icmp6")?;
    ensure!(lan.pings([192, 168, 77, 11]));
    capture.wait_line("who-has 192.168.77.11", SOON)?;
    ensure!(capture.stop()?.iter().all(|l| l.contains("ARP") || l.contains("ICMP6")));
    ensure!(host.sh("ip route; ip -6 route")?.matches("default via").count() == 2);
    port.carrier(false)?;
    until(SOON, "no carrier", || host.ok("ip link show eth0 | grep -q NO-CARRIER"))?;
    port.carrier(true)?;
    ensure!(lan.reaches([192, 168, 77, 11], SOON));
    port.unplug()?;
    host.sh("! ip link show eth0")?;
    Ok(())
}

#[test]
fn nothing_is_left_of_a_lab_whatever_ends_it() -> Result<()> {
    Lab::new()?; // root?
    for signal in ["KILL", "INT"] {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", "a_lab_to_be_killed", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let line = lines.find_map(|l| l.ok()?.split_once("LAB ").map(|(_, rest)| rest.to_owned()));
        let line = line.context("the child's lab did not come up")?;
        let [name, netns, booted] = line.split(' ').collect::<Vec<_>>()[..] else { bail!("it said {line}") };
        ensure!(!cgroups(name)?.is_empty() && in_netns(netns)?.len() > 2, "not there before: {line}");
        ensure!(in_netns(booted)?.len() > 5, "no systemd before: {line}");
        ensure!(
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status()?.success()
        );
        child.wait()?;
        until(SOON, "no process is left in the machines' networks", || {
            [netns, booted].iter().all(|netns| in_netns(netns).is_ok_and(|p| p.is_empty()))
        })?;
        until(SOON, "no cgroup is left", || cgroups(name).is_ok_and(|c| c.is_empty()))?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        ensure!(!mounts.contains("/run/lab"), "a mount is left");
    }
    Ok(())
}

#[test]
#[ignore = "run by nothing_is_left_of_a_lab_whatever_ends_it"]
fn a_lab_to_be_killed() -> Result<()> {
    let lab = Lab::new()?;
    let name = format!("gone{}", std::process::id());
    let host = lab.host(&name)?;
    let lxd = host.lxd()?;
    lxd.launch("c1", &[])?;
    lxd.launch("paused", &[])?.pause()?;
    let mut debian = lab.debian(&format!("{name}-debian"))?;
    debian.boot()?;
    let netns = |machine: &Machine| machine.run(&["readlink", "/proc/self/ns/net"]);
    println!("LAB {name} {} {}", netns(&host)?.trim(), netns(&debian)?.trim());
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

fn cgroups(machine: &str) -> Result<Vec<String>> {
    let name = format!("mvlab-*-{machine}*");
    let output = Command::new("find").args(["/sys/fs/cgroup", "-maxdepth", "2", "-name", &name]).output()?;
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

fn in_netns(netns: &str) -> Result<BTreeSet<String>> {
    let mut pids = BTreeSet::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        if std::fs::read_link(path.join("ns/net")).is_ok_and(|link| link.to_string_lossy() == netns) {
            pids.insert(path.to_string_lossy().into_owned());
        }
    }
    Ok(pids)
}

/// Its `nsenter` stops with it, and the machine cannot end before that has reaped it.
#[test]
fn a_machine_with_a_stopped_program_ends_too() -> Result<()> {
    let lab = Lab::new()?;
    let machine = lab.host("one")?;
    let mut stopped = machine.spawn(&["sleep", "98765"])?;
    stopped.signal("STOP")?;
    let pid = stopped.outside_pid().context("no pid")?;
    until(SOON, "its nsenter has stopped too", || {
        let parent = format!("ps -o stat= -p $(ps -o ppid= -p {pid})");
        Command::new("sh").args(["-c", &parent]).output().is_ok_and(|out| out.stdout.starts_with(b"T"))
    })?;
    let end = std::thread::spawn(move || machine.end());
    until(SOON, "the machine has ended", || end.is_finished())?;
    Ok(())
}
