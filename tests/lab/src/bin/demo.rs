//! `make demo`: shows the project to somebody who has never seen it, on a LAN of namespaces with a real LXD.
//! Everything happens in namespaces that end with this program.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Guest, Lab, Machine, eventually};

const HOST: &str = "192.168.100.62";
const HOST_V6: &str = "fd64::62";
const PEER: &str = "192.168.100.61";
const MINUTE: Duration = Duration::from_secs(60);

const PICTURE: &str = "
      the LAN 192.168.100.0/24, fd64::/64 (a bridge in a namespace, with DHCP and router advertisements)
  ────────────┬──────────────────────────────────┬──────────────
              │                                  │
       eth0 192.168.100.61                eth0 192.168.100.62
       ┌──────┴──────┐                    ┌──────┴───────────────────────┐
       │ lxd1        │                    │ lxd2      │ macvlan          │
       │ another     │                    │        ┌──┴───────────┐      │
       │ machine     │                    │        │ guest test1  │      │
       └─────────────┘                    │        └──────────────┘      │
                                          └──────────────────────────────┘
";

fn main() -> Result<()> {
    let binary = std::env::args().nth(1).context("usage: demo PATH-OF-macvlan-shim")?;
    let binary =
        std::fs::canonicalize(&binary).with_context(|| format!("{binary} is not there; run make build"))?;
    let before = traces()?;
    show(&binary)?;
    chapter("What is left behind on this machine");
    let left: Vec<String> = traces()?.difference(&before).cloned().collect();
    ensure!(left.is_empty(), "something is left behind: {left:#?}");
    println!("  nothing: no namespace, no process, no interface, no mount, no cgroup");
    Ok(())
}

fn show(binary: &Path) -> Result<()> {
    let binary = binary.to_str().context("the path is no text")?;
    chapter("A LAN, a host with a real LXD, and another machine");
    println!("{PICTURE}");
    let lab = Lab::new()?;
    let lan = lab.lan("192.168.100.0/24", "fd64::/64")?;
    lan.dhcp()?;
    let peer = lab.host("lxd1")?;
    peer.plug("eth0", &lan, &["192.168.100.61/24", "fd64::61/64"])?;
    let host = lab.host("lxd2")?;
    host.plug("eth0", &lan, &["192.168.100.62/24", "fd64::62/64"])?;
    let lxd = host.lxd()?;
    let version = lxd.get("/1.0")?;
    println!("  LXD {} runs on lxd2", version["environment"]["server_version"].as_str().unwrap_or("?"));

    chapter("A guest on a macvlan NIC, with profiles/macvlan.yaml");
    lxd.profile("macvlan", include_str!("../../../../profiles/macvlan.yaml"))?;
    println!("lxd2# lxc launch bb test1 --profile default --profile macvlan");
    let guest = lxd.launch("test1", &["--profile", "default", "--profile", "macvlan"])?;
    let (v4, v6) = (IpAddr::from(guest.ipv4("eth0")?), IpAddr::from(guest.ipv6("eth0")?));
    println!("  it got {v4} by DHCP and {v6} by SLAAC, like any machine of the LAN");

    chapter("Without macvlan-shim: the whole LAN reaches the guest, only its own host does not");
    expect(true, &peer, v4)?;
    expect(false, &host, v4)?;
    expect(false, &host, v6)?;
    expect(false, &guest, HOST.parse()?)?;

    chapter("The daemon starts, with no configuration");
    println!("lxd2# macvlan-shim run");
    let mut daemon = host.spawn(&[binary, "run"])?;
    eventually(MINUTE, || {
        let status = host.verdict(&[binary, "status", "--json"])?;
        let routed = status.matches("\"routed\"").count();
        ensure!(routed == 2, "{routed} of 2 addresses are routed:\n{}", daemon.output().join("\n"));
        Ok(())
    })?;
    daemon.output().iter().for_each(|line| println!("  {line}"));

    chapter("With it: host and guest reach each other, at their ordinary addresses, over IPv4 and IPv6");
    expect(true, &host, v4)?;
    expect(true, &host, v6)?;
    expect(true, &guest, HOST.parse()?)?;
    expect(true, &guest, HOST_V6.parse()?)?;
    println!("  and for the rest of the LAN nothing has changed:");
    expect(true, &peer, v4)?;
    expect(true, &peer, HOST.parse()?)?;
    expect(true, &guest, PEER.parse()?)?;

    chapter("What the daemon says");
    println!("lxd2# macvlan-shim status");
    print!("{}", indented(&host.run(&[binary, "status"])?));
    println!("lxd2# ip route show proto 77; ip -6 route show proto 77");
    print!("{}", indented(&host.sh("ip route show proto 77; ip -6 route show proto 77")?));

    chapter("The guest goes, and everything that was made for it goes too");
    println!("lxd2# lxc delete --force test1");
    guest.delete()?;
    let left = "ip -o link show group 7173; ip route show proto 77; ip -6 route show proto 77";
    eventually(MINUTE, || {
        let left = host.sh(left)?;
        ensure!(left.is_empty(), "still there: {left}");
        Ok(())
    })?;
    println!("lxd2# ip link show group 7173; ip route show proto 77; ip -6 route show proto 77");
    println!("  (nothing)");
    daemon.stop()?;
    println!("lxd2# macvlan-shim cleanup --dry-run");
    print!("{}", indented(&host.run(&[binary, "cleanup", "--dry-run"])?));
    Ok(())
}

fn chapter(title: &str) {
    println!("\n── {title}");
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Something that can ping: a machine or a guest.
trait Pings {
    fn name(&self) -> &str;
    fn ping(&self, to: IpAddr, within: Duration) -> bool;
}

impl Pings for Machine {
    fn name(&self) -> &str {
        self.name()
    }
    fn ping(&self, to: IpAddr, within: Duration) -> bool {
        self.reaches(to, within)
    }
}

impl Pings for Guest {
    fn name(&self) -> &str {
        self.name()
    }
    fn ping(&self, to: IpAddr, within: Duration) -> bool {
        self.reaches(to, within)
    }
}

/// Pings, shows the outcome, and fails unless it is as expected. An answer may take as long as the kernels'
/// ARP retries do, because they asked in vain a moment ago.
fn expect(answer: bool, from: &impl Pings, to: IpAddr) -> Result<()> {
    let answers = from.ping(to, Duration::from_secs(if answer { 5 } else { 1 }));
    let shown = if answers { "answers" } else { "NO ANSWER" };
    println!("  {:<42} {shown}", format!("{}# ping {to}", from.name()));
    ensure!(answers == answer, "and that should not be so");
    Ok(())
}

/// Everything that a run could leave on its machine. Labs of other processes that are still at work do not
/// count.
fn traces() -> Result<BTreeSet<String>> {
    let script = "ls -d /run/netns/* /sys/class/net/* 2>/dev/null; cat /proc/mounts; ip rule; \
                  ip -4 route show table all proto 77; ip -6 route show table all proto 77; \
                  for c in /sys/fs/cgroup/mvlab-* /sys/fs/cgroup/*/mvlab-*; do \
                    owner=${c##*/mvlab-}; [ ! -d \"$c\" ] || [ -d /proc/${owner%%-*} ] || echo \"$c\"; \
                  done";
    let output = std::process::Command::new("sh").args(["-c", script]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
