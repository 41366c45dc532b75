//! packaging/docs/retiring-a-recipe.md: after its commands, host and guest still reach each other, and the
//! recipe is gone.

use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use lab::{Lab, eventually};

use crate::node::{Node, PATIENCE, UNIT};
use crate::packages;

const DOCUMENT: &str = include_str!("../../packaging/docs/retiring-a-recipe.md");

/// A host as the recipe leaves it, with the recipe's own addresses.
struct Recipe {
    /// The text that follows `console` in the document.
    name: &'static str,
    parent: &'static str,
    network: &'static str,
    host: &'static str,
    /// The commands of the recipe, which make its link.
    made_by: &'static str,
    link: &'static str,
    guest: &'static str,
}

const ROUTE_UNIT: &str = "printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n'";

#[test]
fn lxd_with_mynet() -> Result<()> {
    retired(&Recipe {
        name: "lxd",
        parent: "eth0",
        network: "192.168.100.0/24",
        host: "192.168.100.62",
        made_by: "ip link add mynet link eth0 type macvlan mode bridge; ip addr add 192.168.100.72 dev mynet
                  ip link set mynet up; ip route add 192.168.100.253 dev mynet",
        link: "mynet",
        guest: "192.168.100.253",
    })
}

#[test]
fn docker_with_a_unit() -> Result<()> {
    let units = format!(
        "for unit in set-macvlan-for-host-container-access fix-macvlan-route; do
           {ROUTE_UNIT} > /etc/systemd/system/$unit.service; systemctl enable --now --quiet $unit; done"
    );
    let made_by = format!(
        "{units}; ip link set eth0 promisc on; ip link add nic-macvlan link eth0 type macvlan mode bridge
         ip addr add 192.168.124.190/27 dev nic-macvlan; ip link set nic-macvlan up"
    );
    retired(&Recipe {
        name: "docker-unit",
        parent: "eth0",
        network: "192.168.124.0/24",
        host: "192.168.124.10",
        made_by: Box::leak(made_by.into_boxed_str()),
        link: "nic-macvlan",
        guest: "192.168.124.161",
    })
}

#[test]
fn docker_with_an_aux_address() -> Result<()> {
    retired(&Recipe {
        name: "docker-aux",
        parent: "enp0s3",
        network: "192.168.1.0/24",
        host: "192.168.1.10",
        made_by: "ip link add macvlan_bridge link enp0s3 type macvlan mode bridge
                  ip addr add 192.168.1.199/32 dev macvlan_bridge; ip link set macvlan_bridge up
                  ip route add 192.168.1.128/27 dev macvlan_bridge",
        link: "macvlan_bridge",
        guest: "192.168.1.129",
    })
}

#[test]
fn namespaces_with_a_host_address() -> Result<()> {
    retired(&Recipe {
        name: "namespaces",
        parent: "ens34",
        network: "192.168.42.0/24",
        host: "192.168.42.10",
        made_by: "ip link set ens34 promisc on; ip link add link ens34 macvlan00 type macvlan mode bridge
                  ip addr add 192.168.42.3/32 dev macvlan00; ip link set dev macvlan00 up
                  ip route add 192.168.42.101 dev macvlan00; ip route add 192.168.42.102 dev macvlan00",
        link: "macvlan00",
        guest: "192.168.42.101",
    })
}

#[test]
fn namespaces_with_the_address_moved() -> Result<()> {
    retired(&Recipe {
        name: "namespaces-moved",
        parent: "ens34",
        network: "192.168.42.0/24",
        host: "192.168.42.10",
        made_by: "ip link set ens34 promisc on; ip link add link ens34 macvlan00 type macvlan mode bridge
                  ip link set dev macvlan00 up; ip addr del 192.168.42.10/24 dev ens34
                  ip addr add 192.168.42.10/24 dev macvlan00; ip route add default via 192.168.42.2 dev macvlan00",
        link: "macvlan00",
        guest: "192.168.42.101",
    })
}

#[test]
fn kubernetes_with_the_address_moved() -> Result<()> {
    retired(&Recipe {
        name: "kubernetes",
        parent: "eth0",
        network: "172.16.129.0/24",
        host: "172.16.129.101",
        made_by: "ip link set eth0 promisc on; ip link add link eth0 macvlan0 type macvlan mode bridge
                  ip link set dev macvlan0 up; ip addr add 172.16.129.101/24 dev macvlan0
                  ip route del 172.16.129.0/24 dev eth0",
        link: "macvlan0",
        guest: "172.16.129.110",
    })
}

/// The guest is a namespace made by hand, except that of LXD.
fn retired(recipe: &Recipe) -> Result<()> {
    packages::deb()?;
    let lab = Lab::new()?;
    let lan = lab.lan(recipe.network, "fd77::/64")?;
    let mut host = lab.debian("node")?;
    host.nic(recipe.parent, &lan)?;
    host.boot()?;
    host.sh(&format!(
        "ip link set {0} up; ip addr add {1}/24 dev {0}; {2}",
        recipe.parent, recipe.host, recipe.made_by
    ))?;
    let node = Node::of(lab, lan, host);
    if recipe.name == "lxd" {
        let server = node.host.lxd()?;
        server.macvlan_profile("mv", recipe.parent)?;
        let by_itself = ["-p", "mv", "-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"];
        let guest = server.launch("test1", &by_itself)?;
        guest.sh(&format!("ip addr add {}/24 dev eth0", recipe.guest))?;
    } else {
        node.host.sh(&format!(
            "ip netns add guest; ip link add mac0 link {0} type macvlan mode bridge; ip link set mac0 netns guest
             ip -n guest addr add {1}/24 dev mac0; ip -n guest link set mac0 up",
            recipe.parent, recipe.guest
        ))?;
    }
    ensure!(node.host.pings(recipe.guest.parse::<std::net::IpAddr>()?), "the recipe\n{}", node.picture());
    node.install_file(packages::deb()?)?;
    node.host.wait_unit(UNIT, "active")?;
    let pulse = node.host.pulse(&[], recipe.guest)?;
    let start = SystemTime::now();
    node.host.sh(&commands(recipe.name)?)?;
    eventually(PATIENCE, || {
        let route = node.host.sh(&format!("ip route get {}", recipe.guest))?;
        ensure!(route.contains("dev mvs-"), "it leads elsewhere: {route}{}", node.picture());
        ensure!(node.host.pings(recipe.guest.parse::<std::net::IpAddr>()?), "{}", node.picture());
        Ok(())
    })?;
    ensure!(!node.host.ok(&format!("ip link show {}", recipe.link)), "the recipe is still there");
    let gap = pulse.longest_gap(start, PATIENCE)?;
    println!(
        "{}: {} pings lost, longest time without an answer {} ms",
        recipe.name,
        pulse.lost()?,
        gap.as_millis()
    );
    node.wait("nothing is wrong", |status| status["problems"].as_array().is_some_and(Vec::is_empty))?;
    Ok(())
}

/// The commands of one section, unchanged.
fn commands(name: &str) -> Result<String> {
    let fence = format!("```console {name}\n");
    let block = DOCUMENT.split_once(&fence).with_context(|| format!("no commands for {name}"))?.1;
    let block = block.split_once("```").context("a fence has an end")?.0;
    Ok(block.lines().map(|line| format!("{}\n", line.trim_start_matches("# "))).collect())
}
