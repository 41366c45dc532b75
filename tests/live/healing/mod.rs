//! Whatever happens to our objects, to the parent, or to the host's addresses and rules, traffic goes on
//! within milliseconds. Each story strikes a blow while datagrams go both ways over both protocols. It prints
//! how long they stayed away, counted from the moment when they could get through at all. Its limit is
//! generous, because a test machine may be busy: an event must have healed it, and not the resync.
//!
//! `cargo test --test live healing -- --nocapture --test-threads 1 | grep ms` shows the figures.

mod addresses;
mod fights;
mod parent;
mod policy;
mod shim;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use lab::{Guest, Kind, Machine, Stream};

use crate::node::{Node, Site};

/// Generous, and far below 24 s, the shortest interval of resyncs.
const SOON: Duration = Duration::from_secs(10);
/// A guest's kernel that found nobody asks again each second. We cannot change that, but it is part of the
/// figure.
const WATCH: Duration = Duration::from_millis(300);
/// Longer than the longest interval of resyncs.
const RESYNC: Duration = Duration::from_secs(50);

const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 11);
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x11);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 12);
const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 101);
const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x101);

/// A host with a guest, and the daemon that lets them reach each other.
struct Ward {
    site: Site,
    node: Node,
    guest: Guest,
}

/// Datagrams between host and guest, each way over each protocol.
struct Talk {
    ways: Vec<(&'static str, Stream)>,
    /// Between the guest and another machine. It shows from when on a guest's link can carry anything at all.
    lan: Option<Stream>,
}

impl Ward {
    fn new() -> Result<Ward> {
        let site = Site::new(Kind::Lxd)?;
        let node = Node::start_talkative(&site.host)?;
        let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
        node.wait_both_ways(&guest, GUEST, &HOST.to_string())?;
        node.wait_both_ways(&guest, GUEST_V6, &HOST_V6.to_string())?;
        Ok(Ward { site, node, guest })
    }

    /// Begins to talk, both ways over both protocols.
    fn talk(&self) -> Result<Talk> {
        let talk = self.talk_with(&[(GUEST.into(), HOST.into()), (GUEST_V6.into(), HOST_V6.into())])?;
        talk.wait(SystemTime::now(), SOON)?;
        Ok(talk)
    }

    /// Begins to talk between these addresses of the guest and the host.
    fn talk_with(&self, pairs: &[(IpAddr, IpAddr)]) -> Result<Talk> {
        let mut talk = self.talk_of(&self.guest, pairs)?;
        let from = self.guest.within(|| Stream::socket(PEER.into()))?;
        let to = self.site.peer.within(|| Stream::socket(PEER.into()))?;
        talk.lan = Some(Stream::start(from, to, PEER)?);
        Ok(talk)
    }

    /// Begins to talk between these addresses of a guest and the host.
    fn talk_of(&self, guest: &Guest, pairs: &[(IpAddr, IpAddr)]) -> Result<Talk> {
        let in_host = |address: &IpAddr| self.site.host.within(|| Stream::socket(*address));
        let in_guest = |address: &IpAddr| guest.within(|| Stream::socket(*address));
        let mut ways = Vec::new();
        for (guest_address, host_address) in pairs {
            let (to, from) = if host_address.is_ipv4() { ("to v4", "from v4") } else { ("to v6", "from v6") };
            ways.push((
                to,
                Stream::start(in_host(guest_address)?, in_guest(guest_address)?, *guest_address)?,
            ));
            ways.push((from, Stream::start(in_guest(host_address)?, in_host(host_address)?, *host_address)?));
        }
        Ok(Talk { ways, lan: None })
    }

    /// Strikes a blow on the host. Its last line makes traffic possible again, or the whole of it does.
    /// Traffic goes on soon after that.
    fn heals(&self, talk: &Talk, what: &str, blow: &str) -> Result<()> {
        let moment = strike(&self.site.host, blow)?;
        talk.goes_on(what, moment).with_context(|| self.story())?;
        self.is_well(SOON).with_context(|| format!("after {what}"))
    }

    /// Waits until nothing is left to do.
    fn is_well(&self, within: Duration) -> Result<()> {
        self.node.wait_well(within).with_context(|| self.story())
    }

    fn story(&self) -> String {
        let picture = self.node.picture().unwrap_or_else(|error| format!("{error:#}"));
        format!("the daemon said:\n{}\n{picture}", self.node.daemon.story())
    }
}

impl Talk {
    /// Waits until every datagram that is sent after `moment` comes through.
    fn wait(&self, moment: SystemTime, within: Duration) -> Result<()> {
        for (way, stream) in &self.ways {
            stream.wait(moment, within).with_context(|| format!("{way} the guest"))?;
        }
        Ok(())
    }

    /// Every datagram comes through again soon after `moment`. Prints how soon.
    fn goes_on(&self, what: &str, moment: SystemTime) -> Result<()> {
        self.wait(SystemTime::now().max(moment), SOON).with_context(|| format!("after {what}"))?;
        // A second gap would come right after.
        std::thread::sleep(WATCH);
        let mut figures = String::new();
        let mut longest = Duration::ZERO;
        for (way, stream) in &self.ways {
            let silence = stream.silence(moment);
            figures += &format!(" {way} {:6.1} ms", silence.as_secs_f64() * 1000.0);
            longest = longest.max(silence);
        }
        if let Some(lan) = &self.lan {
            figures += &format!(" (the LAN {:6.1} ms)", lan.silence(moment).as_secs_f64() * 1000.0);
        }
        println!("{what:<48}{figures}");
        ensure!(longest < SOON, "traffic stayed away for {longest:?} after {what}");
        Ok(())
    }
}

/// Runs a script. Returns when its last line began.
fn strike(host: &Machine, blow: &str) -> Result<SystemTime> {
    let (before, last) = blow.rsplit_once('\n').unwrap_or(("", blow));
    let moment = host.sh(&format!("{before}\necho \"moment $EPOCHREALTIME\"\n{last}"))?;
    let moment = moment.lines().find_map(|line| line.strip_prefix("moment ")).context("no moment")?;
    let (seconds, micros) = moment.split_once('.').context("no fraction")?;
    let since = Duration::from_secs(seconds.parse()?) + Duration::from_micros(micros.parse()?);
    Ok(SystemTime::UNIX_EPOCH + since)
}
