//! The addresses that a shim answers for when guests ask with ARP.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use lab::forge::{self, Arp, BROADCAST};

use crate::host::Guest;
use crate::passes::{Stage, elements};
use crate::shim::{GUEST_MAC, SHIM_MAC};

const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The addresses that answered a guest.
fn answered(guest: &Guest) -> BTreeSet<String> {
    let enter = format!("--net=/proc/{}/ns/net", guest.pid());
    let mut shown = Command::new("nsenter");
    shown.args([&enter, "nft", "list", "set", "netdev", "ear", "answered"]);
    elements(&String::from_utf8(shown.output().unwrap().stdout).unwrap())
}

/// The host routes, answers for everything that it has a route to, and has a service's address on `lo`.
#[test]
fn a_shim_answers_for_the_addresses_that_it_may_and_no_others() {
    let stage = Stage::new();
    // Both ends of the wire belong to the host here, and the other end would answer too.
    stage.host.ip("link set lan arp off");
    stage.host.ip("addr add 192.0.2.50/32 dev lo");
    stage.host.ip("addr add 198.51.100.7/24 dev lo");
    for (file, value) in [("ip_forward", "1"), ("conf/all/proxy_arp", "1")] {
        std::fs::write(format!("/proc/sys/net/ipv4/{file}"), value).unwrap();
    }
    let ear = "add table netdev ear
               add set netdev ear answered { type ipv4_addr; size 65536; flags dynamic; }
               add chain netdev ear in { type filter hook ingress device eth0 priority 0; }
               add rule netdev ear in arp operation reply add @answered { arp saddr ip }";
    stage.guest.run(&["nft", ear]);
    let addresses = || {
        let lan = (1..=254).map(|last| Ipv4Addr::new(192, 0, 2, last));
        lan.chain([Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::new(203, 0, 113, 70), Ipv4Addr::LOCALHOST])
    };
    let ask = || {
        for sender in [Ipv4Addr::new(192, 0, 2, 100), Ipv4Addr::UNSPECIFIED] {
            for to in [SHIM_MAC.0, BROADCAST] {
                let question = move |target| forge::arp(Arp::Request, to, GUEST_MAC.0, sender, target);
                stage.send(addresses().map(question));
                // IEEE 802 is the same to the kernel.
                stage.send(addresses().map(question).map(|mut frame| {
                    frame[15] = 6;
                    frame
                }));
                let double = |frame: Vec<u8>| forge::tagged(&frame, &[0x8100, 0x8100]);
                stage.send(addresses().map(question).map(double));
            }
        }
        std::thread::sleep(Duration::from_millis(1500));
        answered(&stage.guest)
    };
    assert_eq!(ask(), [HOST.to_string(), "192.0.2.72".to_owned()].into());
    stage.unfilter();
    let all = ask();
    println!("without the filter {} addresses are answered for: {all:?}", all.len());
    assert!(all.contains("192.0.2.50") && all.contains("198.51.100.7") && all.len() > 100, "{all:?}");
}
