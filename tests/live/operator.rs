//! The operator's view: the commands, and every fault that has an error of its own. On real servers.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::net::UnixListener;

use crate::node::{BINARY, HOST, HOST_V6, Node, PATIENCE, Site, ours, routes};
use anyhow::{Result, ensure};
use lab::{Kind, Machine};
use serde_json::{Value, json};

/// Runs the binary on a machine: its exit status, stdout and stderr.
fn shim(host: &Machine, arguments: &[&str]) -> Result<(i32, String, String)> {
    let mut command = host.command(BINARY);
    let output = command.args(arguments).output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr)))
}

fn problem<'a>(status: &'a Value, code: &str) -> Option<&'a Value> {
    status["problems"].as_array()?.iter().find(|problem| problem["code"] == code)
}

#[test]
fn plan_shows_the_changes_of_run_and_cleanup_removes_them() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    let before = ours(&site.host)?;
    let (exit, plan, complaints) = shim(&site.host, &["plan"])?;
    ensure!(exit == 0, "plan: {exit} {complaints}");
    ensure!(plan.contains("create shim mvs-eth0 on eth0"), "{plan}");
    ensure!(
        plan.contains("add route 192.168.77.101/32 through mvs-eth0 from 192.168.77.11: lxd:c1 eth0"),
        "{plan}"
    );
    ensure!(ours(&site.host)? == before, "plan changed something");
    let (_, json, _) = shim(&site.host, &["plan", "--json"])?;
    ensure!(serde_json::from_str::<Value>(&json)?.as_array().is_some_and(|steps| steps.len() > 10), "{json}");

    let mut node = Node::start(&site.host)?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    node.wait_well(PATIENCE)?;
    let (exit, table, _) = shim(&site.host, &["status"])?;
    ensure!(exit == 0 && table.contains("192.168.77.101") && table.contains("mvs-eth0"), "{table}");

    let (exit, _, complaint) = shim(&site.host, &["cleanup"])?;
    ensure!(exit == 1 && complaint.contains("running"), "beside a daemon: {exit} {complaint}");
    let (exit, _, complaint) = shim(&site.host, &["run"])?;
    ensure!(
        exit == 1 && complaint.contains("running") && complaint.contains("pid"),
        "second daemon: {complaint}"
    );

    node.daemon.stop()?;
    ensure!(site.host.pings("192.168.77.101".parse::<IpAddr>()?), "SIGTERM took the route away");
    let (exit, _, complaint) = shim(&site.host, &["status"])?;
    ensure!(exit == 3, "status without a daemon: {exit} {complaint}");

    // Foreign objects stay, even if they look like ours.
    site.host.sh("ip route add 192.168.77.200/32 dev eth0; ip neigh add 192.168.77.201 lladdr 02:00:00:00:00:01 dev eth0")?;
    let (exit, would, _) = shim(&site.host, &["cleanup", "--dry-run"])?;
    ensure!(exit == 0 && would.contains("would delete shim mvs-eth0"), "{would}");
    ensure!(!routes(&site.host)?.is_empty(), "a dry run removed something");
    let (exit, did, complaint) = shim(&site.host, &["cleanup"])?;
    ensure!(exit == 0, "cleanup: {exit} {did} {complaint}");
    ensure!(ours(&site.host)?.is_empty(), "left: {}", ours(&site.host)?);
    let foreign = site.host.sh("ip route; ip neigh")?;
    ensure!(foreign.contains("192.168.77.200") && foreign.contains("192.168.77.201"), "{foreign}");
    let (exit, again, _) = shim(&site.host, &["cleanup"])?;
    ensure!(exit == 0 && again.starts_with("nothing"), "{again}");
    Ok(())
}

#[test]
fn no_server_is_a_problem_until_one_comes() -> Result<()> {
    let lab = lab::Lab::new()?;
    let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
    lan.dhcp()?;
    let host = lab.host("node")?;
    host.plug("eth0", &lan, &["192.168.77.11/24"])?;
    let node = Node::start(&host)?;
    let status = node.wait("all are absent", |status| {
        status["servers"].as_array().is_some_and(|all| all.iter().all(|server| server["state"] == "absent"))
    })?;
    let places =
        problem(&status, "no-server").map(|problem| problem["message"].to_string()).unwrap_or_default();
    for place in
        ["/var/lib/lxd/unix.socket", "/var/snap/lxd/common/lxd/unix.socket", "/run/incus/unix.socket"]
    {
        ensure!(places.contains(place), "{status:#}");
    }
    ensure!(shim(&host, &["status"])?.0 == 1, "it looks like success");
    let lxd = host.lxd()?;
    lxd.macvlan_profile("mv", "eth0")?;
    let guest = lxd.launch("c1", &["-p", "mv"])?;
    node.wait_both_ways(&guest, guest.ipv4("eth0")?, HOST)?;
    node.wait("nothing needs anybody", |status| status["problems"] == json!([]))?;
    let (exit, table, _) = shim(&host, &["status"])?;
    ensure!(exit == 0 && table.contains("\nno problems\n"), "{table}");
    Ok(())
}

/// One of the configured servers is not there. Without a configuration nobody would miss it.
#[test]
fn a_configured_server_that_is_not_there_is_a_problem() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start_with(
        &site.host,
        "[[server]]\nsocket = \"/var/lib/lxd/unix.socket\"\n[[server]]\nsocket = \"/run/mistyped.socket\"\n",
    )?;
    let status = node.wait("it is missed", |status| problem(status, "server-absent").is_some())?;
    ensure!(
        problem(&status, "server-absent").is_some_and(|it| it["object"] == "/run/mistyped.socket"),
        "{status:#}"
    );
    Ok(())
}

/// Neither status nor plan nor the log calls a guest reachable whose parent carries nothing.
#[test]
fn a_parent_that_carries_nothing_is_told() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    let address: IpAddr = "192.168.77.101".parse()?;
    node.wait_both_ways(&guest, address, HOST)?;
    let port = site.port.name();
    for (code, machine, link) in [("no-carrier", &*site.lan, port), ("parent-down", &site.host, "eth0")] {
        let mark = node.daemon.mark();
        machine.sh(&format!("ip link set {link} down"))?;
        let nic = node.wait_nic(&guest, "eth0", "failed")?;
        ensure!(nic["reason"] == code && nic["addresses"][0]["reason"] == code, "{nic:#}");
        let status = node.status()?;
        ensure!(status["shims"][0]["state"] == "down", "{status:#}");
        ensure!(
            problem(&status, code).is_some_and(|it| it["object"] == "eth0" && it["severity"] == "error"),
            "{status:#}"
        );
        ensure!(shim(&site.host, &["status"])?.0 == 1, "it looks like success");
        let (exit, table, _) = shim(&site.host, &["status", "c1"])?;
        ensure!(exit == 1 && table.contains(&format!("({code})")), "{table}");
        let (exit, plan, complaints) = shim(&site.host, &["plan"])?;
        ensure!(
            exit == 1 && plan == "nothing can be done: 1 problem stands in the way\n",
            "{plan}{complaints}"
        );
        ensure!(!site.host.pings(address), "it was reachable all the time");
        node.daemon.wait_line_after(mark, &format!("({code})"), PATIENCE)?;

        machine.sh(&format!("ip link set {link} up"))?;
        node.wait_both_ways(&guest, address, HOST)?;
        node.daemon.wait_line_after(mark, &format!("eth0: no longer {code}"), PATIENCE)?;
        ensure!(shim(&site.host, &["status"])?.0 == 0, "{}", shim(&site.host, &["status"])?.1);
    }
    Ok(())
}

#[test]
fn status_serves_people_scripts_and_monitoring() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let host = &site.host;
    let (exit, _, complaint) = shim(host, &["status", "--wait", "300ms"])?;
    ensure!(exit == 3 && complaint.contains("no daemon answers"), "{exit} {complaint}");
    let (exit, line, _) = shim(host, &["status", "--check"])?;
    ensure!(
        exit == 2 && line.starts_with("MACVLAN-SHIM CRITICAL - the daemon does not run"),
        "{exit} {line}"
    );

    let guest = site.launch_static("web-1", &["192.168.77.101/24"])?;
    let mut daemon = host.spawn(&[BINARY, "run"])?;
    let (exit, table, complaint) = shim(host, &["status", "--wait", "20s"])?;
    ensure!(exit <= 1 && table.contains(" macvlan-shim "), "{exit} {table}{complaint}");
    let node = Node { host: host.clone(), daemon: host.spawn(&["sleep", "1000"])? };
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    node.wait("nothing needs anybody", |status| status["problems"] == json!([]))?;

    let (exit, table, _) = shim(host, &["status"])?;
    ensure!(exit == 0 && table.contains(": the running guest is reachable\n"), "{table}");
    let (exit, line, _) = shim(host, &["status", "--check"])?;
    let expected =
        "MACVLAN-SHIM OK - 1 of 1 running guests reachable | reachable=1 wanted=1 routes=1 problems=0\n";
    ensure!(exit == 0 && line == expected, "{exit} {line}");
    let (exit, table, _) = shim(host, &["status", "lxd:web-1"])?;
    ensure!(exit == 0 && table.contains("routed from 192.168.77.11") && !table.contains("SERVER"), "{table}");
    let (exit, json, _) = shim(host, &["status", "web-1", "--json"])?;
    ensure!(exit == 0 && serde_json::from_str::<Value>(&json)?["guests"][0]["name"] == "web-1", "{json}");
    let (exit, _, complaint) = shim(host, &["status", "web-2"])?;
    ensure!(exit == 1 && complaint.contains("did you mean web-1?"), "{complaint}");

    let mut stream = host.spawn(&[BINARY, "status", "--watch", "--json"])?;
    let first: Value = serde_json::from_str(&stream.wait_line("\"version\"", PATIENCE)?)?;
    ensure!(first["counts"] == json!({"wanted": 1, "reached": 1}), "{first:#}");
    guest.sh("ip addr add 10.20.30.40/32 dev eth0")?;
    stream.wait_line("\"off-link\"", PATIENCE)?;
    stream.stop()?;
    daemon.stop()?;
    Ok(())
}

/// A guest is reached, and claims an address besides that is not its own.
#[test]
fn a_claim_that_concerns_somebody_is_a_problem_as_long_as_it_stands() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    ensure!(shim(&site.host, &["status"])?.0 == 0, "{:#}", node.status()?);
    let mark = node.daemon.mark();
    guest.sh("ip addr add 10.20.30.40/32 dev eth0; ip addr add 10.20.30.41/32 dev eth0")?;
    let status = node.wait("it is a problem", |status| problem(status, "off-link").is_some())?;
    let off_link = problem(&status, "off-link").cloned().unwrap_or_default();
    ensure!(off_link["object"] == "lxd:c1 eth0" && off_link["severity"] == "warning", "{off_link:#}");
    node.wait("both addresses are counted", |status| {
        problem(status, "off-link")
            .is_some_and(|it| it["message"].to_string().contains("(and one more address of it)"))
    })?;
    ensure!(shim(&site.host, &["status"])?.0 == 1, "it looks like success");
    node.daemon.wait_line_after(mark, "(off-link)", PATIENCE)?;
    guest.sh("ip addr del 10.20.30.40/32 dev eth0; ip addr del 10.20.30.41/32 dev eth0")?;
    node.wait("it is over", |status| status["problems"] == json!([]))?;
    node.daemon.wait_line_after(mark, "lxd:c1 eth0: no longer off-link", PATIENCE)?;
    Ok(())
}

#[test]
fn one_faulty_parent_or_server_never_stops_the_others() -> Result<()> {
    let site = Site::new(Kind::Incus)?;
    let second = site.lab.lan("10.88.0.0/24", "")?;
    site.host.plug("eth1", &second, &["10.88.0.11/24"])?;
    site.host.sh(
        "ip link add br9 type bridge; ip link add p9 type veth peer name q9; ip link set p9 master br9 up; \
         ip link add mvs-eth1 type bridge",
    )?;
    let foreign = site.host.sh("ip -o link show mvs-eth1")?;
    // Something that is not LXD answers at LXD's socket.
    let rubbish = UnixListener::bind(site.host.path("/var/lib/lxd/unix.socket"))?;
    std::thread::spawn(move || {
        for stream in rubbish.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.write_all(b"220 mail ready\r\n");
        }
    });
    let config = "[[parent]]\nname = \"p9\"\nkeep = true\n\n[[parent]]\nname = \"nowhere\"\nkeep = true\n";
    site.host.run_with_stdin(&["sh", "-c", "cat > /etc/macvlan-shim/config.toml"], config)?;
    let node = Node { host: site.host.clone(), daemon: site.host.spawn(&[BINARY, "run"])? };
    let good = site.launch_static("good", &["192.168.77.101/24"])?;
    site.server.macvlan_profile("mv1", "eth1")?;
    let bad = site.server.launch("bad", &["-p", "mv1", "-c", "environment.LAB_DHCP=none"])?;
    bad.sh("ip addr add 10.88.0.101/24 dev eth0")?;

    node.wait_both_ways(&good, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    node.wait_nic(&bad, "eth0", "failed")?;
    let status = node.wait("every fault is reported", |status| {
        ["parent-is-port", "parent-absent", "name-taken", "server-failed"]
            .iter()
            .all(|code| problem(status, code).is_some())
    })?;
    for problem in status["problems"].as_array().into_iter().flatten() {
        for key in ["object", "message", "hint"] {
            ensure!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "no {key}: {problem}");
        }
    }
    let taken = problem(&status, "name-taken").map(|p| p["message"].to_string()).unwrap_or_default();
    ensure!(taken.contains("mvs-eth1") && taken.contains("not ours"), "{taken}");
    ensure!(site.host.sh("ip -o link show mvs-eth1")? == foreign, "the foreign interface was touched");

    // The foreign interface goes, and the shim takes its place at once.
    site.host.sh("ip link del mvs-eth1")?;
    node.wait_both_ways(&bad, "10.88.0.101".parse::<IpAddr>()?, "10.88.0.11")
}

#[test]
fn missing_rights_are_named() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let bare = [
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
        BINARY,
        "run",
    ];
    site.host.sh("mkdir -p /run/macvlan-shim && chown 65534 /run/macvlan-shim")?;
    let output = site.host.command("env").args(bare).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{complaint}");
    ensure!(complaint.contains("CAP_NET_ADMIN"), "{complaint}");

    // With the capabilities but without the group. The socket is the problem, and the message names it.
    let caps = "-all,+net_admin,+net_broadcast";
    let ambient = format!("--ambient-caps={caps}");
    let inherited = format!("--inh-caps={caps}");
    let able = ["setpriv", "--reuid=65534", "--clear-groups", &inherited, &ambient, BINARY, "run"];
    let node = Node { host: site.host.clone(), daemon: site.host.spawn(&able)? };
    let status = node.wait("the server failed", |status| problem(status, "server-failed").is_some())?;
    let message = problem(&status, "server-failed").map(|p| p["message"].to_string()).unwrap_or_default();
    ensure!(message.contains("/var/lib/lxd/unix.socket") && message.contains("ermission"), "{message}");
    Ok(())
}

#[test]
fn a_foreign_route_in_the_way_is_reported_and_kept() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    site.host.sh("ip route add 192.168.77.101 dev eth0")?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "192.168.77.102/24"])?;
    node.wait_address(&guest, "192.168.77.102".parse::<IpAddr>()?, "routed")?;
    ensure!(
        site.host.reaches("192.168.77.102".parse::<IpAddr>()?, PATIENCE),
        "the other address is not reached"
    );
    let refused = node.wait_address(&guest, "192.168.77.101".parse::<IpAddr>()?, "refused")?;
    ensure!(refused["reason"] == "route-taken", "{refused}");
    let status = node.status()?;
    let hint = problem(&status, "route-taken").map(|p| p["hint"].to_string()).unwrap_or_default();
    ensure!(hint.contains("ip route delete 192.168.77.101/32 dev eth0"), "{hint}");
    site.host.sh("ip route del 192.168.77.101 dev eth0")?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)
}

#[test]
fn a_bad_reload_keeps_the_running_configuration() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let mut node = Node::start_with(&site.host, "[policy]\ndeny = [\"192.168.77.102/32\"]\n")?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "192.168.77.102/24"])?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    let refused = node.wait_address(&guest, "192.168.77.102".parse::<IpAddr>()?, "refused")?;
    ensure!(refused["reason"] == "denied", "{refused}");
    let shim = site.host.sh("ip -o link show mvs-eth0")?;

    site.host.sh("echo 'nonsense = 1' > /etc/macvlan-shim/config.toml")?;
    node.daemon.signal("HUP")?;
    let status =
        node.wait("the bad file is a problem", |status| problem(status, "config-rejected").is_some())?;
    let message = problem(&status, "config-rejected").map(|p| p["message"].to_string()).unwrap_or_default();
    ensure!(message.contains("nonsense"), "{message}");
    node.wait_address(&guest, "192.168.77.102".parse::<IpAddr>()?, "refused")?;

    site.host.sh("rm /etc/macvlan-shim/config.toml")?;
    node.daemon.signal("HUP")?;
    node.wait_both_ways(&guest, "192.168.77.102".parse::<IpAddr>()?, HOST)?;
    node.wait("the problem is over", |status| problem(status, "config-rejected").is_none())?;
    ensure!(site.host.sh("ip -o link show mvs-eth0")? == shim, "the shim was made again");
    Ok(())
}

#[test]
fn a_reload_reads_the_files_beside_the_configuration() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let policy = "[policy]\ndeny = [\"192.168.77.102/32\"]\n";
    let write = |name: &str| {
        let script = format!("mkdir -p /etc/macvlan-shim/conf.d && cat > /etc/macvlan-shim/conf.d/{name}");
        site.host.run_with_stdin(&["sh", "-c", &script], policy)
    };
    write("10.toml")?;
    let mut node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "192.168.77.102/24"])?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    let refused = node.wait_address(&guest, "192.168.77.102".parse::<IpAddr>()?, "refused")?;
    ensure!(refused["reason"] == "denied", "{refused}");

    write("20.toml")?;
    node.daemon.signal("HUP")?;
    let status = node
        .wait("the key in two files is a problem", |status| problem(status, "config-rejected").is_some())?;
    let message = problem(&status, "config-rejected").map(|p| p["message"].to_string()).unwrap_or_default();
    ensure!(message.contains("conf.d/10.toml") && message.contains("conf.d/20.toml"), "{message}");

    site.host.sh("rm /etc/macvlan-shim/conf.d/*.toml")?;
    node.daemon.signal("HUP")?;
    node.wait_both_ways(&guest, "192.168.77.102".parse::<IpAddr>()?, HOST)?;
    node.wait("the problem is over", |status| problem(status, "config-rejected").is_none())?;
    Ok(())
}

/// A server that is named is followed, and one that is not is forgotten. Its guests run on, and so do their
/// routes.
#[test]
fn a_reload_loses_no_packet_and_follows_the_servers_that_it_names() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let incus = site.host.server(Kind::Incus)?;
    incus.macvlan_profile("mv", "eth0")?;
    let one = site.launch_static("one", &["192.168.77.101/24", "fd77::101/64"])?;
    let still = ["-p", "mv", "-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"];
    let two = incus.launch("two", &still)?;
    two.sh("ip addr add 192.168.77.102/24 dev eth0")?;
    let (one_v4, one_v6): (IpAddr, IpAddr) = ("192.168.77.101".parse()?, "fd77::101".parse()?);
    let two_v4: IpAddr = "192.168.77.102".parse()?;

    let servers = |kinds: &[Kind]| {
        let tables = kinds.iter().map(|kind| format!("[[server]]\nsocket = {:?}\n", kind.socket()));
        tables.collect::<String>()
    };
    let mut node = Node::start_with(&site.host, &servers(&[Kind::Lxd]))?;
    node.wait_both_ways(&one, one_v4, HOST)?;
    node.wait_both_ways(&one, one_v6, HOST_V6)?;
    ensure!(!site.host.pings(two_v4), "the guest of a server that is not followed is reached");
    let in_guest = ["nsenter", &format!("--target={}", one.pid()?), "--net"];
    let pulses = [
        site.host.pulse(&[], "192.168.77.101")?,
        site.host.pulse(&[], "fd77::101")?,
        site.host.pulse(&in_guest, HOST)?,
        site.host.pulse(&in_guest, HOST_V6)?,
    ];
    let mut reload = |config: &str, followed: &[&str], unclaimed: &[&str]| {
        site.host.run_with_stdin(&["sh", "-c", "cat > /etc/macvlan-shim/config.toml"], config)?;
        let mark = node.daemon.mark();
        node.daemon.signal("HUP")?;
        node.daemon.wait_line_after(mark, "configuration reloaded", PATIENCE)?;
        node.wait(&format!("{followed:?} are connected and {unclaimed:?} unclaimed"), |status| {
            let servers = status["servers"].as_array().into_iter().flatten();
            let connected = servers.filter(|server| server["state"] == "connected");
            let ids: Vec<_> = connected.filter_map(|server| server["id"].as_str()).collect();
            let alone = status["unclaimed"].as_array().into_iter().flatten();
            let alone: Vec<_> = alone.filter_map(|one| one["address"].as_str()).collect();
            status["ready"] == true && ids == followed && alone == unclaimed
        })
    };

    reload(&servers(&[Kind::Lxd, Kind::Incus]), &["incus", "lxd"], &[])?;
    ensure!(site.host.reaches(two_v4, PATIENCE), "the guest of the new server is not reached");
    for _ in 0..5 {
        reload(&servers(&[Kind::Lxd, Kind::Incus]), &["incus", "lxd"], &[])?;
    }
    reload(&servers(&[Kind::Incus]), &["incus"], &["192.168.77.101", "fd77::101"])?;
    reload("", &["incus", "lxd"], &[])?;
    for pulse in pulses {
        let lost = pulse.lost()?;
        ensure!(lost == 0, "{lost} packets were lost");
    }
    // A server that is not followed does not keep its guest's route when the guest goes either.
    reload(&servers(&[Kind::Incus]), &["incus"], &["192.168.77.101", "fd77::101"])?;
    one.stop_hard()?;
    node.wait_gone(one_v4)?;
    node.wait_gone(one_v6)
}
