//! Daemons that end, in whatever way, and start again. The data path does not notice, and the next daemon
//! adopts everything from the last one. On a real LXD.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::nft::Nft;
use crate::node::{BINARY, HOST, HOST_V6, Node, PATIENCE, Site, ours, routes};
use crate::trace::requests;
use anyhow::{Context, Result, ensure};
use lab::{Daemon, Guest, Kind, Machine, Share, eventually, stays};
use serde_json::Value;

/// Sooner than a resync.
const SOON: Duration = Duration::from_secs(10);
const GUEST: &str = "192.168.77.101";
const GUEST_V6: &str = "fd77::101";

/// A site with a guest that is reached.
fn start() -> Result<(Site, Node, Guest)> {
    start_with(Share::One)
}

/// A site for a story that must not run beside as many others as usual.
fn start_with(share: Share) -> Result<(Site, Node, Guest)> {
    let site = Site::with(Kind::Lxd, share)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    node.wait_both_ways(&guest, GUEST_V6.parse::<IpAddr>()?, HOST_V6)?;
    Ok((site, node, guest))
}

/// A copy of the binary, which stands for the next version: another file.
fn next(host: &Machine) -> Result<&'static str> {
    let next = "/run/lab/macvlan-shim-next";
    host.run(&["cp", BINARY, next])?;
    Ok(next)
}

/// The file that a daemon runs.
fn program_of(node: &Node) -> Result<String> {
    let pid = node.daemon.pid().context("the daemon has ended")?;
    Ok(node.host.sh(&format!("readlink /proc/{pid}/exe"))?.trim().to_owned())
}

#[test]
fn not_one_packet_is_lost_over_restarts_and_upgrades() -> Result<()> {
    let (site, mut node, guest) = start()?;
    let upgrade = next(&site.host)?;
    let target = format!("--target={}", guest.pid()?);
    let in_guest = ["nsenter", &target, "--net"];
    let pulse = |place: &[&str], address| site.host.pulse(place, address);
    let pulses =
        [pulse(&[], GUEST)?, pulse(&[], GUEST_V6)?, pulse(&in_guest, HOST)?, pulse(&in_guest, HOST_V6)?];
    for round in 0..3 {
        ensure!(node.daemon.stop()?.success(), "SIGTERM is no failure");
        node = Node::start(&site.host)?;
        node.daemon.kill()?;
        let binary = if round == 1 { upgrade } else { BINARY };
        node = Node::start_by(&site.host, &[binary, "run"])?;
        ensure!(program_of(&node)? == binary, "it runs {}", program_of(&node)?);
    }
    for pulse in pulses {
        let lost = pulse.lost()?;
        ensure!(lost == 0, "{lost} packets were lost");
    }
    Ok(())
}

#[test]
fn a_start_with_everything_in_place_writes_nothing() -> Result<()> {
    let (site, node, _guest) = start()?;
    ensure_next_writes_nothing(&site, node)
}

/// Own addresses, ranges, a second parent, and table 77 with its rules, because the host's rules come before
/// table main.
#[test]
fn a_start_with_everything_configurable_in_place_writes_nothing() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let second = site.lab.lan("10.88.0.0/24", "fd88::/64")?;
    site.host.plug("eth1", &second, &["10.88.0.11/24", "fd88::11/64"])?;
    site.server.macvlan_profile("mv1", "eth1")?;
    site.host.sh("for f in -4 -6; do ip $f rule add fwmark 7 lookup 100 pref 1000; done")?;
    let node = Node::start_with(
        &site.host,
        "[shim]\naddresses = [\"192.168.77.72\", \"fd77::72\"]\n\n\
         [[parent]]\nname = \"eth1\"\nkeep = true\naddresses = [\"10.88.0.72\", \"fd88::72\"]\n\
         routes = [\"10.88.0.160/27\", \"fd88::a0/123\"]\n",
    )?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
    let still = ["-p", "mv1", "-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"];
    let other = site.server.launch("c2", &still)?;
    other.sh("ip addr add 10.88.0.101/24 dev eth0; ip addr add fd88::101/64 dev eth0")?;
    for (guest, address, host) in [
        (&guest, GUEST, HOST),
        (&guest, GUEST_V6, HOST_V6),
        (&other, "10.88.0.101", "10.88.0.11"),
        (&other, "fd88::101", "fd88::11"),
    ] {
        node.wait_both_ways(guest, address.parse::<IpAddr>()?, host)?;
    }
    let stands =
        site.host.sh("ip -o addr show dev mvs-eth0; ip -o addr show dev mvs-eth1; ip rule; ip -6 rule
         ip route show table 77; ip -6 route show table 77")?;
    for part in ["192.168.77.72", "fd77::72", "10.88.0.72", "fd88::72", "10.88.0.160/27", "fd88::a0/123"] {
        ensure!(stands.contains(part), "no {part} in\n{stands}");
    }
    ensure!(stands.matches("lookup 77").count() == 2, "{stands}");
    ensure_next_writes_nothing(&site, node)
}

/// The shims of a status, without the times that each daemon has of its own.
fn shims(status: &Value) -> Value {
    let mut shims = status["shims"].clone();
    for shim in shims.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        shim.remove("since");
    }
    shims
}

/// The daemon is killed, and the next one has nothing to do. `strace` shows its requests to the kernel, and
/// `ip monitor` their effects.
fn ensure_next_writes_nothing(site: &Site, mut node: Node) -> Result<()> {
    // Each question to the LAN is answered, or nobody has the address.
    eventually(PATIENCE, || {
        ensure!(!ours(&site.host)?.contains("extern_learn"), "{}", ours(&site.host)?);
        Ok(())
    })?;
    let before = (ours(&site.host)?, routes(&site.host)?);
    let shims = shims(&node.status()?);
    node.daemon.kill()?;
    ensure!(site.host.pings(GUEST.parse::<IpAddr>()?), "the death of the daemon cuts the guest off");
    let watch = site.host.monitor(&["ip", "monitor", "all"])?;
    // Everything between two marks was done by the new daemon.
    site.host.sh("ip link add mark0 type bridge; ip link del mark0")?;
    watch.wait_line("mark0", PATIENCE)?;
    let from = watch.mark();
    let trace = "/run/lab/trace";
    let traced =
        ["strace", "-D", "-f", "-qq", "-s", "256", "-e", "trace=openat,open,sendto,sendmsg", "-o", trace];
    let mut node = Node::start_by(&site.host, &[&traced[..], &[BINARY, "run"]].concat())?;
    node.wait("every address is routed", |status| {
        let guests = status["guests"].as_array().into_iter().flatten();
        let nics = guests.flat_map(|guest| guest["nics"].as_array().into_iter().flatten());
        let mut addresses = nics.flat_map(|nic| nic["addresses"].as_array().into_iter().flatten());
        self::shims(status) == shims && addresses.all(|address| address["state"] == "routed")
    })?;
    let after = (ours(&site.host)?, routes(&site.host)?);
    ensure!(after == before, "something changed over a restart, before and after:\n{before:#?}\n{after:#?}");
    site.host.sh("ip link add mark1 type bridge; ip link del mark1")?;
    watch.wait_line("mark1", PATIENCE)?;
    node.daemon.stop()?;

    let ours = |line: &&String| ["mvs-", "proto 77", "lookup 77"].iter().any(|mark| line.contains(mark));
    let echoes: Vec<String> = watch.output().iter().skip(from).filter(ours).cloned().collect();
    ensure!(echoes.is_empty(), "the kernel was written to: {echoes:#?}");
    let trace = site.host.run(&["cat", trace])?;
    let asked = requests(trace.lines());
    println!("asked of the kernel: {asked:?}");
    ensure!(
        asked.contains_key("RTM_GETLINK") && asked.contains_key("RTM_GETROUTE"),
        "the trace is empty: {asked:?}"
    );
    // The first makes the socket's buffer large. The last is NFT_MSG_GETGEN, for which strace has no name.
    let questions = ["NLMSG_NOOP", "RTM_GET", "NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_GET", "0xa10 "];
    let orders = asked.keys().filter(|kind| !questions.iter().any(|question| kind.starts_with(question)));
    ensure!(orders.count() == 0, "orders were given: {asked:?}");
    let to_write = |line: &&str| {
        ["O_WRONLY", "O_RDWR"].iter().any(|flag| line.contains(flag))
            && !line.contains("\"/run/macvlan-shim/")
    };
    let written: Vec<&str> = trace.lines().filter(to_write).filter(|line| line.contains("/proc/")).collect();
    ensure!(written.is_empty(), "files were written: {written:#?}");
    Ok(())
}

fn the_routes_stay_while_the_daemon_restarts(leave: fn(&lab::Server) -> Result<()>) -> Result<()> {
    let (site, mut node, guest) = start()?;
    let address: IpAddr = GUEST.parse()?;
    leave(&site.server)?;
    node.daemon.kill()?;
    let node = Node::start(&site.host)?;
    node.wait("the routes are unclaimed", |status| {
        let unclaimed = status["unclaimed"].as_array().into_iter().flatten();
        let addresses: BTreeSet<&str> = unclaimed.filter_map(|one| one["address"].as_str()).collect();
        addresses == BTreeSet::from([GUEST, GUEST_V6])
    })?;
    stays(Duration::from_secs(1), "the host reaches its guest", || site.host.pings(address))?;
    ensure!(site.host.pings(GUEST_V6.parse::<IpAddr>()?), "not reached over IPv6");
    // And they are restored like all others.
    for blow in [
        "ip link set mvs-eth0 down; ip link set mvs-eth0 up".to_owned(),
        "ip link del mvs-eth0".to_owned(),
        format!("ip addr del {HOST}/24 dev eth0; sleep 1; ip addr add {HOST}/24 dev eth0"),
    ] {
        site.host.sh(&blow)?;
        for address in [address, GUEST_V6.parse()?] {
            eventually(SOON, || {
                ensure!(site.host.pings(address), "{address} is not reached after {blow}");
                Ok(())
            })?;
        }
    }
    site.server.start_daemon()?;
    node.wait_both_ways(&guest, address, HOST)?;
    node.wait("nothing is unclaimed", |status| status["unclaimed"] == serde_json::json!([])).map(drop)
}

#[test]
fn the_routes_stay_where_the_server_is_dead() -> Result<()> {
    the_routes_stay_while_the_daemon_restarts(lab::Server::kill_daemon)
}

#[test]
fn the_routes_stay_where_the_servers_socket_has_vanished() -> Result<()> {
    the_routes_stay_while_the_daemon_restarts(lab::Server::stop_daemon)
}

#[test]
fn of_two_daemons_that_start_at_once_one_runs_and_the_other_names_it() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let upgrade = next(&site.host)?;
    let version = concat!("version ", env!("CARGO_PKG_VERSION"));
    for round in 0..10 {
        let script = format!(
            "{upgrade} run & A=$!; {BINARY} run & B=$!; echo pids $A $B; wait -n; echo exited $?; wait"
        );
        let mut both = site.host.spawn(&["bash", "-c", &script])?;
        both.wait_line("exited 1", PATIENCE)?;
        let told = both.wait_line("already running in this network namespace", PATIENCE)?;
        let pids = both.wait_line("pids ", PATIENCE)?;
        let pids: Vec<String> = pids.split(' ').skip(1).map(str::to_owned).collect();
        let runs = |pid: &String| site.host.ok(&format!("kill -0 {pid}"));
        let running = pids.iter().position(runs).context("none of the two runs")?;
        ensure!(!runs(&pids[1 - running]), "both run: {:#?}", both.output());
        ensure!(told.contains(&format!("(pid {}, {version}, ", pids[running])), "round {round}: {told}");
        site.host.sh(&format!("kill {}", pids[running]))?;
        both.wait(PATIENCE)?;
    }
    Ok(())
}

/// After the daemon's death every route has its neighbour entry. Otherwise the host would ask for the guest
/// on the wire, or send its traffic to another's MAC.
fn ensure_safe(host: &Machine) -> Result<()> {
    let neighbours = host.sh("ip neigh show nud permanent proto 77")?;
    let known: BTreeSet<&str> = neighbours.lines().filter_map(|line| line.split(' ').next()).collect();
    for route in routes(host)? {
        let address = route.split(' ').next().unwrap_or_default();
        ensure!(known.contains(address), "{address} has a route and no neighbour entry: {neighbours}");
    }
    Ok(())
}

/// Waits until exactly the guests' addresses are routed, and nothing is left to do. Then all of them are
/// reached.
fn ensure_right(node: &Node, guests: &[&Guest]) -> Result<()> {
    for address in ensure_routed(node, guests)? {
        ensure!(node.host.reaches(address, PATIENCE), "{address} is not reached\n{}", node.picture()?);
    }
    Ok(())
}

/// Waits until exactly the guests' addresses are routed, and nothing is left to do. Returns the addresses.
fn ensure_routed(node: &Node, guests: &[&Guest]) -> Result<BTreeSet<IpAddr>> {
    let mut wanted = BTreeSet::new();
    for guest in guests {
        wanted.extend(guest.addresses("eth0")?);
    }
    eventually(PATIENCE, || {
        let routes = routes(&node.host)?;
        let routed = routes.iter().filter_map(|route| route.split(' ').next()?.parse().ok());
        let routed: BTreeSet<IpAddr> = routed.collect();
        ensure!(routed == wanted, "routed are {routed:?}, the guests have {wanted:?}");
        let neighbours = node.host.sh("ip neigh show nud permanent proto 77")?;
        ensure!(neighbours.lines().count() == wanted.len(), "{neighbours}");
        let plan = node.host.run(&[BINARY, "plan"])?;
        ensure!(plan.starts_with("nothing to do"), "{plan}");
        let status = node.status()?;
        ensure!(
            status["unclaimed"] == serde_json::json!([]) && status["problems"] == serde_json::json!([]),
            "{status:#}"
        );
        Ok(())
    })
    .with_context(|| format!("the daemon said:\n{}", node.daemon.story()))?;
    Ok(wanted)
}

#[test]
fn killed_200_times_while_addresses_change_it_leaves_nothing_wrong() -> Result<()> {
    let (site, mut node, one) = start_with(Share::Half)?;
    let two = site.launch_static("c2", &["192.168.77.102/24"])?;
    let change = "n=0; while :; do n=$(( (n + 1) % 20 )); \
         ip addr add 192.168.77.$(( $0 + n ))/24 dev eth0; ip addr add fd77::$0:$n/64 dev eth0 nodad; sleep 0.0$(( RANDOM % 10 )); \
         ip addr del 192.168.77.$(( $0 + (n + 7) % 20 ))/24 dev eth0; ip addr del fd77::$0:$(( (n + 7) % 20 ))/64 dev eth0; done";
    let mut changing = Vec::new();
    for (guest, base) in [(&one, "120"), (&two, "150")] {
        let target = format!("--target={}", guest.pid()?);
        changing.push(site.host.spawn(&["nsenter", &target, "--net", "bash", "-c", change, base])?);
    }
    node.daemon.kill()?;
    let start = Instant::now();
    let mut deaths = [0; 3];
    // So that about half of them live long enough to do something, however fast the machine is.
    let mut span = 100_000.0;
    for round in 0..200 {
        let mut daemon = site.host.spawn(&[BINARY, "run"])?;
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
        std::thread::sleep(Duration::from_micros(span as u64 * u64::from(nanos / 1000 % 1000) / 1000));
        daemon.kill()?;
        let said = daemon.story();
        let worked = said.contains("add route");
        span *= if worked { 0.9 } else { 1.1 };
        deaths[usize::from(said.contains("connected, version")) + usize::from(worked)] += 1;
        ensure_safe(&site.host).with_context(|| format!("round {round}:\n{said}"))?;
        if round % 20 == 19 {
            changing.iter_mut().try_for_each(|changing| changing.signal("STOP"))?;
            let mut node = Node::start_talkative(&site.host)?;
            ensure_routed(&node, &[&one, &two]).with_context(|| format!("round {round}:\n{said}"))?;
            node.daemon.kill()?;
            changing.iter_mut().try_for_each(|changing| changing.signal("CONT"))?;
        }
    }
    let [early, idle, late] = deaths;
    println!(
        "killed in {:?}: {early} times before it knew its guests, {idle} before and {late} after a route",
        start.elapsed()
    );
    ensure!(late > 20, "too few of them did anything");
    for mut changing in changing {
        changing.kill()?;
    }
    let node = Node::start_talkative(&site.host)?;
    ensure_right(&node, &[&one, &two])
}

/// The daemon is killed before its first request to the kernel, before its second, and so on, each time with
/// all of its work to do, until it lives to do all of it.
#[test]
fn killed_before_any_of_its_requests_it_leaves_nothing_wrong() -> Result<()> {
    let orders = ["RTM_NEWLINK", "RTM_SETLINK", "RTM_NEWNEIGH", "RTM_NEWROUTE"];
    killed_before_each("sendto", &orders)
}

/// The same for its writes to files, sysctls among them.
#[test]
fn killed_before_any_of_its_writes_it_leaves_nothing_wrong() -> Result<()> {
    killed_before_each("write", &["/ipv4/conf/mvs-eth0/arp_filter", "/ipv6/conf/mvs-eth0/forwarding"])
}

/// It is killed while it calls `nft`. That still does its work, but the daemon does not hear of the end.
#[test]
fn killed_while_nft_works_for_it_it_leaves_nothing_wrong() -> Result<()> {
    let victim = Victim::new()?;
    let nft = Nft::install(&victim.site.host)?;
    let calls = format!("{}/calls", Nft::FOLDER);
    for moment in ["kill -KILL $PPID", "/usr/sbin/nft \"$@\"; kill -KILL $PPID; exit"] {
        let (mut nth, mut halves) = (0, 0);
        loop {
            nth += 1;
            nft.mood(&format!(
                "echo >> {calls}; mapfile -t calls < {calls}; if [ ${{#calls[@]}} = {nth} ]; then {moment}; fi"
            ))?;
            victim.site.host.run(&["rm", "-f", &calls])?;
            match victim
                .runs_until_it_is_killed(|| nft.spawn(), || Ok(format!("call {nth} of nft: {moment}")))?
            {
                Fate::Lived => break,
                fate => halves += u32::from(fate == Fate::Half),
            }
        }
        println!("killed at each of {} calls of nft, with something half done {halves} times", nth - 1);
        ensure!(halves > 0, "it was never asked to write");
    }
    Ok(())
}

/// `met`: calls before which it must be killed at least once.
fn killed_before_each(call: &str, met: &[&str]) -> Result<()> {
    let victim = Victim::new()?;
    let (trace, calls) = (format!("trace={call}"), "/run/lab/calls");
    let host = &victim.site.host;
    let last_call = || host.sh(&format!("grep '^{call}(' {calls} | tail -n 1"));
    let (mut last_calls, mut halves) = (Vec::new(), 0);
    loop {
        let inject = format!("inject={call}:signal=KILL:when={}", last_calls.len() + 1);
        // Without -f, because the calls of each thread are counted separately. The main one decides and acts,
        // others log.
        let traced = ["strace", "-D", "-qq", "-y", "-s", "100", "-o", calls, "-e", &trace, "-e", &inject];
        let traced = [&traced[..], &[BINARY, "run"]].concat();
        match victim.runs_until_it_is_killed(|| host.spawn(&traced), last_call)? {
            Fate::Lived => break,
            fate => halves += u32::from(fate == Fate::Half),
        }
        last_calls.push(last_call()?);
    }
    println!(
        "killed before each of {} calls of {call}, with something half done {halves} times",
        last_calls.len()
    );
    for wanted in met {
        let met = last_calls.iter().any(|call| call.contains(wanted));
        ensure!(met, "never killed before {wanted}, but before\n{}", last_calls.concat());
    }
    ensure!(halves > 5, "too few of them were orders");
    Ok(())
}

/// A host whose daemon is killed again and again, each time with all of its work to do.
struct Victim {
    site: Site,
    guest: Guest,
}

/// The end of a daemon that was to be killed during its work.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// It had not begun.
    Nothing,
    /// It left something behind.
    Half,
    /// It lived to do all of it.
    Lived,
}

impl Victim {
    fn new() -> Result<Victim> {
        let (site, mut node, guest) = start()?;
        node.daemon.stop()?;
        Ok(Victim { site, guest })
    }

    /// Nothing that it leaves when it is killed is dangerous, and the next one puts all of it right.
    fn runs_until_it_is_killed(
        &self,
        run: impl Fn() -> Result<Daemon>,
        moment: impl Fn() -> Result<String>,
    ) -> Result<Fate> {
        let host = &self.site.host;
        host.run(&[BINARY, "cleanup"])?;
        let mut daemon = run()?;
        let lives = eventually(PATIENCE, || {
            if !daemon.is_running() {
                return Ok(false);
            }
            ensure!(routes(host)?.len() == 2, "it neither died nor did its work");
            Ok(true)
        })?;
        // Everything is done, but it may be about to die of a later call.
        let lived = lives && daemon.kill().is_ok();
        daemon.wait(PATIENCE)?;
        let moment = moment()?;
        let story = || format!("killed at {moment}\n{}", daemon.story());
        ensure_safe(host).with_context(story)?;
        let half = !ours(host)?.is_empty();
        if half {
            let mut node = Node::start(host)?;
            ensure_right(&node, &[&self.guest]).with_context(story)?;
            node.daemon.stop()?;
        }
        Ok(match (lived, half) {
            (true, _) => Fate::Lived,
            (false, true) => Fate::Half,
            (false, false) => Fate::Nothing,
        })
    }
}
