//! Servers that go, hang, are slow, come back, or come as another version. The kernel shows the guests, so
//! their routes stay while it does, and go when it does not. On real servers.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::node::{HOST, Node, PATIENCE, Site, routes};
use anyhow::{Context, Result, ensure};
use lab::{Guest, Kind, Machine, Relay, eventually, stays};
use serde_json::Value;

on_lxd_and_incus!(
    a_killed_server_changes_nothing_and_is_followed_again_at_once,
    a_stopped_server_is_not_started_and_is_followed_again_when_it_runs,
    a_guest_that_dies_while_its_server_is_down_loses_its_routes,
    a_server_is_restarted_while_guests_start_and_die,
    an_upgraded_server_is_shown_with_its_new_version,
    a_server_that_hangs_delays_no_guest_that_is_known,
    a_slow_server_delays_no_guest_that_is_known,
    a_cut_event_stream_loses_no_guest,
    each_start_of_a_guest_has_its_own_time,
);

/// The event that must be the cure comes much sooner. The resync, at 30 s, would be too late.
const SOON: Duration = Duration::from_secs(10);

fn id(kind: Kind) -> String {
    kind.to_string().to_lowercase()
}

/// The entry of a server in a status.
fn server(status: &Value, kind: Kind) -> &Value {
    let servers = status["servers"].as_array().into_iter().flatten();
    servers.into_iter().find(|server| server["id"] == id(kind).as_str()).unwrap_or(&Value::Null)
}

/// Runs a script in the network namespace of a process, without its server.
fn inside(host: &Machine, pid: u64, script: &str) -> Result<String> {
    host.run(&["nsenter", &format!("--target={pid}"), "--net", "bash", "-euc", script])
}

/// Waits until exactly these addresses are routed, and returns how long that took.
fn wait_routed(host: &Machine, addresses: &[&str]) -> Result<Duration> {
    let start = Instant::now();
    eventually(SOON, || {
        let routes = routes(host)?;
        let routed: Vec<_> = routes.iter().filter_map(|route| route.split(' ').next()).collect();
        ensure!(routed == addresses, "routed are {routed:?} and not {addresses:?}");
        Ok(())
    })?;
    Ok(start.elapsed())
}

fn a_killed_server_changes_nothing_and_is_followed_again_at_once(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    let pid = guest.pid()?;

    site.server.kill_daemon()?;
    node.wait("it is absent", |status| server(status, kind)["state"] == "absent")?;
    let address: IpAddr = "192.168.77.101".parse()?;
    stays(Duration::from_secs(1), "the host reaches its guest", || site.host.pings(address))?;
    // A guest that is known is followed without its server.
    inside(
        &site.host,
        pid,
        "ip addr del 192.168.77.101/24 dev eth0; ip addr add 192.168.77.102/24 dev eth0",
    )?;
    wait_routed(&site.host, &["192.168.77.102"])?;
    std::thread::sleep(Duration::from_secs(3));

    let mark = node.daemon.mark();
    let start = Instant::now();
    let connected = std::thread::scope(|scope| {
        let connected = scope.spawn(|| {
            node.daemon.wait_line_after(mark, "connected, version", PATIENCE)?;
            anyhow::Ok(Instant::now())
        });
        site.server.start_daemon()?;
        let ready = Instant::now();
        let connected = connected.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        println!(
            "{kind}: ready {:?} after its start, connected to {:?} after its start",
            ready - start,
            connected - start
        );
        anyhow::Ok(connected.saturating_duration_since(ready))
    })?;
    ensure!(connected < SOON, "connected only {connected:?} after the server was ready");
    // The server's answers count again.
    guest.cli(&["config", "set"], &["user.macvlan-shim.enabled", "false"])?;
    node.wait_nic(&guest, "eth0", "unselected")?;
    wait_routed(&site.host, &[]).map(drop)
}

fn a_stopped_server_is_not_started_and_is_followed_again_when_it_runs(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    site.host.sh("mkdir -p /run/systemd/system")?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    let address: IpAddr = "192.168.77.101".parse()?;
    node.wait_both_ways(&guest, address, HOST)?;

    site.server.stop_behind_socket()?;
    let status = node.wait("it is stopped", |status| {
        server(status, kind)["message"].as_str().is_some_and(|message| message.contains("is stopped"))
    })?;
    ensure!(server(&status, kind)["state"] == "absent", "{status:#}");
    // Somebody else's guests come and go, which is no reason to wake it.
    for round in 0..10 {
        site.host.sh(&format!(
            "ip netns add other{round}; ip link add s0 link eth0 type macvlan mode bridge; \
             ip link set s0 netns other{round} up; sleep 0.1; ip netns del other{round}"
        ))?;
    }
    stays(Duration::from_secs(3), "nobody has connected", || {
        site.server.was_connected_to().is_ok_and(|connected| !connected)
    })?;
    ensure!(site.host.pings(address), "its guest is no longer reached");

    // The administrator wakes it.
    let mark = node.daemon.mark();
    let start = Instant::now();
    site.server.get("/1.0")?;
    let answered = start.elapsed();
    node.daemon.wait_line_after(mark, "connected, version", SOON)?;
    println!("{kind}: answered after {answered:?}, connected to after {:?}", start.elapsed());
    site.server.cli(&["config", "set", "c1", "user.macvlan-shim.enabled", "false"])?;
    node.wait_nic(&guest, "eth0", "unselected").map(drop)
}

fn a_guest_that_dies_while_its_server_is_down_loses_its_routes(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let one = site.launch_static("one", &["192.168.77.101/24"])?;
    let two = site.launch_static("two", &["192.168.77.102/24"])?;
    node.wait_both_ways(&one, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    node.wait_both_ways(&two, "192.168.77.102".parse::<IpAddr>()?, HOST)?;
    let pid = one.pid()?;
    site.server.kill_daemon()?;
    site.host.sh(&format!("kill -9 {pid}"))?;
    let took = wait_routed(&site.host, &["192.168.77.102"])?;
    println!("{kind}: the dead guest's route was gone {took:?} later");

    // It starts the guest again, because that ran when the server last did.
    site.server.start_daemon()?;
    node.wait("it is connected", |status| server(status, kind)["state"] == "connected")?;
    eventually(PATIENCE, || ensure_runs(&one))?;
    inside(&site.host, one.pid()?, "ip addr add 192.168.77.103/24 dev eth0")?;
    node.wait_both_ways(&one, "192.168.77.103".parse::<IpAddr>()?, HOST)?;
    wait_routed(&site.host, &["192.168.77.102", "192.168.77.103"]).map(drop)
}

fn ensure_runs(guest: &Guest) -> Result<()> {
    if guest.config()?["status"] != "Running" {
        guest.start()?;
    }
    guest.wait_for_boot()
}

fn a_server_is_restarted_while_guests_start_and_die(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guests =
        (1..=3).map(|n| site.server.launch(&format!("c{n}"), &["-p", "mv"])).collect::<Result<Vec<_>>>()?;
    for round in 0..6_usize {
        let (dying, starting) = (&guests[round % 3], &guests[(round + 1) % 3]);
        let pid = dying.pid();
        // Whether this succeeds depends on the moment at which the server is killed.
        let _ = starting.stop_hard();
        std::thread::scope(|scope| {
            scope.spawn(|| starting.start());
            std::thread::sleep(Duration::from_millis(60 * round as u64));
            if round % 2 == 0 { site.server.kill_daemon() } else { site.server.stop_daemon() }
        })?;
        if let Ok(pid) = pid {
            site.host.sh(&format!("kill -9 {pid} || :"))?;
        }
        site.server.start_daemon()?;
        eventually(Duration::from_secs(60), || guests.iter().try_for_each(ensure_runs))?;
    }
    for guest in &guests {
        node.wait_both_ways(guest, guest.ipv4("eth0")?, HOST)?;
    }
    let mut wanted = Vec::new();
    for guest in &guests {
        guest.ipv6("eth0")?;
        wanted.extend(guest.addresses("eth0")?);
    }
    wanted.sort();
    let wanted: Vec<String> = wanted.iter().map(IpAddr::to_string).collect();
    eventually(PATIENCE, || {
        let mut routed = Vec::new();
        for route in routes(&site.host)? {
            routed.push(route.split(' ').next().context("an empty route")?.parse::<IpAddr>()?);
        }
        routed.sort();
        let routed: Vec<String> = routed.iter().map(IpAddr::to_string).collect();
        ensure!(routed == wanted, "routed are {routed:?}, the guests have {wanted:?}");
        Ok(())
    })
}

fn an_upgraded_server_is_shown_with_its_new_version(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    let version = server(&node.status()?, kind)["version"].as_str().context("no version")?.to_owned();
    let newer = format!("{}9", &version[..version.len() - 1]);
    site.server.stop_daemon()?;
    site.server.upgrade_daemon(&version, &newer)?;
    node.wait("the new version is shown", |status| {
        server(status, kind)["version"] == newer.as_str() && server(status, kind)["state"] == "connected"
    })?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)
}

fn a_server_that_hangs_delays_no_guest_that_is_known(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    let pid = guest.pid()?;
    site.server.signal_daemon("STOP")?;
    inside(&site.host, pid, "ip addr add 192.168.77.102/24 dev eth0")?;
    let took = wait_routed(&site.host, &["192.168.77.101", "192.168.77.102"])?;
    println!("{kind}: routed {took:?} after the guest got the address");
    // Its event stream has been silent for 30 s by then.
    eventually(Duration::from_secs(45), || {
        let status = node.status()?;
        ensure!(server(&status, kind)["state"] != "connected", "{status:#}");
        Ok(())
    })?;
    inside(&site.host, pid, "ip addr del 192.168.77.102/24 dev eth0")?;
    wait_routed(&site.host, &["192.168.77.101"])?;
    ensure!(site.host.pings("192.168.77.101".parse::<IpAddr>()?), "the guest is not reached");
    site.server.signal_daemon("CONT")?;
    node.wait("it is connected", |status| server(status, kind)["state"] == "connected")?;
    wait_routed(&site.host, &["192.168.77.101"]).map(drop)
}

fn a_slow_server_delays_no_guest_that_is_known(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    let pid = guest.pid()?;
    let quick = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // It gets a tenth of the time.
        let slow = scope.spawn(|| {
            while !quick.load(Ordering::Relaxed) {
                site.server.signal_daemon("STOP")?;
                std::thread::sleep(Duration::from_millis(180));
                site.server.signal_daemon("CONT")?;
                std::thread::sleep(Duration::from_millis(20));
            }
            anyhow::Ok(())
        });
        let story = || {
            let start = Instant::now();
            let late = site.server.launch("late", &["-p", "mv", "-c", "environment.LAB_DHCP=none"])?;
            println!("{kind}: the slow server launched a guest in {:?}", start.elapsed());
            for address in ["192.168.77.102", "192.168.77.103", "192.168.77.104"] {
                inside(&site.host, pid, &format!("ip addr add {address}/24 dev eth0"))?;
                let start = Instant::now();
                eventually(SOON, || {
                    ensure!(
                        routes(&site.host)?.iter().any(|r| r.starts_with(address)),
                        "{address} is not routed"
                    );
                    Ok(())
                })?;
                println!("{kind}: routed {:?} after the known guest got the address", start.elapsed());
            }
            inside(&site.host, late.pid()?, "ip addr add 192.168.77.105/24 dev eth0")?;
            node.wait_address(&late, "192.168.77.105".parse::<IpAddr>()?, "routed").map(drop)
        };
        let result = story();
        quick.store(true, Ordering::Relaxed);
        slow.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        result
    })
}

fn a_cut_event_stream_loses_no_guest(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let relay = Relay::start(&site.host.path("/run/lab/relay.socket"), &site.host.path(kind.socket()))?;
    let node = Node::start_with(&site.host, "[[server]]\nsocket = \"/run/lab/relay.socket\"\n")?;
    let early = site.launch_static("early", &["192.168.77.101/24"])?;
    wait_routed(&site.host, &["192.168.77.101"])?;
    for round in 2..5 {
        ensure!(relay.cut() >= 1, "there was no event stream to be cut");
        let late = site.launch_static(&format!("c{round}"), &[&format!("192.168.77.10{round}/24")])?;
        eventually(SOON, || {
            let routes = routes(&site.host)?;
            ensure!(routes.iter().any(|r| r.starts_with(&format!("192.168.77.10{round} "))), "{routes:#?}");
            ensure!(routes.iter().any(|r| r.starts_with("192.168.77.101 ")), "{routes:#?}");
            Ok(())
        })
        .with_context(|| node.daemon.story())?;
        ensure!(late.pings(HOST.parse::<IpAddr>()?) && early.pings(HOST.parse::<IpAddr>()?));
    }
    Ok(())
}

/// This is why a first process stays known as long as the time of the start does:
/// `src/servers/lxd/first_process.rs`.
fn each_start_of_a_guest_has_its_own_time(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let guest = site.launch_static("c1", &[])?;
    let time = || anyhow::Ok(guest.config()?["last_used_at"].as_str().context("no time")?.to_owned());
    let ways: [(&str, &(dyn Fn() -> Result<()> + Sync)); 5] = [
        ("restarted", &|| guest.restart()),
        ("restarted by force", &|| guest.cli(&["restart"], &["--force"]).map(drop)),
        ("rebooted by itself", &|| {
            // The shell that says so may die of it.
            let _ = guest.sh("reboot -f");
            Ok(())
        }),
        ("killed and started", &|| {
            site.host.sh(&format!("kill -9 {}", guest.pid()?))?;
            eventually(PATIENCE, || {
                ensure!(guest.config()?["status"] == "Stopped", "it still runs");
                Ok(())
            })?;
            guest.start()
        }),
        ("stopped and started", &|| {
            guest.stop_hard()?;
            guest.start()
        }),
    ];
    for (way, start) in ways {
        let (old_time, old_process) = (time()?, guest.pid()?);
        let (mut looks, mut mistaken) = (0, None);
        std::thread::scope(|scope| {
            let starting = scope.spawn(start);
            eventually(PATIENCE, || {
                looks += 1;
                // In the order in which the daemon asks.
                let (time, process) = (time()?, guest.pid()?);
                if time != old_time && process == old_process {
                    mistaken = Some(time.clone());
                }
                ensure!(time != old_time && process != old_process, "{way}: still {process}, {time}");
                Ok(())
            })?;
            starting.join().map_err(|_| anyhow::anyhow!("panicked"))?
        })?;
        ensure!(mistaken.is_none(), "{way}: the old process with the new time {mistaken:?}");
        eventually(PATIENCE, || guest.wait_for_boot())?;
        println!("{kind}: {way}: {looks} looks, {old_time} and then {}", time()?);
    }
    Ok(())
}
