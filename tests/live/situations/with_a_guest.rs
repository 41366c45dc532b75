//! The situations on a host with a daemon, an LXD, and a guest that was reached.

use std::net::IpAddr;

use anyhow::Result;
use lab::{Guest, Kind};
use serde_json::json;

use super::{Situation, without_random_addresses};
use crate::node::{HOST, Node, Site};

const GUEST: &str = "192.168.77.101";

/// The host of all these situations.
struct Bench {
    site: Site,
    node: Node,
    guest: Guest,
}

impl Bench {
    fn new() -> Result<Bench> {
        let site = Site::new(Kind::Lxd)?;
        let node = Node::start(&site.host)?;
        without_random_addresses(&site.host)?;
        let guest = site.launch_static("web", &["192.168.77.101/24"])?;
        let bench = Bench { site, node, guest };
        bench.settle()?;
        Ok(bench)
    }

    /// Waits until nothing is wrong.
    fn settle(&self) -> Result<()> {
        self.node.wait_both_ways(&self.guest, GUEST.parse::<IpAddr>()?, HOST)?;
        self.node.wait("nothing needs anybody", |status| status["problems"] == json!([]))?;
        Ok(())
    }

    /// Makes a situation by scripts on the host and in the guest, looks at it, and undoes it.
    fn try_out(&self, made: Made, situation: &Situation) -> Result<()> {
        self.site.host.sh(made.on_host)?;
        self.guest.sh(made.in_guest)?;
        situation.look(&self.site.host)?;
        self.site.host.sh(made.undo_on_host)?;
        self.guest.sh(made.undo_in_guest)?;
        self.settle()
    }
}

/// The scripts that make a situation, and those that undo it.
#[derive(Default)]
struct Made {
    on_host: &'static str,
    undo_on_host: &'static str,
    in_guest: &'static str,
    undo_in_guest: &'static str,
}

impl Made {
    fn on_host(on_host: &'static str, undo_on_host: &'static str) -> Made {
        Made { on_host, undo_on_host, ..Made::default() }
    }

    fn in_guest(in_guest: &'static str, undo_in_guest: &'static str) -> Made {
        Made { in_guest, undo_in_guest, ..Made::default() }
    }
}

#[test]
fn the_parent_or_the_host_is_in_the_way() -> Result<()> {
    let bench = Bench::new()?;
    bench.try_out(
        Made::on_host(
            "ip link set eth0 down",
            "ip link set eth0 up; ip address add fd77::11/64 dev eth0 nodad",
        ),
        &Situation {
            title: "The parent is down",
            story: "Guest and host no longer reach each other, and neither reaches the LAN.",
            typed: &["status"],
            finding: "",
            cause: "eth0 is down",
            cure: "ip link set eth0 up",
        },
    )?;
    bench.site.lan.sh(&format!("ip link set {} down", bench.site.port.name()))?;
    Situation {
        title: "The cable is out",
        story: "The parent is up and no frame passes it.",
        typed: &["status"],
        finding: "",
        cause: "eth0 has no carrier",
        cure: "look at the cable",
    }
    .look(&bench.site.host)?;
    bench.site.lan.sh(&format!("ip link set {} up", bench.site.port.name()))?;
    bench.settle()?;
    bench.try_out(
        Made::on_host(
            "nft 'table inet fw { chain in { type filter hook input priority 0; policy drop; ct state \
             established,related accept; iifname { lo, eth0 } accept; }; }'",
            "nft delete table inet fw",
        ),
        &Situation {
            title: "The host's firewall lets in only the uplink",
            story: "The guest does not reach its host. The firewall was written before there was a shim: it names `eth0`.",
            typed: &["explain web"],
            finding: "",
            cause: "drops",
            cure: "nft insert rule inet fw in iifname \"mvs-*\" accept",
        },
    )?;
    bench.try_out(
        Made::on_host(
            "sysctl -qw net.ipv4.conf.all.arp_ignore=1",
            "sysctl -qw net.ipv4.conf.all.arp_ignore=0",
        ),
        &Situation {
            title: "The host answers ARP only on the link that has the address",
            story: "The host reaches the guest. Over IPv4 the guest does not find its host.",
            typed: &["doctor"],
            finding: "arp-ignore",
            cause: "net.ipv4.conf.all.arp_ignore is 1",
            cure: "sysctl -w net/ipv4/conf/all/arp_ignore=0",
        },
    )?;
    bench.try_out(
        Made {
            on_host: "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1",
            undo_on_host: "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0; ip address add fd77::11/64 dev eth0 nodad",
            in_guest: "ip address add fd77::101/64 dev eth0",
            undo_in_guest: "ip address del fd77::101/64 dev eth0",
        },
        &Situation {
            title: "The host has no IPv6",
            story: "The guest has an IPv6 address. The host reaches it over IPv4 alone.",
            typed: &["explain fd77::101"],
            finding: "",
            cause: "no IPv6",
            cure: "give the parent an IPv6 address",
        },
    )
}

#[test]
fn the_guest_has_an_address_that_it_should_not_have() -> Result<()> {
    let bench = Bench::new()?;
    bench.try_out(
        Made::in_guest("ip address add 10.77.0.5/32 dev eth0", "ip address del 10.77.0.5/32 dev eth0"),
        &Situation {
            title: "The guest's address is in another network",
            story: "Somebody gave the guest an address by hand. The host does not reach it there.",
            typed: &["explain 10.77.0.5"],
            finding: "",
            cause: "it is in none of the networks of eth0",
            cure: "policy.allow",
        },
    )?;
    bench.try_out(
        Made {
            on_host: "ip route add 10.99.0.0/16 via 192.168.77.3",
            undo_on_host: "ip route delete 10.99.0.0/16 via 192.168.77.3",
            in_guest: "ip address add 192.168.77.3/24 dev eth0",
            undo_in_guest: "ip address del 192.168.77.3/24 dev eth0",
        },
        &Situation {
            title: "The guest takes the gateway's address",
            story: "A route to it would hand the guest everything that the host sends through its gateway.",
            typed: &["status", "explain 192.168.77.3"],
            finding: "",
            cause: "is the gateway of a route of this host",
            cure: "lxc exec web -- ip address del 192.168.77.3/24 dev eth0",
        },
    )?;
    bench.try_out(
        Made::in_guest(
            "ip address add 192.168.77.12/24 dev eth0",
            "ip address del 192.168.77.12/24 dev eth0",
        ),
        &Situation {
            title: "The guest takes the address of another machine",
            story: "Two machines on the LAN answer for one address.",
            typed: &["status", "explain 192.168.77.12"],
            finding: "",
            cause: "holds 192.168.77.12 on the LAN of eth0",
            cure: "lxc exec web -- ip address del 192.168.77.12/24 dev eth0",
        },
    )?;
    bench.try_out(
        Made::in_guest("ip route add blackhole 192.168.77.11/32", "ip route del blackhole 192.168.77.11/32"),
        &Situation {
            title: "The guest does not answer",
            story: "Everything of the host is right. The guest's own firewall or routing keeps its answers back.",
            typed: &["explain web"],
            finding: "",
            cause: "it did not answer",
            cure: "lxc exec web -- ping",
        },
    )?;
    let set = "ip link set dev eth0 type macvlan mode private";
    bench.site.host.sh(&format!("nsenter --target={} --net {set}", bench.guest.pid()?))?;
    Situation {
        title: "The NIC is in mode private",
        story: "A macvlan in this mode talks to no other child of its parent, so not to a shim either.",
        typed: &["explain web"],
        finding: "",
        cause: "its macvlan mode is private",
        cure: "set the NIC to mode bridge",
    }
    .look(&bench.site.host)
}

#[test]
fn the_guest_is_not_where_it_is_looked_for() -> Result<()> {
    let bench = Bench::new()?;
    let Bench { site, node, .. } = &bench;
    let look = |situation: &Situation| situation.look(&site.host);
    let still = ["-p", "mv", "-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"];
    let other = site.server.launch("db", &still)?;
    look(&Situation {
        title: "The guest has no address",
        story: "DHCP has no answer for it.",
        typed: &["explain db"],
        finding: "",
        cause: "it has no address of global scope yet",
        cure: "lxc exec db -- ip address",
    })?;
    other.stop_hard()?;
    node.wait_nic(&other, "eth0", "stopped")?;
    look(&Situation {
        title: "The guest is stopped",
        story: "It does not answer.",
        typed: &["explain db"],
        finding: "",
        cause: "it says that db is stopped",
        cure: "lxc start db",
    })?;
    site.server.cli(&["config", "device", "override", "db", "eth0", "parent=eth7"])?;
    look(&Situation {
        title: "The parent does not exist",
        story: "`lxc start db` fails: Parent device 'eth7' doesn't exist.",
        typed: &["explain db", "doctor"],
        finding: "parent-absent",
        cause: "eth7 is no interface of this host",
        cure: "lxc config device set GUEST NIC parent=LINK",
    })?;
    site.server.cli(&["delete", "--force", "db"])?;

    site.launch_bridged("mail")?;
    look(&Situation {
        title: "The guest is on a bridge",
        story: "`status` does not show it.",
        typed: &["explain mail"],
        finding: "",
        cause: "its NIC eth0 is bridged on br9",
        cure: "it reaches this host at 10.9.9.1 without macvlan-shim",
    })?;

    site.host.sh(
        "ip netns add docker9; ip link add mv9 link eth0 address 02:42:c0:a8:4d:c8 type macvlan mode bridge
         ip link set mv9 netns docker9; ip -n docker9 addr add 192.168.77.200/24 dev mv9
         ip -n docker9 link set mv9 up",
    )?;
    look(&Situation {
        title: "A container of Docker is on the LAN",
        story: "Docker's own macvlan network. Nobody tells macvlan-shim of its containers.",
        typed: &["explain 192.168.77.200", "doctor"],
        finding: "foreign-child",
        cause: "belongs to a link that no server vouches for",
        cure: "routes = [\"192.168.77.200/32\"]",
    })?;
    site.host.sh("ip netns delete docker9")?;
    Ok(())
}

#[test]
fn something_else_runs_or_does_not() -> Result<()> {
    let bench = Bench::new()?;
    bench.try_out(
        Made {
            on_host: "ip link add mynet link eth0 type macvlan mode bridge
                      sysctl -qw net.ipv6.conf.mynet.disable_ipv6=1; ip link set mynet up; ip route add 192.168.77.102/32 dev mynet",
            undo_on_host: "ip link delete mynet",
            in_guest: "ip address add 192.168.77.102/24 dev eth0",
            undo_in_guest: "ip address del 192.168.77.102/24 dev eth0",
        },
        &Situation {
            title: "A recipe from the web is still at work",
            story: "A script makes `mynet` and a route at boot, as many guides say.",
            typed: &["status", "doctor"],
            finding: "recipe-link",
            cause: "mynet",
            cure: "ip link delete mynet",
        },
    )?;
    let Bench { site, mut node, .. } = bench;
    let look = |situation: &Situation| situation.look(&site.host);
    site.host.sh("echo 'alice:x:7001:7001::/:/bin/sh' >>/etc/passwd")?;
    look(&Situation {
        title: "Not everybody may ask",
        story: "A user who is neither root nor in the group of the control socket.",
        typed: &["$ status"],
        finding: "",
        cause: "you may not ask the daemon",
        cure: "root may",
    })?;
    look(&Situation {
        title: "Two daemons",
        story: "Somebody starts it by hand while the service runs.",
        typed: &["run"],
        finding: "",
        cause: "already running in this network namespace",
        cure: "systemctl",
    })?;
    site.host.run_with_stdin(
        &["sh", "-c", "cat > /etc/macvlan-shim/config.toml"],
        "[shim]\nadresses = [\"192.168.77.72\"]\n",
    )?;
    look(&Situation {
        title: "A key is misspelt",
        story: "`systemctl reload macvlan-shimd` fails.",
        typed: &["config check"],
        finding: "",
        cause: "there is no key \"adresses\" in [shim]",
        cure: "did you mean \"addresses\"?",
    })?;
    site.host.sh("rm /etc/macvlan-shim/config.toml")?;
    node.daemon.stop()?;
    look(&Situation {
        title: "The daemon does not run",
        story: "What it made still stands. Nothing follows changes.",
        typed: &["status"],
        finding: "",
        cause: "no daemon answers",
        cure: "systemctl start macvlan-shimd",
    })?;
    Ok(())
}
