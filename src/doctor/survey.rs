//! Everything that was read of the host, at one moment: plain data. What could not be read is a [`Gap`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::finding::{Finding, Gap};
use super::firewall::Firewall;
use super::firewall::entrance::Entrance;
use crate::config::Config;
use crate::model::inventory::{Guest, NicParent, ServerState};
use crate::model::snapshot::{Child, ChildKey, Link};
use crate::model::status::{Problem, Status};
use crate::model::{Code, Family, GuestKey, Inventory, LinkIndex, NicKey, Plan, Snapshot, Timestamp};
use crate::reconcile::join::Joins;
use crate::reconcile::{Decision, Desired, Inputs, diff};
use crate::report::{Circumstances, FromScratch, Report};

/// Everything that was read of the host.
#[derive(Clone, Debug)]
pub struct Survey {
    /// When it was read.
    pub time: Timestamp,
    /// The host's name.
    pub name: String,
    /// Its distribution, such as `Debian GNU/Linux 12`.
    pub system: String,
    /// Its kernel's release.
    pub release: String,
    /// The configuration. The default one if the files are faulty.
    pub config: Config,
    /// Every fault of the configuration files.
    pub config_fault: Option<String>,
    /// The daemon.
    pub daemon: DaemonState,
    /// The kernel's state, and the decisions that follow.
    pub kernel: Result<KernelView, Gap>,
    /// The servers and their guests, as they answered just now.
    pub inventory: Inventory,
    /// The rule sets of the firewall.
    pub firewall: Result<Firewall, Gap>,
    /// What the firmware says about the machine.
    pub machine: Machine,
    /// The daemon's unit.
    pub unit: Result<UnitState, Gap>,
    /// systemd-networkd.
    pub networkd: Networkd,
    /// The state of each link in NetworkManager, if that runs.
    pub network_manager: Result<Option<BTreeMap<String, String>>, Gap>,
    /// The configuration of programs that run: `dnsmasq`, `keepalived`.
    pub programs: BTreeMap<String, Vec<ConfigLine>>,
    /// The files that may set up links at boot.
    pub boot_files: Vec<ConfigLine>,
    /// Sysctls by their names, as far as the kernel has them.
    pub sysctls: BTreeMap<String, i64>,
    /// The sockets of servers, and who may use them.
    pub sockets: Vec<SocketRights>,
    /// How long processes run, by their ids.
    pub ages: BTreeMap<u32, Duration>,
}

/// The daemon, as its control socket shows it.
#[derive(Clone, Debug)]
pub enum DaemonState {
    /// It answers.
    Answers(Box<Status>),
    /// There is none.
    Absent(String),
    /// It may be there and gives no answer.
    Silent(Gap),
}

/// The kernel's state, and a decision from scratch.
#[derive(Clone, Debug)]
pub struct KernelView {
    /// The kernel's state.
    pub snapshot: Snapshot,
    /// The decisions.
    pub desired: Desired,
    /// The owner of each child, and the reason.
    pub joins: Joins,
    /// What a daemon would say.
    pub status: Status,
    /// What a daemon would do.
    pub plan: Plan,
}

/// What the firmware says about the machine, and cloud-init about the cloud.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// `/sys/class/dmi/id` by file: `sys_vendor`, `product_name`, …
    pub dmi: BTreeMap<String, String>,
    /// The data source of cloud-init.
    pub cloud: Option<String>,
    /// It is a virtual machine.
    pub is_virtual: bool,
}

/// A unit of systemd.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitState {
    /// There is such a unit.
    pub exists: bool,
    /// `active`, `inactive`, `failed`, …
    pub active: String,
    /// How it ended, as systemd tells: `success`, `exit-code`, …
    pub result: String,
    /// The groups of its process besides its own.
    pub groups: Vec<String>,
    /// Its last messages.
    pub log: Vec<String>,
}

/// systemd-networkd.
#[derive(Clone, Debug, Default)]
pub struct Networkd {
    /// Whether it runs.
    pub runs: Option<bool>,
    /// The keys of its configuration, the last value of each.
    pub keys: BTreeMap<String, String>,
    /// A file tells it to leave our shims alone.
    pub spares_shims: bool,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigLine {
    /// The file.
    pub file: String,
    /// The line's number, from 1.
    pub number: usize,
    /// Its text, without spaces around.
    pub text: String,
}

/// The socket of a server, and who may use it.
#[derive(Clone, Debug, PartialEq)]
pub struct SocketRights {
    /// Its path.
    pub path: String,
    /// The name of its group.
    pub group: String,
    /// The group may use it.
    pub is_open_to_group: bool,
    /// Everybody may use it.
    pub is_open_to_all: bool,
}

impl Survey {
    /// The kernel's state, and the decisions.
    pub fn view(&self) -> Result<&KernelView, Gap> {
        self.kernel.as_ref().map_err(Clone::clone)
    }

    /// The status of the daemon, or what one would say.
    pub fn status(&self) -> Result<&Status, Gap> {
        match &self.daemon {
            DaemonState::Answers(status) => Ok(status),
            DaemonState::Absent(_) | DaemonState::Silent(_) => Ok(&self.view()?.status),
        }
    }

    /// Everything that needs somebody, according to the daemon, or to what one would say.
    pub fn problems(&self) -> Result<&[Problem], Gap> {
        Ok(&self.status()?.problems)
    }

    /// The problems with these codes, as findings.
    pub fn told(&self, codes: &[Code]) -> Result<Vec<Finding>, Gap> {
        Ok(findings(self.problems()?, codes))
    }

    /// The same, as the kernel shows them just now. A sysctl that changes sends no event, so the daemon learns of
    /// it only when it next looks at the host.
    pub fn shown(&self, codes: &[Code]) -> Result<Vec<Finding>, Gap> {
        match &self.kernel {
            Ok(view) => Ok(findings(&view.status.problems, codes)),
            Err(_) => self.told(codes),
        }
    }

    /// The interfaces that NICs of any guest, running or not, and the configuration name as parents, each with
    /// one that names it.
    pub fn named_parents(&self) -> Result<BTreeMap<String, String>, Gap> {
        let mut parents = BTreeMap::new();
        for (key, guest) in self.all_guests()? {
            for nic in guest.nics.told() {
                if let NicParent::Link { name, vlan: None } = &nic.parent {
                    parents.entry(name.to_string()).or_insert_with(|| format!("{key} {} is on it", nic.name));
                }
            }
        }
        for name in self.config.parents.keys() {
            parents.entry(name.clone()).or_insert_with(|| "[[parent]] names it".to_owned());
        }
        Ok(parents)
    }

    /// The guests of every server.
    pub fn all_guests(&self) -> Result<impl Iterator<Item = (GuestKey, &Guest)>, Gap> {
        let unread = self.inventory.servers.iter();
        let unread = unread.filter(|(_, it)| it.guests.is_none() && it.state != ServerState::Absent);
        let unread: Vec<String> = unread.map(|(id, _)| id.to_string()).collect();
        match unread.is_empty() {
            true => Ok(self.inventory.guests()),
            false => Err(Gap::new(format!("the guests of {} could not be read", unread.join(" and ")))),
        }
    }

    /// The sysctl of that name.
    pub fn sysctl(&self, name: &str) -> Option<i64> {
        self.sysctls.get(name).copied()
    }
}

fn findings(problems: &[Problem], codes: &[Code]) -> Vec<Finding> {
    let is_wanted = |problem: &&Problem| Code::named(&problem.code).is_some_and(|code| codes.contains(&code));
    problems.iter().filter(is_wanted).filter_map(Finding::of).collect()
}

impl KernelView {
    /// The view of decisions from scratch, given their inputs again.
    pub fn of(decided: FromScratch, inputs: &Inputs<'_>, circumstances: Circumstances<'_>) -> KernelView {
        let status = decided.view(inputs, circumstances, Report::of).status;
        let FromScratch { desired, memory } = decided;
        let plan = diff(&desired, inputs.snapshot);
        KernelView { snapshot: inputs.snapshot.clone(), desired, joins: memory.joins, status, plan }
    }

    /// The parents that guests are on, each with its shim's name.
    pub fn parents(&self) -> impl Iterator<Item = (&Link, String)> {
        self.desired.shims.iter().filter_map(|(parent, shim)| {
            let link = self.snapshot.links.get(parent)?;
            Some((link, shim.link.name.to_string()))
        })
    }

    /// The NICs that are served on a parent, each with its child.
    pub fn served_on(&self, on: LinkIndex) -> impl Iterator<Item = (&NicKey, &ChildKey, &Child)> {
        self.desired.decisions.iter().filter_map(move |(nic, decision)| match decision {
            Decision::Served { child, parent, .. } if *parent == on => {
                Some((nic, child, self.snapshot.children.get(child)?))
            }
            _ => None,
        })
    }

    /// The host's addresses at which guests on a parent reach it.
    pub fn host_addresses(&self, parent: &Link) -> impl Iterator<Item = IpAddr> {
        let shim = self.status.shims.iter().find(|shim| shim.parent == parent.name);
        shim.into_iter().flat_map(|shim| shim.host_addresses.iter().copied())
    }

    /// The places where guests' packets come in: one for each parent and family that both guests and the host
    /// have addresses of.
    pub fn entrances(&self) -> Vec<Entrance> {
        let mut entrances = Vec::new();
        for (parent, shim) in self.parents() {
            for family in Family::ALL {
                let host = self.host_addresses(parent).find(|address| Family::of(*address) == family);
                let holders = self.desired.held.holders.iter();
                let on_it = holders.filter(|(_, holder)| holder.parent == parent.index);
                let guest = on_it.map(|(address, _)| *address).find(|it| Family::of(*it) == family);
                let ranges =
                    self.desired.shims.get(&parent.index).into_iter().flat_map(|it| it.ranges.keys());
                let in_range = ranges.map(|range| range.addr()).find(|it| Family::of(*it) == family);
                if let (Some(host), Some(guest)) = (host, guest.or(in_range)) {
                    let parent = parent.name.to_string();
                    entrances.push(Entrance { shim: shim.clone(), parent, guest, host });
                }
            }
        }
        entrances
    }
}
