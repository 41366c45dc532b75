//! The language of a story. Each line is about one thing. A later line about the same thing changes it, and
//! `no …` takes it away.
//!
//! ```text
//! config:                                        the lines below it, indented, are the file
//! link eth0 [mac M] [mtu N] [name N] [up|down] [wifi|bridge|vlan N on L|macvlan on L] [port of L]
//!           [private|passthru] [marked] [group N] [no ethernet] [[no] carrier] [arp_ignore N]
//!           [multicast] [noarp] [protodown]
//! address eth0 192.168.100.62/24 [tentative|deprecated|temporary|secondary|ours] [noprefixroute] [peer A/24]
//! route 10.0.0.0/8 [via A] dev eth0 [and [via B] dev eth1] [src A] [metric N] [table N] [ours]
//! route 10.0.0.9/32 blackhole|unreachable|throw|local [metric N] [table N]
//! next hop 192.168.100.1                         the gateway of a default route
//! rule 100 [v6] [lookup N|goto N|blackhole] [ours] [to NET] [from A] [fwmark N] [not] [suppress_prefixlength N]
//!           [suppress_ifgroup N]                 policy rules
//! neighbour eth0 192.168.100.9 lan:09 reachable|stale|asking|asked|failed|permanent [ours]
//! proxy eth0 2001:db8::1 [ours]
//! sysctl mvs-eth0 ipv4.arp_filter 0
//! host without ipv6 | host arp_ignore|rp_filter|route_localnet|proxy_arp_pvlan 1      of `all`
//! host sysctls usable|read-only|missing | host lacks ipv6.force_forwarding
//! hidden 00:16:3e:00:00:01                       a MAC in a namespace that we cannot see
//! server lxd [connected|connecting|absent|failed|unread] [member 192.168.100.63 named lxd2]
//! guest lxd:web [vm] [stopped] [init 1234] [profiles a,b] [enabled X]: eth0 :01 on eth0 [vlan N] [private] [named X]; eth1 …
//! guest docker:db init 1234: all in its namespace
//! child 1:7 :01 on eth0 [named vrrp] [private|passthru|source [from M,M] [nodst]] [tap] [down] [port of br0 [mac M]]: 192.168.100.9/24, 2001:db8::9/64 tentative
//! process 1234 in 1                              the namespace of a guest's first process
//! restart                                        a new process: it remembers nothing
//! reload                                         SIGHUP: waiting is forgotten
//! refuse set neighbour: EPERM                    the kernel fails every op that reads so; `refuse nothing`
//! nftables                                       there is an nft, and the kernel has everything that it needs
//! foreign chain bar foo at mvs-eth0              a chain of somebody else that can take frames away
//! explain [all] web 192.168.100.9 …              shows these explanations after each plan, in full or not
//! in full                                        show the sysctls of a new shim one by one
//! with questions                                 ask the LAN who has addresses that guests claim, and show it; else only old
//!           knowledge of the kernel is checked
//! ```
//!
//! A MAC may be short: `:01` is a guest's 00:16:3e:00:00:01, and `lan:09` is 02:00:5e:00:00:09 of a machine
//! on the LAN.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use macvlan_shim::config::Config;
use macvlan_shim::model::inventory::{
    Guest, GuestKey, GuestKind, Home, Inventory, Mode, Nic, NicParent, Nics, OptOut, Power, Server, ServerId,
    ServerKind, ServerState,
};
use macvlan_shim::model::names::LINK_GROUP;
use macvlan_shim::model::names::metric;
use macvlan_shim::model::routing::{Action, Hop, Way};
use macvlan_shim::model::snapshot::{
    AddressKey, Child, ChildKey, Filter, ForeignChain, GuestAddress, HostAddress, Link, LinkKind, Master,
    Neighbour, NeighbourState, Netns, Route, RouteKey, RouteKind, Rule, Setting, Snapshot, Sources, Sysctls,
};
use macvlan_shim::model::{Family, LinkIndex, Mac, NetnsId, Op};
use macvlan_shim::reconcile::{Desired, LanQuestions, Memory, Schedule};
use smol_str::SmolStr;

use crate::in_memory_kernel::{InMemoryKernel, default_settings};

/// Everything in a story.
pub(crate) struct World {
    pub(crate) kernel: InMemoryKernel,
    pub(crate) inventory: Inventory,
    pub(crate) config: Config,
    pub(crate) memory: Memory,
    pub(crate) schedule: Schedule,
    pub(crate) desired: Desired,
    /// The kernel's state when that was decided.
    pub(crate) seen: Snapshot,
    pub(crate) now: Instant,
    pub(crate) in_full: bool,
    /// Something other than the kernel and the clock asks for a new decision.
    pub(crate) told: bool,
    pub(crate) questions: LanQuestions,
    /// The LAN is asked whenever `policy.probe` says so.
    pub(crate) asks_for_all: bool,
    /// The subjects to explain, and whether in full.
    pub(crate) sought: Vec<(String, bool)>,
    config_text: String,
    in_config: bool,
    refused: Vec<(String, String)>,
}

type Said<T = ()> = Result<T, String>;

impl World {
    /// Nothing but a host.
    pub(crate) fn new() -> World {
        let mut snapshot = Snapshot::default();
        snapshot.host.ipv6 = true;
        snapshot.host.machine_id = "a story".to_owned();
        // The kernel's own route.
        for family in Family::ALL {
            for (priority, table) in [(0, 255), (32766, 254)] {
                snapshot.rules.insert(Rule::look_up(family, priority, table));
            }
        }
        let lo = Link {
            index: LinkIndex(1),
            name: "lo".into(),
            mtu: 65536,
            up: true,
            arp: true,
            ..Link::default()
        };
        snapshot.links.insert(LinkIndex(1), lo);
        World {
            kernel: InMemoryKernel::new(snapshot),
            inventory: Inventory::default(),
            config: Config::default(),
            memory: Memory::default(),
            schedule: Schedule::default(),
            desired: Desired::default(),
            seen: Snapshot::default(),
            now: Instant::now(),
            in_full: false,
            told: true,
            questions: LanQuestions::default(),
            asks_for_all: false,
            sought: Vec::new(),
            config_text: String::new(),
            in_config: false,
            refused: Vec::new(),
        }
    }

    /// Takes in the configuration of the story.
    pub(crate) fn read_config(&mut self) {
        self.config =
            Config::parse(&self.config_text, Path::new("story")).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Time goes by: `after 200ms`, or nothing.
    pub(crate) fn wait(&mut self, after: &str) -> Said {
        let Some(time) = after.strip_prefix("after ") else {
            return if after.is_empty() { Ok(()) } else { Err("expected: then [after 200ms]".to_owned()) };
        };
        let (number, unit) = time.split_at(time.find(|c: char| !c.is_ascii_digit()).unwrap_or(time.len()));
        let number: u64 = parse(number)?;
        self.now += match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            _ => return Err("expected ms or s".to_owned()),
        };
        Ok(())
    }

    /// The in-memory kernel, or the refusal that the story asks for.
    pub(crate) fn apply(&mut self, op: &Op) -> Result<(), String> {
        let shown = op.to_string();
        match self.refused.iter().find(|(prefix, _)| shown.starts_with(prefix)) {
            Some((_, error)) => Err(error.clone()),
            None => self.kernel.apply(op),
        }
    }

    /// One line.
    pub(crate) fn hear(&mut self, line: &str) -> Said {
        if self.in_config && (line.starts_with(' ') || line.is_empty()) {
            self.config_text.push_str(line.trim());
            self.config_text.push('\n');
            return Ok(());
        }
        self.in_config = false;
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            return Ok(());
        }
        let (line, list) = match line.split_once(": ") {
            Some((line, list)) => (line, list),
            None => (line.strip_suffix(':').unwrap_or(line), ""),
        };
        let mut words = Words(line.split_whitespace().collect());
        let (no, verb) = match words.next()? {
            "no" => (true, words.next()?),
            verb => (false, verb),
        };
        self.told |= ["config", "server", "guest", "restart"].contains(&verb);
        match (no, verb) {
            (false, "config") => {
                self.config_text.clear();
                self.in_config = true;
            }
            (false, "link") => self.link(&mut words)?,
            (true, "link") => {
                let link = self.index(words.next()?)?;
                self.kernel.remove_link(link);
            }
            (no, "address") => self.address(no, &mut words)?,
            (no, "route") => self.route(no, &mut words)?,
            (no, "next") => self.next_hop(no, &mut words)?,
            (no, "rule") => self.rule(no, &mut words)?,
            (no, "neighbour") => self.neighbour(no, &mut words)?,
            (no, "proxy") => {
                let key = (self.index(words.next()?)?, parse(words.next()?)?);
                let proxies = &mut self.kernel.snapshot.proxies;
                if no {
                    proxies.remove(&key)
                } else {
                    proxies.insert(key, words.has("ours"))
                };
            }
            (false, "sysctl") => {
                let (name, setting) = (words.next()?, setting(words.next()?)?);
                let link = self.index(name)?;
                let settings = self.kernel.snapshot.settings.entry(link).or_default();
                settings.insert(setting, parse(words.next()?)?);
            }
            (false, "host") => match words.next()? {
                "without" => {
                    words.expect("ipv6")?;
                    self.kernel.snapshot.host.ipv6 = false;
                }
                "arp_ignore" => self.kernel.snapshot.host.arp_ignore = parse(words.next()?)?,
                "rp_filter" => self.kernel.snapshot.host.rp_filter = parse(words.next()?)?,
                "route_localnet" => self.kernel.snapshot.host.route_localnet = parse(words.next()?)?,
                "proxy_arp_pvlan" => self.kernel.snapshot.host.proxy_arp_pvlan = parse(words.next()?)?,
                "lacks" => {
                    self.kernel.snapshot.host.lacks.insert(setting(words.next()?)?);
                }
                "sysctls" => {
                    self.kernel.snapshot.host.sysctls = match words.next()? {
                        "usable" => Sysctls::Usable,
                        "read-only" => Sysctls::ReadOnly,
                        "missing" => Sysctls::Missing,
                        other => return Err(format!("no state {other}")),
                    };
                }
                _ => return Err("expected: without ipv6, lacks K, sysctls S, arp_ignore N, …".to_owned()),
            },
            (no, "hidden") => {
                let mac = mac(words.next()?)?;
                let hidden = &mut self.kernel.hidden_macs;
                if no {
                    hidden.remove(&mac)
                } else {
                    hidden.insert(mac)
                };
            }
            (no, "server") => self.server(no, &mut words)?,
            (no, "guest") => self.guest(no, &mut words, list)?,
            (no, "child") => self.child(no, &mut words, list)?,
            (no, "nftables") => {
                let lacks = no.then(|| "nft is not installed".to_owned());
                self.kernel.snapshot.filter = Filter { usable: !no, lacks, ..Filter::default() };
            }
            (false, "foreign") => {
                words.expect("chain")?;
                let (table, name) = (words.next()?.to_owned(), words.next()?.to_owned());
                words.expect("at")?;
                let devices = [words.next()?.to_owned()].into();
                self.kernel.snapshot.filter.foreign.push(ForeignChain { table, name, devices });
            }
            (no, "process") => {
                let pid: u32 = parse(words.next()?)?;
                if no {
                    self.kernel.snapshot.homes.remove(&Home::Pid(pid));
                } else {
                    words.expect("in")?;
                    self.kernel
                        .snapshot
                        .homes
                        .insert(Home::Pid(pid), Netns::Id(NetnsId(parse(words.next()?)?)));
                }
            }
            (false, "restart") => {
                self.questions = LanQuestions::default();
                self.memory = Memory::default();
                self.schedule = Schedule::default();
            }
            (false, "reload") => self.schedule.retry(),
            (false, "refuse") => match words.rest().as_str() {
                "nothing" => self.refused.clear(),
                prefix => self.refused.push((prefix.to_owned(), list.to_owned())),
            },
            (no, "explain") => {
                self.sought.clear();
                if !no {
                    let in_full = words.has("all");
                    self.sought.extend(words.rest().split_whitespace().map(|it| (it.to_owned(), in_full)));
                }
            }
            (false, "in") => {
                words.expect("full")?;
                self.in_full = true;
            }
            (false, "with") => {
                words.expect("questions")?;
                self.asks_for_all = true;
            }
            _ => return Err("no such line".to_owned()),
        }
        words.done()
    }

    fn index(&self, name: &str) -> Said<LinkIndex> {
        Ok(self.kernel.snapshot.link_named(name).ok_or_else(|| format!("no link {name}"))?.index)
    }

    fn link(&mut self, words: &mut Words<'_>) -> Said {
        let name = words.next()?;
        let old = self.kernel.snapshot.link_named(name).cloned();
        let new = old.is_none();
        let mut link = match old {
            Some(link) => link,
            None => {
                let index = self.kernel.next_index();
                Link {
                    index,
                    name: name.into(),
                    mac: Some(Mac([0x52, 0x54, 0, 0, 0, u8::try_from(index.0).unwrap_or(0)])),
                    mtu: 1500,
                    up: true,
                    multicast: true,
                    arp: true,
                    ..Link::default()
                }
            }
        };
        let mode = if words.has("private") {
            Mode::Private
        } else if words.has("passthru") {
            Mode::Passthru
        } else {
            Mode::Bridge
        };
        if let Some(number) = words.after("arp_ignore")? {
            link.arp_ignore = parse(number)?;
        }
        if let Some(id) = words.after("vlan")? {
            link.kind = LinkKind::Vlan(parse(id)?);
        }
        if words.has("macvlan") {
            link.kind = LinkKind::Macvlan(mode);
        }
        if words.has("bridge") {
            link.kind = LinkKind::Bridge;
        }
        if let Some(lower) = words.after("on")? {
            link.lower = if lower == "nothing" { None } else { Some(self.index(lower)?) };
        }
        if words.has("port") {
            link.master = words.after("of")?.map(|master| self.index(master)).transpose()?;
        }
        if words.has("wifi") {
            link.wireless = true;
        }
        let marked = words.has("marked");
        if marked {
            link.group = LINK_GROUP;
            self.kernel
                .snapshot
                .settings
                .insert(link.index, default_settings(self.kernel.snapshot.host.ipv6));
        }
        match words.after("no")? {
            None => {}
            Some("ethernet") => link.mac = None,
            Some("carrier") => link.no_carrier = true,
            Some(other) => return Err(format!("a link has no {other}")),
        }
        link.no_carrier &= !words.has("carrier");
        if let Some(text) = words.after("mac")? {
            link.mac = Some(mac(text)?);
            self.kernel.snapshot.neighbours.retain(|(_, at), _| *at != link.index);
        }
        if marked {
            link.made_with = link.mac;
        }
        if let Some(group) = words.after("group")? {
            link.group = parse(group)?;
        }
        let multicast = words.has("multicast") || link.multicast;
        let arp = !words.has("noarp") && link.arp;
        link.protodown |= words.has("protodown");
        if let Some(mtu) = words.after("mtu")? {
            link.mtu = parse(mtu)?;
            for upon in self.kernel.snapshot.links.values_mut().filter(|upon| upon.lower == Some(link.index))
            {
                upon.mtu = upon.mtu.min(link.mtu);
            }
        }
        if let Some(name) = words.after("name")? {
            link.name = name.into();
        }
        let index = link.index;
        let up = words.has("up");
        self.kernel.snapshot.links.insert(index, link);
        self.kernel.set_flags(index, multicast, arp);
        if up {
            self.kernel.set_link_up(index);
        }
        if words.has("down") {
            self.kernel.set_down(index);
        }
        if new && self.kernel.snapshot.links.values().filter(|other| other.name == name).count() > 1 {
            return Err("the name is taken".to_owned());
        }
        Ok(())
    }

    fn address(&mut self, no: bool, words: &mut Words<'_>) -> Said {
        let key = AddressKey { link: self.index(words.next()?)?, address: parse(words.next()?)? };
        if no {
            self.kernel.remove_address(key);
            return Ok(());
        }
        let address = HostAddress {
            usable: !words.has("tentative"),
            deprecated: words.has("deprecated"),
            secondary: words.has("temporary") || words.has("secondary"),
            ours: words.has("ours"),
            peer: words.after("peer")?.map(parse).transpose()?,
        };
        if words.has("noprefixroute") {
            self.kernel.snapshot.addresses.insert(key, address);
        } else {
            self.kernel.add_address(key, address);
        }
        Ok(())
    }

    /// `route 10.0.0.0/24 dev eth0`, `… via 192.0.2.1 dev eth0 and via 192.0.2.2 dev eth1`, `… blackhole`.
    fn route(&mut self, no: bool, words: &mut Words<'_>) -> Said {
        let destination: IpNet = parse(words.next()?)?;
        let ours = words.has("ours");
        let metric = words.after("metric")?.map_or(Ok(metric(Family::of(destination))), parse)?;
        let table = words.after("table")?.map_or(Ok(254), parse)?;
        let source = words.after("src")?.map(parse).transpose()?;
        let kind = [
            ("blackhole", RouteKind::Blackhole),
            ("unreachable", RouteKind::Unreachable),
            ("throw", RouteKind::Throw),
            ("local", RouteKind::Local),
        ];
        let kind =
            kind.into_iter().find(|(word, _)| words.has(word)).map_or(RouteKind::Unicast, |(_, kind)| kind);
        let (mut hops, mut more) = (Vec::new(), kind == RouteKind::Unicast);
        while more {
            let mut word = words.next()?;
            let mut gateway = None;
            if word == "via" {
                gateway = Some(parse(words.next()?)?);
                word = words.next()?;
            }
            if word != "dev" {
                return Err(format!("expected dev, not {word}"));
            }
            hops.push(Hop { link: self.index(words.next()?)?, gateway });
            more = words.has("and");
        }
        let link = if let [only] = hops.as_slice() { only.link } else { LinkIndex::NONE };
        let key = RouteKey { destination, link, metric, table };
        if no {
            let stood = self.kernel.snapshot.routes.remove(&key).is_some();
            let led = self.kernel.snapshot.routing.take(&key).is_some();
            return (stood || led).then_some(()).ok_or_else(|| "there is no such route".to_owned());
        }
        let gateway = hops.iter().any(|hop| hop.gateway.is_some());
        if ours || (hops.len() < 2 && !gateway && table != 255) {
            return self.kernel.set_route(key, Route { source, ours, gateway, kind }, false);
        }
        self.kernel.add_way(key, Way { kind, hops })
    }

    /// The gateway of a default route, on the link whose network it is in.
    fn next_hop(&mut self, no: bool, words: &mut Words<'_>) -> Said {
        words.expect("hop")?;
        let gateway: IpAddr = parse(words.next()?)?;
        let all = Family::of(gateway).everything();
        let near = |key: &&AddressKey| key.address.contains(&gateway);
        let link = self.kernel.snapshot.addresses.keys().find(near).map_or(LinkIndex(1), |key| key.link);
        let key = RouteKey { table: 254, destination: all, metric: 100, link };
        if no {
            self.kernel.snapshot.routing.take(&key).ok_or("there is no such next hop")?;
            return Ok(());
        }
        self.kernel.add_way(key, Way::through(link, Some(gateway)))
    }

    fn rule(&mut self, no: bool, words: &mut Words<'_>) -> Said {
        let priority = parse(words.next()?)?;
        let family = if words.has("v6") { Family::V6 } else { Family::V4 };
        let action = match () {
            () if words.has("blackhole") => Action::End,
            () => match words.after("goto")? {
                Some(to) => Action::Goto(parse(to)?),
                None => Action::LookUp(words.after("lookup")?.map_or(Ok(100), parse)?),
            },
        };
        let rule = Rule {
            family,
            priority,
            action,
            order: 0,
            ours: words.has("ours"),
            to: words.after("to")?.map(parse).transpose()?,
            narrow: words.after("from")?.is_some() | words.after("fwmark")?.is_some(),
            inverted: words.has("not"),
            suppressed_length: words.after("suppress_prefixlength")?.map(parse).transpose()?,
            suppressed_group: words.after("suppress_ifgroup")?.map(parse).transpose()?,
        };
        let rules = &mut self.kernel.snapshot.rules;
        if no {
            rules.retain(|other| (other.family, other.priority) != (family, priority));
        } else {
            rules.insert(rule);
        }
        Ok(())
    }

    fn neighbour(&mut self, no: bool, words: &mut Words<'_>) -> Said {
        let link = self.index(words.next()?)?;
        let key = (parse(words.next()?)?, link);
        let neighbours = &mut self.kernel.snapshot.neighbours;
        if no {
            neighbours.remove(&key).ok_or("there is no such neighbour")?;
            return Ok(());
        }
        let mac = mac(words.next()?)?;
        let state = match words.next()? {
            "reachable" => NeighbourState::Reachable,
            "stale" => NeighbourState::Stale,
            "asking" => NeighbourState::Asking,
            "asked" => NeighbourState::Unresolved,
            "failed" => NeighbourState::Failed,
            "permanent" => NeighbourState::Permanent,
            other => return Err(format!("no state {other}")),
        };
        let unknown = matches!(state, NeighbourState::Unresolved | NeighbourState::Failed);
        let mac = Some(mac).filter(|_| !unknown);
        neighbours.insert(key, Neighbour { mac, state, ours: words.has("ours") });
        Ok(())
    }

    fn server(&mut self, no: bool, words: &mut Words<'_>) -> Said {
        let id = ServerId(words.next()?.into());
        if no {
            self.inventory.servers.remove(&id);
            return Ok(());
        }
        let server = self.server_mut(&id);
        if let Some(address) = words.after("member")? {
            let name = words.after("named")?.ok_or("expected named")?;
            server.peers.insert(parse(address)?, name.to_owned());
        }
        match words.next().unwrap_or("connected") {
            "connected" => {
                server.state = ServerState::Connected;
                server.guests.get_or_insert_default();
            }
            "connecting" => server.state = ServerState::Connecting,
            "absent" => server.state = ServerState::Absent,
            "failed" => server.state = ServerState::Failed,
            "unread" => {
                server.state = ServerState::Connecting;
                server.guests = None;
            }
            other => return Err(format!("no state {other}")),
        }
        Ok(())
    }

    fn server_mut(&mut self, id: &ServerId) -> &mut Server {
        let kind = match id.0.as_str() {
            "lxd" => Some(ServerKind::Lxd),
            "incus" => Some(ServerKind::Incus),
            _ => None,
        };
        let place = format!("/var/lib/{id}/unix.socket");
        let unread = || Arc::new(Server { place, kind, ..Server::default() });
        Arc::make_mut(self.inventory.servers.entry(id.clone()).or_insert_with(unread))
    }

    fn guest(&mut self, no: bool, words: &mut Words<'_>, nics: &str) -> Said {
        let key = guest_key(words.next()?)?;
        let server = self.server_mut(&key.server);
        server.state = if server.guests.is_none() { ServerState::Connected } else { server.state };
        let guests = server.guests.get_or_insert_default();
        guests.retain(|guest| (&guest.project, &guest.name) != (&key.project, &key.name));
        if no {
            return Ok(());
        }
        let guest = Guest {
            project: key.project.clone(),
            name: key.name.clone(),
            kind: if words.has("vm") { GuestKind::VirtualMachine } else { GuestKind::Container },
            home: words.after("init")?.map(parse).transpose()?.map_or(Home::Unknown, Home::Pid),
            power: if words.has("stopped") { Power::Stopped } else { Power::Running },
            profiles: words
                .after("profiles")?
                .map_or("default", |list| list)
                .split(',')
                .map(SmolStr::from)
                .collect(),
            opt: match words.after("enabled")? {
                None | Some("true") => OptOut::In,
                Some("false") => OptOut::Out,
                Some(other) => OptOut::Invalid(other.to_owned()),
            },
            nics: match nics.trim() {
                "all in its namespace" => Nics::AllInItsNamespace,
                told => {
                    let told = told.split(';').filter(|nic| !nic.trim().is_empty());
                    Nics::Told(told.map(nic).collect::<Said<_>>()?)
                }
            },
        };
        guests.push(guest);
        guests.sort_by(|a, b| (&a.project, &a.name).cmp(&(&b.project, &b.name)));
        Ok(())
    }

    fn child(&mut self, no: bool, words: &mut Words<'_>, addresses: &str) -> Said {
        let (netns, index) = words.next()?.split_once(':').ok_or("expected netns:ifindex")?;
        let netns = if netns == "host" { Netns::Host } else { Netns::Id(NetnsId(parse(netns)?)) };
        let key = ChildKey { netns, index: LinkIndex(parse(index)?) };
        let children = &mut self.kernel.snapshot.children;
        if no {
            children.remove(&key).ok_or("there is no such child")?;
            return Ok(());
        }
        let own = mac(words.next()?)?;
        words.expect("on")?;
        let parent = words.next()?;
        let port = words.has("port");
        let name = words.after("of")?.filter(|_| port);
        let others = words.after("mac")?.map(mac).transpose()?;
        let master =
            name.map(|name| Master { index: LinkIndex(90), name: name.into(), mac: others.or(Some(own)) });
        let sources =
            words.after("from")?.map_or(Ok(BTreeSet::new()), |list| list.split(',').map(mac).collect())?;
        let child = Child {
            parent: self.index(parent)?,
            mac: own,
            master,
            mode: mode(words),
            sources: Sources { count: sources.len(), macs: sources, only: words.has("nodst") },
            name: words.after("named")?.unwrap_or("eth0").into(),
            tap: words.has("tap"),
            up: !words.has("down"),
            addresses: addresses
                .split(',')
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(guest_address)
                .collect::<Said<_>>()?,
        };
        self.kernel.snapshot.children.insert(key, child);
        Ok(())
    }
}

fn guest_address(text: &str) -> Said<(IpNet, GuestAddress)> {
    match text.split_once(' ') {
        None => Ok((parse(text)?, GuestAddress::Settled)),
        Some((address, "tentative")) => Ok((parse(address)?, GuestAddress::Tentative)),
        Some((address, "duplicate")) => Ok((parse(address)?, GuestAddress::Duplicate)),
        Some((_, other)) => Err(format!("no state {other}")),
    }
}

/// `eth0 :01 on eth0 vlan 5 private`
fn nic(text: &str) -> Said<Nic> {
    let mut words = Words(text.split_whitespace().collect());
    let name = SmolStr::from(words.next()?);
    let mac = Some(words.next()?).filter(|text| *text != "-").map(mac).transpose()?;
    words.expect("on")?;
    let parent = match words.next()? {
        "network" => NicParent::Unknown(format!("its network {} is not known", words.next()?)),
        link => NicParent::Link { name: link.into(), vlan: words.after("vlan")?.map(parse).transpose()? },
    };
    let link = words.after("named")?.map_or_else(|| name.clone(), SmolStr::from);
    let nic = Nic { name, link, mac, parent, mode: mode(&mut words) };
    words.done()?;
    Ok(nic)
}

fn mode(words: &mut Words<'_>) -> Mode {
    match () {
        () if words.has("private") => Mode::Private,
        () if words.has("passthru") => Mode::Passthru,
        () if words.has("source") => Mode::Source,
        () => Mode::Bridge,
    }
}

/// `ipv4.arp_filter`
fn setting(text: &str) -> Said<Setting> {
    let (family, key) = text.split_once('.').ok_or("expected ipv4.… or ipv6.…")?;
    let is_it = |path: String| path.starts_with(family) && path.ends_with(&format!("/{key}"));
    Setting::ALL
        .into_iter()
        .find(|setting| is_it(setting.path("")))
        .ok_or_else(|| format!("no sysctl {text}"))
}

fn guest_key(text: &str) -> Said<GuestKey> {
    let (server, guest) = text.split_once(':').ok_or("expected server:guest")?;
    let (project, name) = guest.split_once('/').unwrap_or(("default", guest));
    Ok(GuestKey::new(ServerId(server.into()), project.into(), name.into()))
}

fn mac(text: &str) -> Said<Mac> {
    match (text.strip_prefix(':'), text.strip_prefix("lan:")) {
        (Some(last), _) => parse(&format!("00:16:3e:00:00:{last}")),
        (_, Some(last)) => parse(&format!("02:00:5e:00:00:{last}")),
        _ => parse(text),
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Said<T> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

/// The words of a line; each is taken once.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Said<&'a str> {
        if self.0.is_empty() {
            Err("something is missing at the end".to_owned())
        } else {
            Ok(self.0.remove(0))
        }
    }

    fn expect(&mut self, word: &str) -> Said {
        if self.has(word) { Ok(()) } else { Err(format!("expected {word:?}")) }
    }

    fn has(&mut self, word: &str) -> bool {
        let at = self.0.iter().position(|other| *other == word);
        at.map(|at| self.0.remove(at)).is_some()
    }

    /// The word that follows a word.
    fn after(&mut self, word: &str) -> Said<Option<&'a str>> {
        let Some(at) = self.0.iter().position(|other| *other == word) else { return Ok(None) };
        self.0.remove(at);
        if at == self.0.len() {
            Err(format!("expected more after {word}"))
        } else {
            Ok(Some(self.0.remove(at)))
        }
    }

    fn rest(&mut self) -> String {
        self.0.drain(..).collect::<Vec<_>>().join(" ")
    }

    fn done(&self) -> Said {
        if self.0.is_empty() { Ok(()) } else { Err(format!("left over: {}", self.0.join(" "))) }
    }
}
