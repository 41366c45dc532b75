//! The frames that pass the filter in front of a shim: root of a guest makes them, and the host's own stack
//! gets them.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use lab::eventually;
use lab::forge::{self, Forge};
use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::LinkRef;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn6, recvfrom, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::filter::{HOST_V6, filtered};
use crate::host::{Guest, Host};
use crate::look::PATIENCE;
use crate::shim::{GUEST_MAC, SHIM_MAC};

const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const STRANGER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x66);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const OPTIONS: u8 = 60;

/// A host with a shim behind its filter, and a guest.
pub(crate) struct Stage {
    pub(crate) host: Host,
    pub(crate) kernel: Kernel,
    pub(crate) shim: LinkRef,
    pub(crate) guest: Guest,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let host = Host::new();
        let guest = host.guest_with_child("eth0", &GUEST_MAC.to_string());
        guest.ip("link set eth0 up");
        guest.ip("addr add 192.0.2.100/24 dev eth0");
        guest.ip("addr add 2001:db8::100/64 dev eth0 nodad");
        let mut kernel = Kernel::open().unwrap();
        let (shim, _) = filtered(&host, &mut kernel, 0);
        Stage { host, kernel, shim, guest }
    }

    pub(crate) fn unfilter(&self) {
        nft("delete table netdev macvlan_shim");
    }

    /// Puts frames on the guest's NIC.
    pub(crate) fn send(&self, frames: impl IntoIterator<Item = Vec<u8>> + Send) {
        self.guest.within(|| {
            let forge = Forge::open("eth0").unwrap();
            frames.into_iter().for_each(|frame| forge.send(&frame).unwrap());
        });
    }
}

pub(crate) fn nft(commands: &str) -> String {
    let output = Command::new("nft").args(["-a", commands]).output().unwrap();
    assert!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The elements of a set, given its listing.
pub(crate) fn elements(listing: &str) -> BTreeSet<String> {
    let elements = listing.split("elements = {").nth(1).map_or("", |rest| rest.split('}').next().unwrap());
    elements.split(',').map(|element| element.trim().to_owned()).filter(|it| !it.is_empty()).collect()
}

/// Ways to wrap an IPv6 packet so that its payload is not seen at first sight. The last word: whether the
/// host accepts it if nothing is in the way.
type Wrapping = (&'static str, fn(&[u8], u32) -> Vec<Vec<u8>>);

const PLAIN: Wrapping = ("plain", |frame, _| vec![frame.to_vec()]);

/// The wrappings that a rule must see through.
const DISGUISES: [Wrapping; 13] = [
    ("one tag", |frame, _| vec![forge::tagged(frame, &[0x8100])]),
    ("two tags", |frame, _| vec![forge::tagged(frame, &[0x8100, 0x8100])]),
    ("a service tag and another", |frame, _| vec![forge::tagged(frame, &[0x88a8, 0x8100])]),
    ("three tags", |frame, _| vec![forge::tagged(frame, &[0x8100, 0x8100, 0x8100])]),
    ("hop-by-hop options", |frame, _| vec![forge::behind(frame, &[HOP_BY_HOP])]),
    ("destination options", |frame, _| vec![forge::behind(frame, &[OPTIONS])]),
    ("a long chain", |frame, _| vec![forge::behind(frame, &[HOP_BY_HOP, OPTIONS, OPTIONS, OPTIONS])]),
    ("a routing header", |frame, _| vec![forge::behind(frame, &[ROUTING])]),
    ("a fragment that is all", |frame, _| vec![forge::behind(frame, &[FRAGMENT])]),
    ("fragments", |frame, n| forge::fragments(frame, 8, n).to_vec()),
    ("fragments of options", |frame, n| forge::fragments(&forge::behind(frame, &[OPTIONS]), 16, n).to_vec()),
    ("fragments that hide", |frame, n| {
        forge::fragments(&forge::behind(frame, &[OPTIONS, OPTIONS]), 8, n).to_vec()
    }),
    ("fragments that hide after options", |frame, n| {
        let [first, second] = forge::fragments(&forge::behind(frame, &[OPTIONS, OPTIONS]), 8, n);
        vec![forge::behind(&first, &[HOP_BY_HOP]), forge::behind(&second, &[HOP_BY_HOP])]
    }),
];

/// All protocols: tags, LLC, MPLS, PPPoE, EAPOL, LLDP, PROFINET, and those that are yet to be invented.
#[test]
fn of_all_protocols_only_ip_and_arp_pass() {
    let stage = Stage::new();
    // Sees the frames that come to our chain, and those that are left after it.
    nft("add table netdev witness
         add set netdev witness came { typeof meta protocol; size 65536; flags dynamic; }
         add chain netdev witness before { type filter hook ingress device mvs-eth0 priority -500; }
         add rule netdev witness before add @came { meta protocol }
         add set netdev witness left { typeof meta protocol; size 65536; flags dynamic; }
         add chain netdev witness after { type filter hook ingress device mvs-eth0 priority 500; }
         add rule netdev witness after add @left { meta protocol }");
    let seen = |set| elements(&nft(&format!("list set netdev witness {set}")));
    // A busy machine drops frames on the way, so they are sent until nearly all have come.
    let send_all = |set| {
        eventually(PATIENCE, || {
            stage.send((0..=u16::MAX).map(|kind| forge::ethernet(SHIM_MAC.0, GUEST_MAC.0, kind, &[0; 46])));
            let came = seen(set).len();
            anyhow::ensure!(came > 60_000, "{came}");
            Ok(())
        })
        .unwrap();
    };
    send_all("came");
    let passed = seen("left");
    println!("with the filter {passed:?}");
    assert!(passed.is_subset(&["ip", "ip6", "arp"].map(str::to_owned).into()), "{passed:?}");
    // They do pass as far as the other rules let them.
    assert!(
        stage.guest.can("ping -n -c 1 -W 2 192.0.2.1") && stage.guest.can("ping -6 -n -c 1 -W 2 2001:db8::1")
    );
    assert_eq!(seen("left"), ["ip", "ip6", "arp"].map(str::to_owned).into());
    // Without the filter all of them pass, so the witness sees them.
    stage.unfilter();
    send_all("left");
}

/// The sources of the datagrams that come, by their wrapping.
fn datagrams(service: &UdpSocket) -> BTreeSet<String> {
    let mut came = BTreeSet::new();
    let mut buffer = [0; 100];
    while let Ok(length) = service.recv(&mut buffer) {
        came.insert(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    came
}

#[test]
fn no_disguise_brings_a_foreign_source_to_a_socket_of_the_host() {
    let mut stage = Stage::new();
    let service = UdpSocket::bind((HOST_V6, 5000)).unwrap();
    service.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let all = || [PLAIN].into_iter().chain(DISGUISES);
    let sources = [GUEST_V6, STRANGER_V6, ROUTER, Ipv6Addr::UNSPECIFIED];
    let attempts = || {
        let mut frames = Vec::new();
        for (number, (name, wrap)) in (0..).zip(all()) {
            for (of, source) in (0..).zip(sources) {
                let data = format!("{source} in {name}");
                let frame = forge::udp6(SHIM_MAC.0, GUEST_MAC.0, source, (HOST_V6, 5000), data.as_bytes());
                frames.extend(wrap(&frame, 100 * number + of));
            }
        }
        frames
    };
    stage.send(attempts());
    let came = datagrams(&service);
    println!("with the filter {came:?}");
    let honest = |came: &&String| came.starts_with(&format!("{GUEST_V6} in"));
    assert!(came.iter().all(|came| honest(&came)), "{came:?}");
    for name in ["plain", "one tag", "hop-by-hop options", "destination options", "fragments"] {
        assert!(came.contains(&format!("{GUEST_V6} in {name}")), "an honest guest is not heard in {name}");
    }
    // What was dropped is counted, by the kind of rule, and the filter counts as whole all the same.
    stage.kernel.resync();
    stage.kernel.settle();
    let count = |rule: &str| {
        let dropped = stage.kernel.dropped_packets().iter();
        let dropped = dropped.filter(|it| it.rule == rule && it.direction == "in");
        dropped.map(|it| it.packets).sum::<u64>()
    };
    for rule in ["spoofed-source", "neither-ip-nor-arp", "routing-header", "extension-header"] {
        assert!(count(rule) > 0, "nothing was counted as {rule}: {:?}", stage.kernel.dropped_packets());
    }
    assert_eq!(count("unserved-mac"), 0);
    assert!(stage.kernel.snapshot().filter.shims[&stage.shim.index.unwrap()].whole);
    stage.unfilter();
    stage.send(attempts());
    let came = datagrams(&service);
    println!("without it {came:?}");
    for (name, _) in all() {
        assert!(came.contains(&format!("{STRANGER_V6} in {name}")), "{name} shows nothing: {came:?}");
    }
}

/// The types of the ICMPv6 messages of the forged router that come. The guest's kernel sends some of its own.
fn messages(socket: &impl AsRawFd) -> BTreeSet<u8> {
    let mut came = BTreeSet::new();
    let mut buffer = [0; 200];
    while let Ok((_, source)) = recvfrom::<SockaddrIn6>(socket.as_raw_fd(), &mut buffer) {
        came.extend(source.filter(|source| source.ip() == ROUTER).map(|_| buffer[0]));
    }
    came
}

#[test]
fn neighbour_discovery_comes_plainly_or_not_at_all() {
    let stage = Stage::new();
    let ear =
        socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6).unwrap();
    setsockopt(&ear, sockopt::ReceiveTimeout, &TimeVal::milliseconds(300)).unwrap();
    let (shim, guest) = (SHIM_MAC.0, GUEST_MAC.0);
    let prefix = Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 0);
    let kinds = [
        forge::router_solicitation(shim, guest, ROUTER, HOST_V6),
        forge::router_advertisement(shim, guest, ROUTER, HOST_V6, prefix),
        forge::solicitation(shim, guest, ROUTER, HOST_V6),
        forge::advertisement(shim, guest, ROUTER, HOST_V6),
        forge::redirect6(shim, guest, ROUTER, HOST_V6, STRANGER_V6, ROUTER),
    ];
    let wrapped = |(name, wrap): Wrapping| {
        let frames = (0..).zip(&kinds).flat_map(|(number, frame)| wrap(frame, number)).collect::<Vec<_>>();
        stage.send(frames);
        let came = messages(&ear);
        println!("{name}: {came:?}");
        came
    };
    let plain = BTreeSet::from([135, 136]);
    assert_eq!(wrapped(PLAIN), plain);
    for disguise in DISGUISES {
        // The kernel takes one tag away before the hook.
        let expected = if disguise.0 == "one tag" { plain.clone() } else { BTreeSet::new() };
        assert_eq!(wrapped(disguise), expected, "{}", disguise.0);
    }
    stage.unfilter();
    for disguise in DISGUISES {
        // A raw socket gets fragments before neighbour discovery throws them away (RFC 6980).
        assert_eq!(wrapped(disguise), (133..=137).collect(), "{} shows nothing", disguise.0);
    }
}

fn entries(family: &str) -> usize {
    let shown = [family, "neigh", "show", "dev", "mvs-eth0", "nud", "all"];
    let shown = Command::new("ip").args(shown).output().unwrap();
    String::from_utf8_lossy(&shown.stdout).lines().count()
}

/// The count a moment later, or as soon as it is the wanted one.
fn come_in(count: impl Fn() -> usize, wanted: usize) -> usize {
    std::thread::sleep(Duration::from_millis(20));
    let start = Instant::now();
    while count() < wanted && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    count()
}

/// Other tests would feel more than a few, because all namespaces share one table.
#[test]
fn no_disguise_fills_the_table_of_neighbours() {
    const EACH: u32 = 60;
    let stage = Stage::new();
    let source = |n: u32| Ipv6Addr::from((0xfe80 << 112) + 0x6600_0000 + u128::from(n));
    let mut next = 0;
    // The number of entries after a flood, which lasts until there are as many as wanted, and the number that
    // the limit for one MAC passes meanwhile.
    let mut flood = |(name, wrap): Wrapping, routers: bool, wanted: usize| {
        let make = if routers { forge::router_solicitation } else { forge::solicitation };
        let range = next..next + EACH;
        next += EACH;
        let frames = range
            .flat_map(|n| wrap(&make(SHIM_MAC.0, GUEST_MAC.0, source(n), HOST_V6), n))
            .collect::<Vec<_>>();
        let (before, start) = (entries("-6"), Instant::now());
        stage.send(frames);
        let new = come_in(|| entries("-6") - before, wanted);
        println!("{name}, {}: {new} entries", if routers { "routers" } else { "neighbours" });
        (new, 22 + 5 * start.elapsed().as_secs() as usize)
    };
    let (new, most) = flood(PLAIN, false, 0);
    assert!(new <= most, "the limit for one MAC does not hold: {new}");
    assert_eq!(flood(PLAIN, true, 0).0, 0, "questions for routers");
    for disguise in DISGUISES {
        let (new, most) = flood(disguise, false, 0);
        let most = if disguise.0 == "one tag" { most } else { 0 };
        assert!(new <= most && flood(disguise, true, 0).0 == 0, "{}", disguise.0);
    }
    stage.unfilter();
    let each = EACH as usize;
    assert_eq!(flood(PLAIN, true, each).0, each, "questions for routers show nothing");
    assert_eq!(flood(DISGUISES[1], false, each).0, each, "two tags show nothing");
}

/// The larger of `all.arp_accept` and the shim's own counts. Without a filter each forged answer makes an
/// entry.
#[test]
fn unsolicited_answers_leave_no_entry() {
    const EACH: u8 = 60;
    let stage = Stage::new();
    std::fs::write("/proc/sys/net/ipv4/conf/all/arp_accept", "1").unwrap();
    let answer = |sender: u8| {
        let sender = Ipv4Addr::new(192, 0, 2, sender);
        forge::arp(forge::Arp::Reply, SHIM_MAC.0, GUEST_MAC.0, sender, sender)
    };
    let flood = |wanted: usize| {
        let before = entries("-4");
        stage.send((150..150 + EACH).map(answer));
        come_in(|| entries("-4") - before, wanted)
    };
    assert_eq!(flood(0), 0);
    stage.unfilter();
    assert_eq!(flood(EACH.into()), usize::from(EACH), "forged answers show nothing");
}
