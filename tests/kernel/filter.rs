//! The filter in front of a shim, as `nft` makes it and as the kernel obeys it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use lab::forge::{self, Forge};
use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::{LinkIndex, LinkRef, Mac, Op};

use crate::host::Host;
use crate::look::PATIENCE;
use crate::shim::{GUEST_MAC, SHIM_MAC};

pub(crate) const HOST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// More than the number that have a limit of their own.
const MANY: u32 = 4500;

/// The nth of the MACs that a guest goes through.
fn nth(n: u32) -> Mac {
    let [_, b, c, d] = (n % MANY).to_be_bytes();
    Mac([2, 0x66, 0, b, c, d])
}

/// A shim behind a filter that passes the guest and the first of the MACs that it goes through.
pub(crate) fn filtered(host: &Host, kernel: &mut Kernel, first: u32) -> (LinkRef, BTreeSet<Mac>) {
    let shim = host.shim_ref();
    host.make(kernel, &shim);
    kernel.drain();
    let index = kernel.snapshot().link_named(&shim.name).map(|link| link.index);
    let shim = LinkRef { index, ..shim };
    let mut macs = BTreeSet::from([GUEST_MAC]);
    set(kernel, &shim, &macs);
    // Few enough at once for nft to finish in its time on an emulated machine, too.
    for some in (0..first).map(nth).collect::<Vec<_>>().chunks(1500) {
        macs.extend(some);
        set(kernel, &shim, &macs);
    }
    (shim, macs)
}

/// The addresses that guests may ask for: the host's, and the shim's own.
fn answers() -> BTreeSet<Ipv4Net> {
    ["192.0.2.1/32", "192.0.2.72/32"].map(|address| address.parse().unwrap()).into()
}

/// On an emulated machine nft may take longer than its time, and is tried again as the daemon does.
pub(crate) fn set(kernel: &mut Kernel, shim: &LinkRef, macs: &BTreeSet<Mac>) {
    let op = Op::SetFilter { shim: shim.clone(), macs: Some(macs.clone()), answers: answers() };
    lab::eventually(PATIENCE, || {
        let result = kernel.apply(&op);
        kernel.drain();
        let filter = kernel.snapshot().filter.shims.get(&shim.index.unwrap());
        let is_right = filter.is_some_and(|filter| {
            filter.whole && filter.macs.as_ref() == Some(macs) && filter.answers == answers()
        });
        anyhow::ensure!(is_right, "{result:?}, and there is {filter:?}");
        Ok(())
    })
    .unwrap();
}

fn entries() -> usize {
    let shown = Command::new("ip").args("-6 neigh show dev mvs-eth0 nud all".split(' ')).output().unwrap();
    String::from_utf8_lossy(&shown.stdout).lines().count()
}

#[test]
fn a_guest_that_goes_through_macs_cannot_fill_the_table_of_neighbours() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", &GUEST_MAC.to_string());
    guest.ip("link set eth0 up");
    guest.ip("addr add 2001:db8::100/64 dev eth0 nodad");
    let mut kernel = Kernel::open().unwrap();
    filtered(&host, &mut kernel, MANY);
    let before = entries();
    let start = Instant::now();
    let sent = guest.within(|| {
        let forge = Forge::open("eth0").unwrap();
        let source = |n: u32| Ipv6Addr::from((0xfe80 << 112) + 0x6600_0000 + u128::from(n));
        let question = |n| forge::solicitation(SHIM_MAC.0, nth(n).0, source(n), HOST_V6);
        let mut sent = 0;
        // Each asks more than once. It takes a second, but more on an emulated machine.
        while sent <= 2 * MANY {
            sent += forge.flood(Duration::from_secs(1), |n| question(sent + n)).unwrap();
        }
        sent
    });
    let (time, after) = (start.elapsed(), entries());
    println!("{sent} questions in {time:?}: {before} entries, then {after}");
    let most = before + 200 + (100.0 * time.as_secs_f64()) as usize + 10;
    assert!(after <= most, "{after} entries, and {most} are enough");
    // And it is answered itself.
    assert!((0..10).any(|_| guest.can("ping -6 -n -c 1 -W 1 2001:db8::1")), "the host is lost");
}

/// One guest may have hundreds of MACs: links beside its NIC.
#[test]
fn a_guest_that_asks_from_many_macs_does_not_keep_another_from_asking() {
    const FLOOD: Duration = Duration::from_secs(4);
    let host = Host::new();
    let honest = host.guest_with_child("eth0", &GUEST_MAC.to_string());
    honest.ip("link set eth0 up");
    honest.ip("addr add 2001:db8::100/64 dev eth0 nodad");
    let hostile = host.guest_with_child("eth0", "00:16:3e:00:00:fe");
    hostile.ip("link set eth0 up");
    let mut kernel = Kernel::open().unwrap();
    filtered(&host, &mut kernel, 256);
    let source = |n: u32| Ipv6Addr::from((0xfe80 << 112) + 0x6600_0000 + u128::from(n));
    let answered = std::thread::scope(|scope| {
        scope.spawn(|| {
            hostile.within(|| {
                let forge = Forge::open("eth0").unwrap();
                let question = |n| forge::solicitation(SHIM_MAC.0, nth(n % 256).0, source(n % 256), HOST_V6);
                forge.flood(FLOOD, question).unwrap()
            })
        });
        // Its initial allowance is used up by then.
        std::thread::sleep(Duration::from_secs(1));
        let ask = |_: &u32| {
            honest.ip("neigh flush dev eth0");
            honest.can("ping -6 -n -c 1 -W 3 2001:db8::1")
        };
        (0..5).filter(ask).count()
    });
    assert_eq!(answered, 5, "of five questions");
}

/// The state after an upgrade.
#[test]
fn a_filter_of_an_older_form_is_made_again() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (shim, macs) = filtered(&host, &mut kernel, 100);
    let link = shim.index.unwrap();
    make_old(link);
    kernel.resync();
    kernel.settle();
    let standing = &kernel.snapshot().filter.shims[&link];
    assert!(!standing.whole && standing.macs.as_ref() == Some(&macs), "{:?}", standing.whole);
    set(&mut kernel, &shim, &macs);
    // As often as wanted.
    set(&mut kernel, &shim, &[GUEST_MAC].into());
    set(&mut kernel, &shim, &macs);
}

/// No chain of a table with the flag `dormant` is at its hook, although all of them are listed.
#[test]
fn a_table_that_was_put_to_sleep_is_woken() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (shim, macs) = filtered(&host, &mut kernel, 1);
    let sleep = "add table netdev macvlan_shim { flags dormant; }";
    assert!(Command::new("nft").arg(sleep).status().unwrap().success());
    lab::eventually(PATIENCE, || {
        kernel.drain();
        anyhow::ensure!(!kernel.snapshot().filter.shims[&shim.index.unwrap()].whole, "nobody has noticed");
        Ok(())
    })
    .unwrap();
    set(&mut kernel, &shim, &macs);
    let table = Command::new("nft").args(["list", "table", "netdev", "macvlan_shim"]).output().unwrap();
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("guests-") && !table.contains("dormant"), "{table}");
}

fn nft(script: &str) {
    assert!(Command::new("nft").arg(script).status().unwrap().success(), "{script}");
}

/// The table is ours by its name, and so is everything in it, because a chain at our hook might drop frames
/// that the filter passes.
#[test]
fn foreign_objects_in_our_table_are_found_and_deleted() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (shim, macs) = filtered(&host, &mut kernel, 1);
    let link = shim.index.unwrap();
    nft(&format!(
        "table netdev macvlan_shim {{
           counter hits {{ }}
           map colours {{ type ipv4_addr : mark; }}
           chain bar {{ ether saddr @guests-{link} drop; }}
           chain foo {{ type filter hook ingress device mvs-eth0 priority 0; policy drop; counter name hits jump bar; }}
         }}"
    ));
    lab::eventually(PATIENCE, || {
        kernel.drain();
        let shims = &kernel.snapshot().filter.shims;
        anyhow::ensure!(shims.contains_key(&LinkIndex::NONE) && shims[&link].whole, "{shims:?}");
        Ok(())
    })
    .unwrap();
    kernel
        .apply(&Op::DeleteFilter { link: LinkRef::standing("link 0", LinkIndex::NONE), last: false })
        .unwrap();
    set(&mut kernel, &shim, &macs);
    let filter = &kernel.snapshot().filter;
    assert_eq!(filter.shims.keys().collect::<Vec<_>>(), [&link], "{filter:?}");
}

/// It is not ours, so it is reported and left alone.
#[test]
fn a_foreign_chain_that_can_drop_a_shims_frames_is_seen_at_once() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    filtered(&host, &mut kernel, 1);
    let chain = |name: &str, rule: &str| {
        nft(&format!(
            "table netdev {name} {{
               chain c {{ type filter hook ingress device mvs-eth0 priority 0; {rule}; }}
             }}"
        ));
    };
    chain("counts", "counter");
    chain("drops", "ip saddr 192.0.2.100 drop");
    chain("bars", "policy drop");
    chain("maps", "ip saddr vmap { 192.0.2.100 : drop }");
    let seen = |kernel: &mut Kernel, expected: &[&str]| {
        lab::eventually(PATIENCE, || {
            kernel.drain();
            let foreign = &kernel.snapshot().filter.foreign;
            let mut tables: Vec<&str> = foreign.iter().map(|chain| chain.table.as_str()).collect();
            tables.sort_unstable();
            anyhow::ensure!(tables == expected, "{foreign:?}");
            anyhow::ensure!(foreign.iter().all(|chain| chain.devices.contains("mvs-eth0")), "{foreign:?}");
            Ok(())
        })
        .unwrap();
    };
    seen(&mut kernel, &["bars", "drops", "maps"]);
    nft("delete table netdev drops; flush chain netdev maps c");
    seen(&mut kernel, &["bars"]);
}

/// Gives a filter the form of version 0.1.0. It has the same sets but one, and the comments of its rules have
/// only the link's name.
pub(crate) fn make_old(link: LinkIndex) {
    let old = format!(
        "flush chain netdev macvlan_shim in-{link}
         flush chain netdev macvlan_shim out-{link}
         flush chain netdev macvlan_shim model-{link}
         delete chain netdev macvlan_shim model-{link}
         delete set netdev macvlan_shim answers-{link}
         add rule netdev macvlan_shim out-{link} ether daddr != @guests-{link} drop comment \"mvs-eth0\"
         add rule netdev macvlan_shim in-{link} ether saddr != @guests-{link} drop comment \"mvs-eth0\"
         add rule netdev macvlan_shim in-{link} icmpv6 type {{ nd-router-advert, nd-redirect }} drop comment \"mvs-eth0\"
         add rule netdev macvlan_shim in-{link} icmpv6 type nd-neighbor-solicit \
           meter asking-{link} size 4096 {{ ether saddr timeout 10s limit rate over 5/second burst 20 packets }} drop comment \"mvs-eth0\"
         add rule netdev macvlan_shim in-{link} icmpv6 type nd-neighbor-solicit limit rate over 100/second burst 200 packets \
           drop comment \"mvs-eth0\"
         add rule netdev macvlan_shim in-{link} ip saddr != 0.0.0.0 fib saddr . iif oif missing drop comment \"mvs-eth0\"
         add rule netdev macvlan_shim in-{link} ip6 saddr != {{ ::, fe80::/10 }} fib saddr . iif oif missing drop comment \"mvs-eth0\"
         add rule netdev macvlan_shim in-{link} fib daddr type != {{ local, broadcast, multicast }} drop comment \"mvs-eth0\""
    );
    assert!(Command::new("nft").arg(old).status().unwrap().success());
}

/// `all.route_localnet`, which kube-proxy sets, opens the loopback to everybody whom the host hears.
#[test]
fn services_on_the_loopback_are_not_for_guests() {
    let host = Host::new();
    std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
    let guest = host.guest_with_child("eth0", &GUEST_MAC.to_string());
    guest.ip("link set eth0 up");
    let mut kernel = Kernel::open().unwrap();
    let shim = host.shim_ref();
    host.make(&mut kernel, &shim);
    kernel.drain();
    let index = kernel.snapshot().link_named(&shim.name).map(|link| link.index);
    let service = UdpSocket::bind("127.0.0.1:7777").unwrap();
    service.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let hears = || {
        guest.within(|| {
            let (target, source) = ((Ipv4Addr::LOCALHOST, 7777), Ipv4Addr::new(192, 0, 2, 100));
            let forge = Forge::open("eth0").unwrap();
            forge.send(&forge::udp(SHIM_MAC.0, GUEST_MAC.0, source, target, b"hello")).unwrap();
        });
        service.recv(&mut [0; 16]).is_ok()
    };
    assert!(hears(), "without a filter the host takes it: the test proves nothing");
    set(&mut kernel, &LinkRef { index, ..shim }, &[GUEST_MAC].into());
    assert!(!hears(), "a guest reaches the host's loopback");
}
