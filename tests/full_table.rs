//! A guest fills the neighbour tables that all network namespaces of the machine share. Nothing else may run
//! meanwhile, so each of these stories takes the whole lab. They are a program of their own, which runs
//! before everything that would have to wait for them. The real binary with a real LXD; needs root.

#[path = "live/node.rs"]
#[expect(dead_code, reason = "other stories need more of it")]
mod node;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Crowd, Guest, Kind, Share, eventually};

use node::{BINARY, HOST, HOST_V6, Node, PATIENCE, Site, ours, routes, stood};

/// The addresses of the LAN machine, which the host has never met.
const PEER: [&str; 2] = ["192.168.77.12", "fd77::12"];

/// How long the tables may stay full after the crowd has left. It takes less than a second where nothing else
/// runs.
const EMPTIED: Duration = Duration::from_secs(10);

/// A site whose tables are full. They are emptied before it ends.
struct Story {
    crowd: Crowd,
    node: Node,
    guest: Guest,
    full: Instant,
    site: Site,
}

impl Story {
    /// `at_first` runs before the daemon starts.
    fn new(config: &str, at_first: impl FnOnce(&Site) -> Result<()>) -> Result<Story> {
        let site = Site::with(Kind::Lxd, Share::All)?;
        at_first(&site)?;
        let node = Node::start_with(&site.host, config)?;
        let hostile = site.launch_static("hostile", &[])?;
        hostile
            .sh("ip link add crowd type bridge; ip link set crowd up; ip addr add 10.98.0.1/16 dev crowd")?;
        hostile.sh("ip addr add fd98::1/64 dev crowd")?;
        let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
        guest.sh("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad")?;
        node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
        node.wait_both_ways(&guest, "fd77::101".parse::<IpAddr>()?, HOST_V6)?;
        ensure!(all_problems(&node)?.is_empty(), "{:#}", node.status()?);
        know_the_host(&site, &guest)?;
        site.host.sh("ip neigh flush dev eth0; ip -6 neigh flush dev eth0")?;
        let crowd = fill(&site, &hostile)?;
        Ok(Story { crowd, node, guest, full: Instant::now(), site })
    }

    /// The host can no longer reach a neighbour that it does not know.
    fn is_full(&self) -> Result<()> {
        (0..2).try_for_each(|family| refused(&self.site, family))
    }

    /// The problem with the table of a family. It appears after the next reading of the host. A reload causes
    /// one.
    fn problem(&mut self, family: &str) -> Result<serde_json::Value> {
        self.node.daemon.signal("HUP")?;
        eventually(PATIENCE, || {
            let mut problems = all_problems(&self.node)?.into_iter();
            problems.find(|problem| problem["object"] == family).context("there is no problem")
        })
    }

    /// The crowd leaves. Then the tables are as before, and so is the daemon.
    fn empty(mut self) -> Result<(Site, Node, Guest)> {
        self.is_full()?;
        let (full, refusals, end) = (self.full.elapsed(), self.crowd.refusals(), Instant::now());
        self.crowd.leave()?;
        eventually(EMPTIED, || {
            let said = (0..2).map(|family| ask(&self.site, family)).collect::<Result<Vec<_>>>()?;
            ensure!(said.iter().all(String::is_empty), "{said:?}");
            Ok(())
        })?;
        let left = end.elapsed();
        println!("the tables were full for {full:?}, refused {refusals:?}, and were emptied in {left:?}");
        eventually(PATIENCE, || {
            self.node.daemon.signal("HUP")?;
            let problems = all_problems(&self.node)?;
            ensure!(problems.is_empty(), "{problems:#?}");
            Ok(())
        })?;
        Ok((self.site, self.node, self.guest))
    }
}

/// Every namespace of this machine has a share of the tables. If the peer were a machine of its own, its own
/// table would still know the host. The same holds for a guest that the host talks to.
fn know_the_host(site: &Site, guest: &Guest) -> Result<()> {
    let mac = |link: &str| site.host.sh(&format!("cat /sys/class/net/{link}/address"));
    let (eth0, shim) = (mac("eth0")?, mac("mvs-eth0")?);
    for address in site.host.sh("ip -o addr show dev eth0 | awk '{print $4}' | cut -d/ -f1")?.lines() {
        let know = |mac: &str| format!("ip neigh replace {address} lladdr {mac} dev eth0 nud permanent");
        site.peer.sh(&know(eth0.trim()))?;
        site.host.sh(&format!("nsenter -t {} -n {}", guest.pid()?, know(shim.trim())))?;
    }
    Ok(())
}

fn fill(site: &Site, hostile: &Guest) -> Result<Crowd> {
    let mut crowd = hostile.crowd("crowd")?;
    crowd.wait_full(PATIENCE)?;
    eventually(PATIENCE, || (0..2).try_for_each(|family| refused(site, family)))?;
    Ok(crowd)
}

/// The answer to the host when it asks for an address that nobody asked for before. Without `nud none` it
/// would mean a permanent entry, which is exempt.
fn ask(site: &Site, family: usize) -> Result<String> {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let last = 120 + NEXT.fetch_add(1, Ordering::Relaxed) % 80;
    let address = [format!("192.168.77.{last}"), format!("fd77::{last}")];
    site.host.sh(&format!("ip neigh replace {} dev eth0 nud none use 2>&1 || true", address[family]))
}

fn refused(site: &Site, family: usize) -> Result<()> {
    let said = ask(site, family)?;
    ensure!(said.contains("No buffer space"), "the table takes one more entry: {said}");
    Ok(())
}

fn all_problems(node: &Node) -> Result<Vec<serde_json::Value>> {
    let status = node.status()?;
    let problems = status["problems"].as_array().context("no problems")?.iter();
    Ok(problems.filter(|problem| problem["code"] == "neighbour-table-full").cloned().collect())
}

/// The entries that questions have made on the parent. Each bears our mark, or the kernel never collects it.
fn questions(site: &Site) -> Result<String> {
    site.host.sh("ip neigh show dev eth0 nud all | grep -e 'proto 77' -e extern_learn || true")
}

#[test]
fn a_full_table_does_not_give_a_lan_machines_address_to_a_guest() -> Result<()> {
    let mut story = Story::new("", |_| Ok(()))?;
    let Story { site, node, guest, .. } = &story;
    let watch = site.host.monitor(&["ip", "-ts", "monitor", "route"])?;
    for (address, length) in [(PEER[0], 24), (PEER[1], 64)] {
        story.is_full()?;
        guest.sh(&format!("ip addr add {address}/{length} dev eth0"))?;
        eventually(PATIENCE, || {
            let entry = node.wait_address(guest, address.parse::<IpAddr>()?, "refused")?;
            ensure!(entry["reason"] == "held-on-lan", "{entry:#}");
            Ok(())
        })?;
        let way = site.host.sh(&format!("ip route get {address}"))?;
        ensure!(way.contains("dev eth0"), "the host's traffic for {address} goes the wrong way: {way}");
        // The question has made the entry for the host's own way to that machine.
        let reached = site.host.reaches(address.parse::<IpAddr>()?, PATIENCE);
        ensure!(
            reached,
            "the host lost {address}: {}\n{}",
            site.host.sh("ip neigh show nud all dev eth0")?,
            node.picture()?
        );
    }
    let stood = stood(&watch, PEER[0])?;
    println!("the host had a route to the guest for {stood:.1} ms");
    // From then on the NIC was distrusted.
    ensure!(!watch.output().iter().any(|line| line.contains(PEER[1])), "{:#?}", watch.output());
    for (family, folder) in [("IPv4", "ipv4"), ("IPv6", "ipv6")] {
        let text = story.problem(family)?.to_string();
        println!("{text}");
        ensure!(text.contains(&format!("net.{folder}.neigh.default.gc_thresh3")), "{text}");
        ensure!(text.contains("has just refused"), "{text}");
    }
    let (site, node, guest) = story.empty()?;
    ensure!(!routes(&site.host)?.iter().any(|route| PEER.iter().any(|address| route.starts_with(address))));
    // The entries that questions have made belong to the kernel in the end.
    ensure!(questions(&site)?.contains(PEER[0]), "{}", node.picture()?);
    guest.sh("ip addr flush dev eth0 || true")?;
    eventually(PATIENCE, || {
        let left = questions(&site)?;
        ensure!(left.is_empty(), "questions are left over: {left}");
        Ok(())
    })?;
    for address in PEER {
        ensure!(site.host.reaches(address.parse::<IpAddr>()?, PATIENCE), "the host lost {address}");
    }
    Ok(())
}

#[test]
fn an_honest_guest_gets_its_address_in_a_full_table_under_a_strict_probe() -> Result<()> {
    let story = Story::new("[policy]\nprobe = \"strict\"\n", |_| Ok(()))?;
    let Story { site, node, guest, .. } = &story;
    for (address, length) in [("192.168.77.102", 24), ("fd77::102", 64)] {
        story.is_full()?;
        guest.sh(&format!("ip addr add {address}/{length} dev eth0"))?;
        let start = Instant::now();
        node.wait_address(guest, address.parse::<IpAddr>()?, "routed")?;
        println!("{address} is routed after {:?}", start.elapsed());
        ensure!(site.host.reaches(address.parse::<IpAddr>()?, PATIENCE), "the host does not reach {address}");
    }
    // One question is under way and another was answered. `cleanup` leaves neither behind.
    for (address, length) in [(PEER[0], 24), (PEER[1], 64), ("192.168.77.103", 24), ("fd77::103", 64)] {
        guest.sh(&format!("ip addr add {address}/{length} dev eth0"))?;
    }
    for address in PEER {
        eventually(PATIENCE, || {
            let entry = node.wait_address(guest, address.parse::<IpAddr>()?, "refused")?;
            ensure!(entry["reason"] == "held-on-lan", "{entry:#}");
            Ok(())
        })?;
    }
    let (site, node, _guest) = story.empty()?;
    let Node { mut daemon, .. } = node;
    daemon.stop()?;
    ensure!(questions(&site)?.contains(PEER[0]), "{}", site.host.sh("ip neigh")?);
    site.host.run(&[BINARY, "cleanup"])?;
    let (left, ours) = (questions(&site)?, ours(&site.host)?);
    ensure!(left.is_empty() && ours.is_empty(), "{left}{ours}");
    Ok(())
}

#[test]
fn the_entries_for_a_thousand_guests_do_not_count() -> Result<()> {
    // They are exempt. The problem appears only once the tables are full without them.
    let many = |site: &Site| {
        let entry = |n: u32| {
            let [_, _, high, low] = n.to_be_bytes();
            format!("neigh replace 10.97.{high}.{low} lladdr 02:00:00:00:00:01 dev eth0 nud permanent\n")
        };
        let many: String = (0..1500).map(entry).collect();
        site.host.run_with_stdin(&["ip", "-batch", "-"], &many).map(drop)
    };
    let mut story = Story::new("", many)?;
    let problem = story.problem("IPv4")?;
    println!("{problem:#}");
    ensure!(problem["message"].as_str().is_some_and(|text| text.contains("of 1024 entries")), "{problem}");
    story.empty().map(drop)
}
