//! Filters that are replaced, by us and by others.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::forge::{self, Forge};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use crate::filter::{make_old, set};
use crate::passes::{Stage, nft};
use crate::shim::{GUEST_MAC, SHIM_MAC};

const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// Reports its end, even if it is a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The old filter stays until the new one is there: no forbidden frame slips through, and no other is lost.
#[test]
fn a_filter_of_an_older_form_is_replaced_without_a_gap() {
    let Stage { host: _host, mut kernel, shim, guest } = Stage::new();
    let service = UdpSocket::bind((HOST, 5000)).unwrap();
    service.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // On a busy machine the reader may have to wait for its turn. Frames that do not fit into its buffer are
    // not lost by the filter.
    setsockopt(&service, RcvBufForce, &(64 << 20)).unwrap();
    let over = AtomicBool::new(false);
    let send = || {
        let forge = Forge::open("eth0").unwrap();
        let stranger = [2, 0x66, 0, 0, 0, 1];
        let mut sent = 0_u32;
        while !over.load(Ordering::Relaxed) {
            for (mac, data) in [(GUEST_MAC.0, b"good"), (stranger, b"evil")] {
                forge.send(&forge::udp(SHIM_MAC.0, mac, GUEST, (HOST, 5000), data)).unwrap();
            }
            sent += 1;
            std::thread::sleep(Duration::from_micros(100));
        }
        sent
    };
    let receive = || {
        let (mut good, mut evil, mut buffer) = (0_u32, 0_u32, [0; 16]);
        loop {
            match service.recv(&mut buffer) {
                Ok(_) if buffer.starts_with(b"good") => good += 1,
                Ok(_) => evil += 1,
                Err(_) if over.load(Ordering::Relaxed) => return (good, evil),
                Err(_) => {}
            }
        }
    };
    let (sent, (good, evil)) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| guest.within(send));
        let receiver = scope.spawn(receive);
        let over = Over(&over);
        let link = shim.index.unwrap();
        for _ in 0..20 {
            make_old(link);
            kernel.resync();
            kernel.settle();
            assert!(!kernel.snapshot().filter.shims[&link].whole);
            set(&mut kernel, &shim, &[GUEST_MAC].into());
        }
        drop(over);
        (sender.join().unwrap(), receiver.join().unwrap())
    });
    println!("{sent} sent of each: {good} that may pass came, and {evil} that may not");
    assert!(sent > 200 && evil == 0, "{evil} frames came that may not pass");
    assert_eq!(good, sent, "frames were lost that may pass");
}

/// Somebody changes a rule and leaves its comment unchanged.
#[test]
fn a_rule_that_is_changed_in_place_is_noticed() {
    let Stage { host: _host, mut kernel, shim, guest: _guest } = Stage::new();
    let link = shim.index.unwrap();
    let mut number = 0;
    loop {
        let rules =
            ["in", "out"].map(|end| (end, nft(&format!("list chain netdev macvlan_shim {end}-{link}"))));
        let rules = rules.iter().flat_map(|(end, chain)| chain.lines().map(move |line| (end, line)));
        let mut rules = rules.filter_map(|(end, line)| {
            let (rule, handle) = line.split_once(" # handle ")?;
            Some((end, rule.split_once("drop comment ")?.1.to_owned(), handle.to_owned()))
        });
        let Some((end, comment, handle)) = rules.nth(number) else { break };
        nft(&format!(
            "replace rule netdev macvlan_shim {end}-{link} handle {handle} accept comment {comment}"
        ));
        kernel.resync();
        kernel.settle();
        assert!(!kernel.snapshot().filter.shims[&link].whole, "rule {number}");
        set(&mut kernel, &shim, &[GUEST_MAC].into());
        number += 1;
    }
    assert!(number > 10, "{number} rules are too few");
}
