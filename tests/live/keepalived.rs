//! Debian's keepalived in guests: the service address follows its master, wherever that is.
//!
//! The program is the host's, in the guest's network namespace. That is as good as a program inside the
//! guest: VRRP, the service address and the virtual MAC all belong to the network namespace, and the guest's
//! image needs no libraries.

use std::net::IpAddr;
use std::time::SystemTime;

use crate::node::{HOST, Node, PATIENCE, Site};
use crate::siblings::in_net_of;
use anyhow::{Result, ensure};
use lab::{Daemon, Guest, Kind, Machine, Stream};

const SERVICE: &str = "192.168.77.50";

/// Starts keepalived in the network namespace of a guest.
fn keepalived(guest: &Guest, priority: u8, more: &str) -> Result<Daemon> {
    let (machine, name) = (guest.server().machine(), guest.name());
    let file = |what: &str| format!("/run/keepalived-{name}.{what}");
    let config = format!(
        "global_defs {{\n router_id {name}\n vrrp_version 3\n}}\n\
         vrrp_instance service {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority {priority}\n \
         advert_int 0.1\n {more}\n virtual_ipaddress {{\n {SERVICE}/32\n }}\n}}\n"
    );
    let (target, path) = (format!("--target={}", guest.pid()?), file("conf"));
    machine.run_with_stdin(&["sh", "-c", &format!("cat > {path}")], &config)?;
    let (pid, vrrp_pid) = (file("pid"), file("vrrp.pid"));
    let files = ["--use-file", &path, "--pid", &pid, "--vrrp_pid", &vrrp_pid];
    let program = ["nsenter", &target, "--net", "keepalived", "--dont-fork", "--log-console", "--vrrp"];
    machine.spawn(&[&program[..], &files[..]].concat())
}

/// Datagrams to the service address, from the host and from another machine on the LAN. The host must not be
/// without it for much longer.
struct Talk {
    host: Stream,
    lan: Stream,
}

impl Talk {
    fn start(site: &Site, guests: &[&Guest]) -> Result<Talk> {
        let service: IpAddr = SERVICE.parse()?;
        let from = |machine: &Machine| {
            let first = guests[0].within(|| Stream::socket(service))?;
            let mut sockets = Vec::new();
            for guest in &guests[1..] {
                sockets.push(guest.within(|| Stream::twin(&first))?);
            }
            sockets.insert(0, first);
            Stream::start_to_any(machine.within(|| Stream::socket(service))?, sockets, service)
        };
        let talk = Talk { host: from(&site.host)?, lan: from(&site.peer)? };
        talk.goes_on()?;
        Ok(talk)
    }

    fn goes_on(&self) -> Result<()> {
        self.lan.wait(SystemTime::now(), PATIENCE)?;
        self.host.wait(SystemTime::now(), PATIENCE)
    }

    /// Does something, waits until the service address is at that guest, and prints how long it was away.
    fn over<T>(&self, what: &str, to: &Guest, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let moment = SystemTime::now();
        let result = change()?;
        wait_for_master(to)?;
        self.goes_on()?;
        let (host, lan) = (self.host.silence(moment), self.lan.silence(moment));
        println!("{what}: away for {host:?} from the host, for {lan:?} from the LAN");
        Ok(result)
    }
}

fn wait_for_master(guest: &Guest) -> Result<()> {
    lab::eventually(PATIENCE, || {
        let addresses = in_net_of(guest, "ip -o addr")?;
        ensure!(
            addresses.contains(&format!(" {SERVICE}/")),
            "{} is not the master: {addresses}",
            guest.name()
        );
        Ok(())
    })
}

#[test]
fn the_service_address_follows_its_master_from_guest_to_guest() -> Result<()> {
    let service: IpAddr = SERVICE.parse()?;
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let one = site.launch_static("one", &["192.168.77.101/24"])?;
    let two = site.launch_static("two", &["192.168.77.102/24"])?;
    let mut first = keepalived(&one, 150, "")?;
    node.wait_both_ways(&one, service, HOST)?;
    let _second = keepalived(&two, 100, "")?;
    let talk = Talk::start(&site, &[&one, &two])?;
    for round in 1..=2 {
        talk.over(&format!("{round}: the master ends"), &two, || first.stop())?;
        node.wait_both_ways(&two, service, HOST)?;
        first = talk.over(&format!("{round}: it is back"), &one, || keepalived(&one, 150, ""))?;
        node.wait_both_ways(&one, service, HOST)?;
    }
    talk.over("the master's guest is killed", &two, || one.stop_hard())?;
    node.wait_both_ways(&two, service, HOST)
}

/// Two guests of one host cannot do this. A virtual MAC is the same for all routers of a group, and the
/// kernel allows no two macvlans on one parent with one MAC. The second keepalived stays in state FAULT, with
/// us or without.
#[test]
fn with_a_virtual_mac_it_follows_its_master_from_host_to_host() -> Result<()> {
    let service: IpAddr = SERVICE.parse()?;
    let site = Site::new(Kind::Lxd)?;
    let far = site.lab.host("far")?;
    far.plug("eth0", &site.lan, &["192.168.77.13/24", "fd77::13/64"])?;
    let lxd = far.lxd()?;
    lxd.macvlan_profile("mv", "eth0")?;
    let (node, far_node) = (Node::start(&site.host)?, Node::start(&far)?);
    let one = site.launch_static("one", &["192.168.77.101/24"])?;
    let two = lxd.launch("two", &["-p", "mv", "-c", "environment.LAB_DHCP=none"])?;
    two.sh("ip addr add 192.168.77.102/24 dev eth0")?;
    // As keepalived's notes on virtual MACs ask for. Otherwise the guest answers from its own MAC too.
    for guest in [&one, &two] {
        in_net_of(guest, "sysctl -q -w net.ipv4.conf.eth0.arp_ignore=1")?;
    }
    let start = || keepalived(&one, 150, "use_vmac");
    let mut first = start()?;
    node.wait_both_ways(&one, service, HOST)?;
    let _second = keepalived(&two, 100, "use_vmac")?;
    let talk = Talk::start(&site, &[&one, &two])?;
    for round in 1..=2 {
        talk.over(&format!("{round}: the master ends"), &two, || first.stop())?;
        far_node.wait_both_ways(&two, service, "192.168.77.13")?;
        node.wait_gone(service)?;
        first = talk.over(&format!("{round}: it is back"), &one, start)?;
        node.wait_both_ways(&one, service, HOST)?;
    }
    Ok(())
}
