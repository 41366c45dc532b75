//! Addresses whose owner is away for a while.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Share, eventually};
use serde_json::Value;

use super::{Den, SOON};
use crate::node::{HOST, Node, PATIENCE, routes};

/// How long a squatter waits after the loss (`packaging/docs/limits.md`).
const WAIT: Duration = Duration::from_secs(60);
const PORT: u16 = 5000;

/// The datagrams that a thief receives while the host keeps sending to an address.
struct Ear {
    heard: AtomicU32,
    ends: AtomicBool,
}

impl Ear {
    /// Does something while the host talks to the address. Returns how many datagrams arrived at the hostile
    /// guest.
    fn while_listening<T>(den: &Den, address: Ipv4Addr, work: impl FnOnce(&Ear) -> Result<T>) -> Result<T> {
        let bind = |any: (&str, u16)| {
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            Ok(socket)
        };
        let thief = den.hostile.within(|| bind(("0.0.0.0", PORT)))?;
        let host = den.site.host.within(|| bind(("0.0.0.0", 0)))?;
        let ear = Ear { heard: AtomicU32::new(0), ends: AtomicBool::new(false) };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = [0; 16];
                while !ear.ends.load(Ordering::Relaxed) {
                    ear.heard.fetch_add(u32::from(thief.recv(&mut buffer).is_ok()), Ordering::Relaxed);
                }
            });
            scope.spawn(|| {
                while !ear.ends.load(Ordering::Relaxed) {
                    // Nobody may have the address just now.
                    let _ = host.send_to(b"a secret", (address, PORT));
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
            let result = work(&ear);
            ear.ends.store(true, Ordering::Relaxed);
            result
        })
    }

    fn has_heard_nothing(&self, when: &str) -> Result<()> {
        let heard = self.heard.load(Ordering::Relaxed);
        ensure!(heard == 0, "{when} the guest got {heard} datagrams for another");
        Ok(())
    }
}

fn wait_conflict(node: &Node, address: Ipv4Addr) -> Result<Value> {
    let is_conflict = |problem: &&Value| {
        problem["code"] == "address-conflict" && problem["object"] == address.to_string().as_str()
    };
    let find = |status: &Value| status["problems"].as_array()?.iter().find(is_conflict).cloned();
    let status = node.wait("two have one address", |status| find(status).is_some())?;
    find(&status).context("it was there")
}

#[test]
fn a_squatter_gets_nothing_while_the_owner_is_away() -> Result<()> {
    let mut den = Den::new()?;
    let owner = den.site.server.launch("owner", &["-p", "mv"])?;
    let address = owner.ipv4("eth0")?;
    den.node.wait_both_ways(&owner, address, HOST)?;
    den.attack(&format!("ip addr add {address}/24 dev eth0"))?;
    let refused = den.node.wait_address(&den.hostile, address, "refused")?;
    ensure!(refused["reason"] == "held", "{refused}");
    let conflict = wait_conflict(&den.node, address)?;
    let message = conflict["message"].as_str().unwrap_or_default();
    ensure!(message.contains("owner eth0") && message.contains("hostile eth0"), "{conflict}");

    Ear::while_listening(&den, address, |ear| {
        owner.restart()?;
        ensure!(owner.ipv4("eth0")? == address, "another lease");
        den.node.wait_address(&owner, address, "routed")?;
        ear.has_heard_nothing("while the owner restarted")?;
        // A DHCP client whose script takes its time.
        owner.sh(&format!(
            "ip addr del {address}/24 dev eth0; sleep 1.5; ip addr add {address}/24 dev eth0"
        ))?;
        den.node.wait_address(&owner, address, "routed")?;
        ear.has_heard_nothing("during a slow renewal")?;
        owner.stop()?;
        let waits = den.node.wait_address(&den.hostile, address, "refused")?;
        ensure!(waits["message"].as_str().is_some_and(|text| text.contains("owner eth0 had")), "{waits}");
        ear.has_heard_nothing("while the owner is stopped")
    })?;

    // A new daemon knows the address's owner from the neighbour entry, and waits again.
    den.node.daemon.kill()?;
    let start = Instant::now();
    den.node = Node::start(&den.site.host)?;
    let waits = den.node.wait_address(&den.hostile, address, "refused")?;
    ensure!(waits["reason"] == "held", "{waits}");
    Ear::while_listening(&den, address, |ear| {
        lab::stays(
            (WAIT - Duration::from_secs(2)).saturating_sub(start.elapsed()),
            "the address is nobody's",
            || {
                routes(&den.site.host)
                    .is_ok_and(|routes| !routes.iter().any(|it| it.starts_with(&format!("{address} "))))
            },
        )?;
        ear.has_heard_nothing("after a restart of the daemon")
    })?;
    den.node.wait_address(&den.hostile, address, "routed")?;
    println!("the squatter had it {:?} after the start of the new daemon", start.elapsed());

    // This daemon has not seen the owner, so it knows it only by its MAC. It has the address back at once.
    owner.start()?;
    den.node.wait_both_ways(&owner, address, HOST)?;
    wait_conflict(&den.node, address)?;
    den.attack(&format!("ip addr del {address}/24 dev eth0"))?;
    den.node.wait("the conflict is over", |status| status["problems"] == serde_json::json!([]))?;
    Ok(())
}

/// The owner is away, and the thief takes its MAC. Then the owner cannot start, but nothing of the owner's
/// goes to the thief.
#[test]
fn the_mac_of_an_owner_that_is_away_does_not_help_a_squatter() -> Result<()> {
    let den = Den::new()?;
    let mac = den.honest.mac("eth0")?;
    let address: Ipv4Addr = super::HONEST;
    den.attack(&format!("ip addr add {address}/24 dev eth0"))?;
    wait_conflict(&den.node, address)?;
    Ear::while_listening(&den, address, |ear| {
        den.site.server.cli(&["stop", "-f", "honest"])?;
        den.attack(&format!("ip link set eth0 address {mac}"))?;
        let refused = den.node.wait_address(&den.hostile, address, "refused")?;
        ensure!(refused["reason"] == "held", "{refused}");
        std::thread::sleep(Duration::from_secs(2));
        ear.has_heard_nothing("with the owner's MAC")
    })
}

#[test]
fn a_guest_that_flips_through_addresses_stays_below_its_limit() -> Result<()> {
    let den = Den::with(Share::Half)?;
    let (flips, done) = (AtomicU32::new(0), AtomicBool::new(false));
    let mut most = 0;
    std::thread::scope(|scope| -> Result<()> {
        let attack = scope.spawn(|| {
            let result = den.attack(
                "for round in {1..15}; do
                   printf 'addr add fd77::%x:0:66/64 dev eth0 nodad\naddr del fd77::%x:0:66/64 dev eth0\n' \
                     $(for i in {1..400}; do echo $i $i; done) | ip -batch -
                   for i in {1..40}; do echo addr add fd77::$round:$i:0:66/64 dev eth0 nodad; done | ip -batch -
                   ip -6 addr flush dev eth0 scope global
                 done",
            );
            done.store(true, Ordering::Relaxed);
            result
        });
        while !done.load(Ordering::Relaxed) {
            most = most.max(den.loot()?.len());
            flips.fetch_add(1, Ordering::Relaxed);
        }
        attack.join().map_err(|_| anyhow::anyhow!("the attack panicked"))??;
        Ok(())
    })?;
    println!("{most} routes at most, of {} looks", flips.load(Ordering::Relaxed));
    ensure!(most > 5, "the guest had no routes: the test proves nothing");
    ensure!(most <= 32, "{most} routes at a time");
    // All of it goes as it came.
    eventually(SOON, || {
        let loot = den.loot()?;
        ensure!(loot.is_empty(), "still routed: {loot:?}");
        Ok(())
    })?;
    ensure!(den.site.host.reaches(IpAddr::from(super::HONEST), PATIENCE), "the honest guest is not reached");
    Ok(())
}
