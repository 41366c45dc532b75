//! The real state: the host's and the guests' network as `ip -j` shows it, and the servers' answers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::intent::Intent;
use crate::site::{Known, ROLES, SERVERS, Site};

/// The mark of all objects of the daemon.
pub(crate) const PROTOCOL: &str = "77";
/// The mark of its links.
pub(crate) const GROUP: &str = "7173";

/// The state of everything at one moment.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) links: Vec<Link>,
    pub(crate) routes: Vec<Route>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) neighbours: Vec<Neighbour>,
    pub(crate) proxies: Vec<Neighbour>,
    /// By their paths below `/proc/sys/net`.
    pub(crate) sysctls: BTreeMap<String, String>,
    /// The guests that run, by their indices in [`ROLES`].
    pub(crate) guests: BTreeMap<usize, Guest>,
    /// The output of `status --json`.
    pub(crate) status: Value,
    /// Our filters, as `nft` lists them.
    pub(crate) filter: String,
}

/// A guest that runs.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) pid: u64,
    /// The MAC from its server.
    pub(crate) given_mac: Option<String>,
    /// Its macvlan link.
    pub(crate) nic: Link,
}

/// A link.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Link {
    pub(crate) ifname: String,
    /// The name of the link below.
    pub(crate) link: Option<String>,
    pub(crate) flags: Vec<String>,
    pub(crate) mtu: u32,
    pub(crate) group: String,
    pub(crate) master: Option<String>,
    #[serde(rename = "address", default)]
    pub(crate) mac: String,
    #[serde(default)]
    pub(crate) linkinfo: Value,
    #[serde(rename = "addr_info", default)]
    pub(crate) addresses: Vec<Address>,
}

/// An address on a link.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Address {
    pub(crate) local: IpAddr,
    pub(crate) prefixlen: u8,
    pub(crate) scope: String,
    #[serde(default)]
    pub(crate) dynamic: bool,
    #[serde(default)]
    pub(crate) tentative: bool,
    #[serde(default)]
    pub(crate) dadfailed: bool,
}

/// A route.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Route {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(rename = "dst")]
    pub(crate) destination: String,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) dev: Option<String>,
    pub(crate) table: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) scope: Option<String>,
    #[serde(rename = "prefsrc")]
    pub(crate) source: Option<IpAddr>,
    #[serde(default)]
    pub(crate) metric: u32,
    /// Set here, because the two families are dumped separately.
    #[serde(default)]
    pub(crate) v6: bool,
}

/// A policy rule.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Rule {
    pub(crate) priority: u32,
    pub(crate) protocol: Option<String>,
    /// Set here, because the two families are dumped separately.
    #[serde(default)]
    pub(crate) v6: bool,
}

/// An entry of a neighbour table, or a proxy entry.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Neighbour {
    #[serde(rename = "dst")]
    pub(crate) address: IpAddr,
    pub(crate) dev: String,
    #[serde(rename = "lladdr")]
    pub(crate) mac: Option<String>,
    #[serde(default)]
    pub(crate) state: Vec<String>,
    pub(crate) protocol: Option<String>,
}

const DUMP: &str = "
ip -j -d addr; echo
ip -j -4 route show table all; echo
ip -j -6 route show table all; echo
ip -j -4 rule; echo
ip -j -6 rule; echo
ip -j neigh; echo
ip -j -6 neigh show proxy; echo
for pid in $pids; do nsenter -t $pid -n ip -j -d addr 2>/dev/null || echo null; echo; done
echo filter
nft --stateless list table netdev macvlan_shim 2>/dev/null || :
echo sysctls
cd /proc/sys/net; grep -s . ipv[46]/conf/*/* ipv[46]/neigh/*/* || :
";

impl Truth {
    /// Reads everything. A server that should answer is asked for its guests. For another server, the guests
    /// count that were known to run and whose processes still do.
    pub(crate) fn read(site: &Site, intent: &Intent) -> Result<Truth> {
        for (index, server) in SERVERS.iter().enumerate().filter(|(index, _)| answers(intent, *index)) {
            ask(site, index).with_context(|| format!("asking {server}"))?;
        }
        let known = site.known().clone();
        let running: Vec<usize> = (0..ROLES.len()).filter(|guest| known[*guest].pid.is_some()).collect();
        let pids: Vec<String> = running.iter().filter_map(|g| Some(known[*g].pid?.to_string())).collect();
        let text = site.host.sh(&format!("pids='{}'\n{DUMP}", pids.join(" ")))?;
        let (dumps, sysctls) = text.split_once("\nsysctls\n").context("no sysctls")?;
        let (dumps, filter) = dumps.split_once("\nfilter").context("no filter")?;
        let mut dumps = dumps.lines().filter(|line| !line.is_empty());
        let mut truth = Truth {
            links: next(&mut dumps)?,
            routes: families(next(&mut dumps)?, next(&mut dumps)?, |route: &mut Route| &mut route.v6),
            rules: families(next(&mut dumps)?, next(&mut dumps)?, |rule: &mut Rule| &mut rule.v6),
            neighbours: next(&mut dumps)?,
            proxies: next(&mut dumps)?,
            sysctls: sysctls.lines().filter_map(|line| line.split_once(':')).map(owned).collect(),
            guests: BTreeMap::new(),
            status: site.under_test.status()?,
            filter: filter.to_owned(),
        };
        for guest in running {
            let links: Option<Vec<Link>> = next(&mut dumps)?;
            let nic = links.into_iter().flatten().find(|link| link.kind() == "macvlan");
            let Known { pid, mac: given_mac } = known[guest].clone();
            if let (Some(pid), Some(nic)) = (pid, nic) {
                truth.guests.insert(guest, Guest { pid, given_mac, nic });
            }
        }
        Ok(truth)
    }

    /// A link of the host.
    pub(crate) fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.ifname == name)
    }

    /// The links that bear the mark.
    pub(crate) fn shims(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|link| link.group == GROUP)
    }

    /// The one of [`Truth::shims`] that our routes lead through, else the first.
    pub(crate) fn shim(&self) -> Option<&Link> {
        let used = |shim: &&Link| self.our_routes().any(|route| route.dev.as_ref() == Some(&shim.ifname));
        self.shims().find(used).or_else(|| self.shims().next())
    }

    /// The global addresses of a link of the host that packets may come from.
    pub(crate) fn host_addresses(&self, link: &str) -> impl Iterator<Item = IpNet> {
        let addresses = self.link(link).into_iter().flat_map(|link| &link.addresses);
        addresses.filter(|address| address.is_usable()).filter_map(Address::net)
    }

    /// The routes that bear the mark.
    pub(crate) fn our_routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(|route| route.is_ours())
    }
}

impl Link {
    pub(crate) fn is_up(&self) -> bool {
        self.has("UP")
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|one| one == flag)
    }

    pub(crate) fn kind(&self) -> &str {
        self.linkinfo["info_kind"].as_str().unwrap_or_default()
    }
}

impl Address {
    /// Of global scope, and not held back by duplicate address detection.
    pub(crate) fn is_usable(&self) -> bool {
        self.scope == "global" && !self.tentative && !self.dadfailed
    }

    pub(crate) fn net(&self) -> Option<IpNet> {
        IpNet::new(self.local, self.prefixlen).ok()
    }
}

impl Route {
    pub(crate) fn is_ours(&self) -> bool {
        self.protocol.as_deref() == Some(PROTOCOL)
    }

    pub(crate) fn table(&self) -> &str {
        self.table.as_deref().unwrap_or("main")
    }

    /// The destination; none for a default route.
    pub(crate) fn network(&self) -> Option<IpNet> {
        self.destination.parse().ok().or_else(|| Some(IpNet::from(self.host()?)))
    }

    /// The destination, if it is a single address.
    pub(crate) fn host(&self) -> Option<IpAddr> {
        self.destination.parse().ok()
    }
}

impl Rule {
    pub(crate) fn is_ours(&self) -> bool {
        self.protocol.as_deref() == Some(PROTOCOL)
    }

    /// It is foreign and comes before the kernel's own rule for main.
    pub(crate) fn precedes_main(&self) -> bool {
        self.priority > 0 && self.priority < 32766 && !self.is_ours()
    }
}

impl Neighbour {
    pub(crate) fn is_ours(&self) -> bool {
        self.protocol.as_deref() == Some(PROTOCOL)
    }

    pub(crate) fn is(&self, state: &str) -> bool {
        self.state.iter().any(|one| one == state)
    }
}

fn answers(intent: &Intent, server: usize) -> bool {
    intent.servers[server] == crate::intent::ServerIntent::Up
}

/// Asks a server for those of its guests that run.
fn ask(site: &Site, server: usize) -> Result<()> {
    let instances = site.servers[server].get("/1.0/instances?recursion=2")?;
    let instances = instances.as_array().context("no list of instances")?;
    let mut known = site.known();
    for (guest, role) in ROLES.iter().enumerate().filter(|(_, role)| role.server == server) {
        let instance = instances.iter().find(|instance| instance["name"] == role.name);
        let state = instance.map(|instance| &instance["state"]);
        let mac = instance.and_then(|instance| instance["config"]["volatile.eth0.hwaddr"].as_str());
        known[guest] = Known {
            pid: state.and_then(|state| state["pid"].as_u64()).filter(|pid| *pid > 0),
            mac: mac.map(str::to_owned),
        };
    }
    Ok(())
}

fn next<'a, T: DeserializeOwned>(dumps: &mut impl Iterator<Item = &'a str>) -> Result<T> {
    let text = dumps.next().context("a dump is missing")?;
    serde_json::from_str(text).with_context(|| text.to_owned())
}

fn families<T>(v4: Vec<T>, mut v6: Vec<T>, flag: impl Fn(&mut T) -> &mut bool) -> Vec<T> {
    v6.iter_mut().for_each(|one| *flag(one) = true);
    v4.into_iter().chain(v6).collect()
}

fn owned((path, value): (&str, &str)) -> (String, String) {
    (path.to_owned(), value.to_owned())
}
