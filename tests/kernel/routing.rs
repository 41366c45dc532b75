//! The look-up in the host's routing, compared with `ip route get`: random rules and routes in a real
//! namespace. The seeds are fixed, so a failure can be repeated. `ROUTING_SEEDS=first..end` tries others.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Instant;

use ipnet::IpNet;
use macvlan_shim::config::Config;
use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::inventory::{GuestKey, Mode, ServerId};
use macvlan_shim::model::snapshot::{Child, ChildKey, GuestAddress, Netns, Snapshot};
use macvlan_shim::model::{Code, LinkIndex, Mac, NetnsId, NicKey};
use macvlan_shim::reconcile::admit::Verdict;
use macvlan_shim::reconcile::{Inputs, Memory, desire};

use crate::host::Host;
use crate::listed;
use crate::look::assert_truth;

/// The destination of a packet, from the point of view of a guest on eth0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    OnLink,
    /// A route or rule leads elsewhere, or says that there is no way.
    Elsewhere,
    /// A default route, or nothing.
    Nowhere,
    /// An address of the host.
    Local,
}

#[test]
fn the_look_up_in_random_rules_and_routes_is_the_kernels() {
    let seeds = std::env::var("ROUTING_SEEDS").unwrap_or_else(|_| "1..25".to_owned());
    let (first, end) = seeds.split_once("..").unwrap();
    let (mut asked, mut seen) = (0, BTreeMap::<String, u32>::new());
    for seed in first.parse::<u64>().unwrap()..end.parse().unwrap() {
        let world = std::thread::spawn(move || one_world(seed));
        for answer in world.join().unwrap() {
            asked += 1;
            *seen.entry(format!("{answer:?}")).or_default() += 1;
        }
    }
    println!("{asked} addresses: {seen:?}");
    for answer in [Answer::OnLink, Answer::Elsewhere, Answer::Nowhere, Answer::Local] {
        assert!(seen.contains_key(&format!("{answer:?}")), "{answer:?} never: {seen:?}");
    }
}

/// The cost of a router's full table: `cargo test --test kernel -- --ignored --nocapture full_table`.
#[test]
#[ignore = "prints times and sizes"]
fn a_full_table_of_a_router() {
    const ROUTES: u32 = 300_000;
    let host = Host::new();
    let line = |n: u32| {
        let net = Ipv4Addr::from_bits(0x0b00_0000 + (n << 8));
        format!("route add {net}/24 via 192.0.2.{} metric 20\n", 200 + n % 4)
    };
    let lines: String = (0..ROUTES).map(line).collect();
    assert!(host.ip_batch(&lines).wait().unwrap().success());
    let before = resident();
    let start = std::time::Instant::now();
    let mut kernel = Kernel::open().unwrap();
    kernel.drain();
    println!("opened in {:?}, {} kB more resident", start.elapsed(), resident() - before);
    assert_eq!(kernel.snapshot().routing.iter().count(), ROUTES as usize + 2);
    let start = std::time::Instant::now();
    host.ip("route replace 11.0.7.0/24 via 192.0.2.209 metric 20");
    let changes = kernel.drain();
    println!("one route taken in after {:?}: {changes:?}", start.elapsed());
    assert!(!changes.all);
    let start = std::time::Instant::now();
    kernel.resync_host();
    assert!(!kernel.drain().all);
    println!("read again in {:?}", start.elapsed());
}

/// In kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The answers in one random world, all of which were right.
fn one_world(seed: u64) -> Vec<Answer> {
    let mut dice = Dice(seed);
    let host = Host::new();
    host.ip("link add br1 type bridge");
    host.ip("link set br1 addrgenmode none group 7");
    host.ip("link set br1 up");
    host.ip("addr add 10.9.9.1/24 dev br1");
    host.ip("addr add fd09::1/64 dev br1 nodad");
    host.ip("link add shim0 link eth0 type macvlan mode bridge");
    host.ip("link set shim0 addrgenmode none");
    host.ip("link set shim0 up");
    for object in [
        "4 blackhole",
        "1 dev eth0",
        "2 via 192.0.2.253 dev eth0",
        "3 dev br1",
        "10 group 2/5",
        "5 via 10.9.9.253 dev br1",
    ] {
        // The group comes before its second member.
        let _ = try_ip(&format!("nexthop add id {object}"));
    }
    host.ip("nexthop replace id 10 group 2/5");
    let mut kernel = Kernel::open().unwrap();
    let mut done: Vec<String> = vec![];
    for ipv6 in [false, true] {
        let mut taken = std::collections::BTreeSet::new();
        for _ in 0..dice.below(10) + 3 {
            let (table, to, rest) = route(&mut dice, ipv6);
            // The kernel chooses by the metric among routes of equal length, and we do not.
            if taken.insert((table, to)) {
                let family = if ipv6 { "-6 " } else { "" };
                done.push(format!("{family}route add {}{rest} table {table}", kind_first(&rest, to)));
            }
        }
        for _ in 0..dice.below(6) {
            done.push(rule(&mut dice, ipv6));
        }
    }
    // Objects that the kernel refuses exist for neither side.
    done.retain(|line| try_ip(line));
    if seed.is_multiple_of(2) {
        std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "0").unwrap();
        kernel = Kernel::open().unwrap();
    }
    assert_truth(&mut kernel);
    let addresses: Vec<IpAddr> = (0..60).map(|number| address(&mut dice, number % 2 == 1)).collect();
    let ours = ours(kernel.snapshot(), &addresses);
    let mut answers = vec![];
    for address in addresses {
        let Some(theirs) = ask_kernel(address) else { continue };
        let (mine, why) = &ours[&address];
        // A route may say that there is no way. The kernel's answer is the same as without a route.
        let same = *mine == theirs
            || (theirs == Answer::Nowhere && *mine == Answer::Elsewhere && why.contains("drops"))
            || (theirs == Answer::Nowhere && why.contains("covers it"));
        assert!(same, "seed {seed}, {address}: kernel {theirs:?}, we {mine:?} ({why})\n{}", done.join("\n"));
        answers.push(*mine);
    }
    answers
}

/// The place of the kind in `ip route add`: before the destination.
fn kind_first(rest: &str, to: IpNet) -> String {
    if rest.starts_with(' ') { to.to_string() } else { String::new() }
}

/// A route: the table, the destination, and the rest. Kinds without a link have only the destination.
fn route(dice: &mut Dice, ipv6: bool) -> (u32, IpNet, String) {
    let to = net(dice, ipv6);
    let table = dice.of(&[254, 254, 254, 100, 100, 200]);
    let (near, far) = if ipv6 { ("2001:db8::fe", "fd09::fe") } else { ("192.0.2.254", "10.9.9.254") };
    let rest = match dice.below(14) {
        0..3 => " dev eth0".to_owned(),
        3 => " dev shim0".to_owned(),
        4..6 => " dev br1".to_owned(),
        6 => format!(" via {near} dev eth0"),
        7 => format!(" via {far} dev br1"),
        8 => format!(" nexthop dev eth0 nexthop via {far} dev br1"),
        9 => format!(" nexthop via {near} dev eth0 nexthop dev br1"),
        10 if !ipv6 => format!(" nhid {}", dice.of(&[1, 2, 3, 4, 10])),
        10 | 11 => format!("throw {to}"),
        12 => format!("{} {to}", dice.of(&["unreachable", "blackhole", "prohibit"])),
        _ => format!("local {to} dev lo"),
    };
    (table, to, rest)
}

fn rule(dice: &mut Dice, ipv6: bool) -> String {
    let all = if ipv6 { "::/0" } else { "0.0.0.0/0" };
    let selector = match dice.below(16) {
        0..4 => String::new(),
        4..6 => format!("to {}", net(dice, ipv6)),
        6 => format!("not to {}", net(dice, ipv6)),
        7 => format!("from {}", net(dice, ipv6)),
        8 => format!("not from all fwmark {}", dice.of(&["0x51820", "0", "0x1/0x1"])),
        9 => format!("fwmark {}", dice.of(&["0x51820", "0/0xff", "0x80000/0xff0000"])),
        10 => format!("iif {}", dice.of(&["lo", "eth0", "gone"])),
        11 => "oif eth0".to_owned(),
        12 => format!("uidrange {}", dice.of(&["0-0", "0-99999", "1000-2000"])),
        13 => format!("ipproto tcp{}", dice.of(&["", " dport 80"])),
        14 => format!("tos {}", dice.of(&["0x10", "0"])),
        _ => format!("not from {all}"),
    };
    let priority = dice.of(&[100, 200, 200, 300, 400, 40000]);
    let action = match dice.below(10) {
        0..3 => format!("lookup {}", dice.of(&[100, 200, 300])),
        3 => "lookup main".to_owned(),
        4 => format!("lookup main suppress_prefixlength {}", dice.of(&[0, 8, 24])),
        5 => "lookup main suppress_ifgroup 7".to_owned(),
        6 => format!("goto {}", dice.of(&[200, 300, 400, 32766])),
        7 => "nop".to_owned(),
        8 => dice.of(&["unreachable", "blackhole", "prohibit"]).to_owned(),
        _ => "l3mdev".to_owned(),
    };
    let family = if ipv6 { "-6 " } else { "" };
    let line = format!("{family}rule add {selector} pref {priority} {action}");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Nested networks, one inside the other.
fn net(dice: &mut Dice, ipv6: bool) -> IpNet {
    let address = address(dice, ipv6);
    let length = match ipv6 {
        false => dice.of(&[0, 8, 16, 24, 24, 25, 26, 28, 30, 32]),
        true => dice.of(&[0, 8, 32, 48, 64, 64, 96, 120, 126, 128]),
    };
    IpNet::new(address, length).unwrap().trunc()
}

/// Few networks, and none of the addresses that are gateways here.
fn address(dice: &mut Dice, ipv6: bool) -> IpAddr {
    let low = dice.below(250) as u16;
    match ipv6 {
        false => {
            let [a, b, c] = dice.of(&[[10, 0, 0], [10, 0, 1], [10, 1, 0], [192, 0, 2], [198, 51, 100]]);
            Ipv4Addr::new(a, b, c, low as u8).into()
        }
        true => {
            let head = dice.of(&[
                [0x2001, 0xdb8, 0, 0],
                [0x2001, 0xdb8, 0, 1],
                [0xfd00, 0, 0, 0],
                [0xfd00, 1, 0, 0],
            ]);
            Ipv6Addr::new(head[0], head[1], head[2], head[3], 0, 0, 1, low).into()
        }
    }
}

/// Our answer to a guest on eth0 that claims all these addresses, and its reason.
fn ours(snapshot: &Snapshot, addresses: &[IpAddr]) -> BTreeMap<IpAddr, (Answer, String)> {
    let mac = Mac([0, 0x16, 0x3e, 0, 0, 1]);
    let key = ChildKey { netns: Netns::Id(NetnsId(1)), index: LinkIndex(7) };
    let claims = addresses.iter().map(|address| (IpNet::from(*address), GuestAddress::Settled));
    let child = Child {
        parent: snapshot.link_named("eth0").unwrap().index,
        mac,
        mode: Mode::Bridge,
        name: "eth0".into(),
        tap: false,
        up: true,
        master: None,
        sources: Default::default(),
        addresses: claims.collect(),
    };
    let mut snapshot = snapshot.clone();
    snapshot.children.insert(key, child);
    let mut config = Config::default();
    config.policy.max_addresses = usize::MAX;
    let inventory = listed::by_lxd(vec![listed::container("web", vec![listed::nic("eth0", mac)])]);
    let inputs = Inputs { config: &config, inventory: &inventory, snapshot: &snapshot, now: Instant::now() };
    let (desired, _) = desire(&inputs, &Memory::default());
    let nic = NicKey {
        guest: GuestKey::new(ServerId("lxd".into()), "default".into(), "web".into()),
        nic: "eth0".into(),
    };
    assert!(desired.decisions[&nic].parent().is_some());
    let verdict = |address| match desired.held.claims.verdict(&key, address).unwrap() {
        Verdict::Admitted { .. } => (Answer::OnLink, String::new()),
        Verdict::Refused(refusal) => {
            let answer = match refusal.code {
                Code::RoutedElsewhere => Answer::Elsewhere,
                Code::OffLink => Answer::Nowhere,
                Code::HostAddress => Answer::Local,
                Code::NoSource | Code::NetworkAddress | Code::BroadcastAddress => Answer::OnLink,
                other => panic!("{address}: {other}"),
            };
            (answer, refusal.message.clone())
        }
    };
    addresses.iter().map(|address| (*address, verdict(*address))).collect()
}

/// The route that the kernel takes; `None` for a broadcast or anycast address, which belongs to nobody.
fn ask_kernel(address: IpAddr) -> Option<Answer> {
    let output =
        Command::new("ip").args(["route", "get", "fibmatch", &address.to_string()]).output().unwrap();
    if !output.status.success() {
        return Some(Answer::Nowhere);
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let hops: Vec<&str> = match text.contains("nexthop ") {
        true => text.split("nexthop ").skip(1).collect(),
        false => vec![text.trim()],
    };
    let on_link = |hop: &&str| {
        // The number may be all that is shown of a next-hop object.
        if !hop.contains("dev ") {
            return hop.contains("nhid 1 ") || hop.ends_with("nhid 1");
        }
        let dev = hop.split("dev ").nth(1).and_then(|rest| rest.split_whitespace().next());
        !hop.contains("via ") && (dev == Some("eth0") || dev == Some("shim0"))
    };
    match text.split_whitespace().next() {
        Some("broadcast" | "anycast") => None,
        Some("local") => Some(Answer::Local),
        Some("default") => Some(Answer::Nowhere),
        _ if hops.iter().any(on_link) => Some(Answer::OnLink),
        _ => Some(Answer::Elsewhere),
    }
}

fn try_ip(line: &str) -> bool {
    Command::new("ip").args(line.split_whitespace()).output().unwrap().status.success()
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}
