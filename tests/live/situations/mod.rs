//! The situations that new users find themselves in. Each is made on a host and typed as they would type it. In
//! at most two commands they see the cause, and what to do. `packaging/docs/situations.md` has what they see.

mod transcript;
mod with_a_guest;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Kind, Machine, eventually};

use self::transcript::{Typed, compare, in_one_line, is_written, write};
use crate::nft::Nft;
use crate::node::{BINARY, Node, PATIENCE, Site};

/// A state may still be on its way when its cause is already shown. So a document is written only a moment later.
const MOMENT: Duration = Duration::from_secs(1);

/// A situation, as a section of the document.
struct Situation {
    title: &'static str,
    /// What happened, and what its user sees of it.
    story: &'static str,
    /// At most two commands of macvlan-shim.
    typed: &'static [&'static str],
    /// The code of a finding of `doctor`, if that is asked.
    finding: &'static str,
    /// The sentence that names the cause.
    cause: &'static str,
    /// What to do.
    cure: &'static str,
}

impl Situation {
    /// Looks at it on a host where it was made.
    fn look(&self, host: &Machine) -> Result<()> {
        let Situation { title, story, typed, finding, cause, cure } = self;
        ensure!(typed.len() <= 2, "{title} takes too long");
        eventually(PATIENCE, || {
            let look = || {
                let all = typed.iter().map(|words| {
                    let typed = Typed::at(host, words)?;
                    Ok(if typed.is_of_doctor() { typed.only(&[finding]) } else { typed })
                });
                all.collect::<Result<Vec<_>>>()
            };
            let seen = look()?;
            let text = in_one_line(&seen);
            ensure!(text.contains(cause), "no cause `{cause}` in {text}");
            ensure!(text.contains(cure), "no cure `{cure}` in {text}");
            if !is_written() {
                return compare(title, story, &seen);
            }
            std::thread::sleep(MOMENT);
            write(title, story, &look()?)
        })
        .with_context(|| (*title).to_owned())
    }
}

/// Addresses that the kernel draws at random are not for a document.
fn without_random_addresses(host: &Machine) -> Result<()> {
    host.sh("sysctl -qw net.ipv6.conf.eth0.autoconf=0; ip -6 address flush dev eth0 dynamic")?;
    Ok(())
}

#[test]
fn on_a_host_without_a_server_or_a_guest() -> Result<()> {
    let lab = lab::Lab::new()?;
    let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
    let host = lab.host("node")?;
    host.plug("eth0", &lan, &["192.168.77.11/24"])?;
    let _node = Node::start(&host)?;
    Situation {
        title: "There is no server",
        story: "Neither LXD nor Incus is installed, or its socket is at an unusual place.",
        typed: &["status"],
        finding: "",
        cause: "it finds no LXD and no Incus",
        cure: "[[server]] socket =",
    }
    .look(&host)?;
    let lxd = host.lxd()?;
    Situation {
        title: "There is no guest on the LAN",
        story: "LXD runs. No guest of it has a macvlan NIC.",
        typed: &["status"],
        finding: "",
        cause: "No guest of lxd has a macvlan NIC.",
        cure: "lxc profile device add macvlan eth0 nic nictype=macvlan parent=PARENT",
    }
    .look(&host)?;
    lxd.cli(&["profile", "device", "remove", "default", "root"])?;
    let pools = lxd.cli(&["storage", "list", "--format=csv"])?;
    lxd.cli(&["storage", "delete", pools.split(',').next().context("a pool")?])?;
    Situation {
        title: "LXD was installed and never initialised",
        story: "`lxd init` did not run, so LXD has no place for guests. `lxc launch` says so.",
        typed: &["status"],
        finding: "",
        cause: "there is no running guest to serve",
        cure: "lxc profile add GUEST macvlan",
    }
    .look(&host)
}

#[test]
fn with_a_daemon_that_may_not_ask_the_server() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    site.host.sh("mkdir -p /run/macvlan-shim && chown 65534 /run/macvlan-shim")?;
    let caps = "-all,+net_admin,+net_broadcast";
    let (inherited, ambient) = (format!("--inh-caps={caps}"), format!("--ambient-caps={caps}"));
    let able = ["setpriv", "--reuid=65534", "--clear-groups", &inherited, &ambient, BINARY, "run"];
    let _daemon = site.host.spawn(&able)?;
    Situation {
        title: "The daemon may not ask LXD",
        story: "The daemon's user is not in the group of the server's socket: somebody changed the unit, or the server was \
                installed in an unusual way.",
        typed: &["status"],
        finding: "",
        cause: "no permission to connect to /var/lib/lxd/unix.socket",
        cure: "in the group lxd",
    }
    .look(&site.host)
}

#[test]
fn without_nftables() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    without_random_addresses(&site.host)?;
    let nft = Nft::install(&site.host)?;
    nft.remove()?;
    let node = nft.start()?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<std::net::IpAddr>()?, crate::node::HOST)?;
    Situation {
        title: "nftables is not installed",
        story: "Guests are reached, and nothing holds them to their own addresses.",
        typed: &["status"],
        finding: "",
        cause: "nft is not installed",
        cure: "apt install nftables",
    }
    .look(&site.host)
}
