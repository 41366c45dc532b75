//! The sysctls of a shim, and the effects of the host's on it. All without a filter, because the sysctls
//! alone serve where no filter is possible.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use macvlan_shim::config::Config;
use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::snapshot::{Setting, Sysctls};
use macvlan_shim::model::{Inventory, Op};
use macvlan_shim::reconcile::{Desired, Inputs, Memory, desire, diff};

use crate::host::{Guest, Host};
use crate::look::{PATIENCE, ip, net};
use crate::shim::GUEST_MAC;

/// A shim without a guest.
const KEPT: &str = "[[parent]]\nname = \"eth0\"\nkeep = true\n";

/// Decides and obeys until nothing is left to do, without a filter. The tests make the routes to guests
/// themselves.
fn settle(kernel: &mut Kernel, config: &str) -> Desired {
    let config = Config::parse(config, Path::new("test")).unwrap();
    let mut memory = Memory::default();
    for _ in 0..8 {
        kernel.resync_host();
        kernel.drain();
        let (inventory, snapshot) = (Inventory::default(), kernel.snapshot());
        let inputs = Inputs { config: &config, inventory: &inventory, snapshot, now: Instant::now() };
        let (desired, next) = desire(&inputs, &memory);
        memory = next;
        let mut plan = diff(&desired, kernel.snapshot());
        let filter = |op: &Op| matches!(op, Op::SetFilter { .. } | Op::DeleteFilter { .. });
        let guest = |op: &Op| matches!(op, Op::DeleteRoute { .. } | Op::DeleteNeighbour { .. });
        plan.retain(|step| !filter(&step.op) && !guest(&step.op));
        if plan.is_empty() {
            return desired;
        }
        plan.iter().for_each(|step| kernel.apply(&step.op).unwrap());
    }
    panic!("it never ends");
}

/// Makes the entry and the route of a guest that is served.
fn serve(kernel: &mut Kernel, address: &str, source: &str) {
    let link = kernel.snapshot().link_named("mvs-eth0").unwrap();
    let shim = macvlan_shim::model::LinkRef { name: link.name.clone(), index: Some(link.index) };
    let entry = Op::SetNeighbour { shim: shim.clone(), address: ip(address), mac: GUEST_MAC };
    let (destination, source) = (net(&format!("{address}/32")), Some(ip(source)));
    let route = Op::SetRoute { shim, destination, source, table: 254, replace: false };
    [entry, route].iter().for_each(|op| kernel.apply(op).unwrap());
}

fn write(key: &str, value: i64) {
    fs::write(Path::new("/proc/sys/net").join(key), value.to_string()).unwrap();
}

fn read(key: &str) -> i64 {
    fs::read_to_string(Path::new("/proc/sys/net").join(key)).unwrap().trim().parse().unwrap()
}

fn shown(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn guest_of(host: &Host) -> Guest {
    let guest = host.guest_with_child("eth0", "00:16:3e:00:00:01");
    guest.ip("link set eth0 up");
    guest.ip("addr add 192.0.2.100/24 dev eth0");
    guest
}

/// The table's rows: the keys of `net.ipv4.conf` and its like, each with its verdict.
fn table() -> BTreeMap<String, BTreeMap<String, String>> {
    let mut table: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut folder = String::new();
    for line in include_str!("../../src/reconcile/shims/SYSCTLS.md").lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            folder = heading.replace('.', "/").replace("net/", "");
        } else if let Some((key, rest)) = line.strip_prefix("| `").and_then(|row| row.split_once("` | ")) {
            let (verdict, why) = rest.split_once(" | ").unwrap();
            assert!(why.len() > 5, "{key} has no reason");
            let twice = table.entry(folder.clone()).or_default().insert(key.to_owned(), verdict.to_owned());
            assert_eq!(twice, None, "{key} is there twice");
        }
    }
    table
}

#[test]
fn every_sysctl_of_this_kernel_has_a_verdict() {
    let table = table();
    for folder in ["ipv4/conf", "ipv4/neigh", "ipv6/conf", "ipv6/neigh"] {
        for link in ["lo", "default", "all"] {
            let Ok(keys) = fs::read_dir(Path::new("/proc/sys/net").join(folder).join(link)) else { continue };
            for key in keys {
                let key = key.unwrap().file_name().into_string().unwrap();
                assert!(
                    table[folder].contains_key(&key),
                    "SYSCTLS.md says nothing of net/{folder}/{link}/{key}"
                );
            }
        }
    }
}

#[test]
fn exactly_the_keys_that_the_table_calls_pinned_are_pinned_to_its_values() {
    let _host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let desired = settle(&mut kernel, KEPT);
    let shim = desired.shims.values().next().unwrap();
    let mut pinned: BTreeMap<String, i64> = BTreeMap::new();
    for (folder, keys) in table() {
        for (key, verdict) in keys {
            let verdict = verdict.strip_prefix("pinned ");
            let value = verdict.map(|verdict| verdict.trim_end_matches(", watched").parse().unwrap());
            pinned.extend(value.map(|value| (format!("{folder}/mvs-eth0/{key}"), value)));
        }
    }
    let lacks = &kernel.snapshot().host.lacks;
    let is_there = |setting: &&Setting| Path::new("/proc/sys/net").join(setting.path("lo")).exists();
    assert_eq!(lacks.iter().find(is_there), None);
    pinned.retain(|path, _| !lacks.iter().any(|setting| setting.path("mvs-eth0") == *path));
    let set = shim.settings.iter().map(|(setting, value)| (setting.path("mvs-eth0"), *value));
    assert_eq!(set.collect::<BTreeMap<_, _>>(), pinned);
    pinned.iter().for_each(|(path, value)| assert_eq!(read(path), *value, "{path}"));
}

/// Every key that a new link can inherit has its worst value, and gets it again afterwards.
#[test]
fn a_shim_has_its_sysctls_whatever_new_links_get() {
    let _host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let worst = |setting: Setting| match setting {
        Setting::ArpIgnore => 8,
        Setting::RpFilter | Setting::ArpFilter | Setting::PromoteSecondaries | Setting::MediumId => 0,
        Setting::Ipv6ProxyDelay | Setting::Solicit | Setting::Ipv6Solicit => 99,
        Setting::Ipv6Forwarding | Setting::Ipv6ProxyNdp | Setting::Ipv6AddrGenMode => 0,
        _ => 1,
    };
    let has = |link: &'static str| {
        let is_there = move |it: &Setting| Path::new("/proc/sys/net").join(it.path(link)).exists();
        Setting::ALL.into_iter().filter(is_there)
    };
    // A new link's neighbour settings come from the first namespace.
    has("default").for_each(|setting| write(&setting.path("default"), worst(setting)));
    let settings: Vec<Setting> = has("lo").collect();
    let right: Vec<_> = settle(&mut kernel, KEPT).shims.into_values().next().unwrap().settings;
    let check =
        || right.iter().for_each(|(it, value)| assert_eq!(read(&it.path("mvs-eth0")), *value, "{it:?}"));
    assert_eq!(right.len(), settings.len());
    check();
    // IPv6 that is switched off takes the effects of its other sysctls with it, so it is switched on first.
    settings.iter().for_each(|setting| write(&setting.path("mvs-eth0"), worst(*setting)));
    settle(&mut kernel, KEPT);
    check();
}

/// With `all.proxy_arp` and forwarding a host answers ARP for every address that it has a route to by another
/// link.
#[test]
fn a_shim_answers_only_for_addresses_of_the_host() {
    let host = Host::new();
    write("ipv4/ip_forward", 1);
    write("ipv4/conf/all/proxy_arp", 1);
    write("ipv4/conf/default/proxy_arp", 1);
    write("ipv4/conf/default/proxy_arp_pvlan", 1);
    host.ip("route add default via 192.0.2.254 dev eth0");
    let guest = guest_of(&host);
    let machine = host.guest();
    host.ip(&format!("link set lan netns {}", machine.pid()));
    machine.ip("link set lan up");
    let mut kernel = Kernel::open().unwrap();
    settle(&mut kernel, KEPT);
    // Otherwise proxied answers come at random within 0.8 s.
    write("ipv4/neigh/mvs-eth0/proxy_delay", 0);
    serve(&mut kernel, "192.0.2.100", "192.0.2.1");
    let asked: BTreeSet<String> = (150..200).map(|last| format!("192.0.2.{last}")).collect();
    let each = |address: &String| format!("ping -n -q -c 1 -W 1 {address} >/dev/null &");
    let script = asked.iter().map(each).collect::<String>() + "wait";
    let pid = guest.pid();
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).args(["sh", "-c", &script]);
    assert!(command.status().unwrap().success());
    let entries = guest.within(|| shown("neigh show dev eth0"));
    let answered: Vec<&str> = entries.lines().filter(|entry| entry.contains("lladdr")).collect();
    assert!(answered.is_empty(), "the shim answered for {answered:#?}");
    // A machine that boots only now has its address. The guest reaches it, and still reaches the host.
    machine.ip("addr add 192.0.2.177/24 dev lan");
    for address in ["192.0.2.177", "192.0.2.1"] {
        lab::eventually(PATIENCE, || {
            anyhow::ensure!(
                guest.can(&format!("ping -n -q -c 1 -W 1 {address}")),
                "{address} is not reached"
            );
            Ok(())
        })
        .unwrap();
    }
    let ping = Command::new("ping").args("-n -q -c 1 -W 2 192.0.2.100".split(' ')).output().unwrap();
    assert!(ping.status.success(), "the host lost its guest");
}

/// The use of an own address at each value of `all.arp_ignore`, and the proof that no value on the shim
/// undoes it.
#[test]
fn the_ways_to_the_host_that_arp_ignore_leaves() {
    let host = Host::new();
    let guest = guest_of(&host);
    let mut kernel = Kernel::open().unwrap();
    let own = "[shim]\naddresses = [\"192.0.2.72\"]\n".to_owned() + KEPT;
    settle(&mut kernel, &own);
    serve(&mut kernel, "192.0.2.100", "192.0.2.1");
    let reaches = |address: &str| {
        let _ = guest.can("ip neigh flush dev eth0");
        guest.can(&format!("ping -n -q -c 1 -W 1 {address}"))
    };
    let addresses = || shown("-o -4 addr show dev mvs-eth0").split_whitespace().nth(3).map(str::to_owned);
    // The value, whether the host's ordinary address is reached, whether the own one is, and the form of the
    // own one.
    for (value, ordinary, special, form) in [
        (0, true, true, "192.0.2.72/32"),
        (1, false, true, "192.0.2.72/32"),
        (2, false, true, "192.0.2.72/0"),
        (3, true, true, "192.0.2.72/32"),
        (2, false, true, "192.0.2.72/0"),
        (8, false, false, "192.0.2.72/32"),
        (0, true, true, "192.0.2.72/32"),
    ] {
        write("ipv4/conf/all/arp_ignore", value);
        let desired = settle(&mut kernel, &own);
        assert_eq!(read("ipv4/conf/mvs-eth0/arp_ignore"), 0);
        assert_eq!(addresses().as_deref(), Some(form), "at {value}");
        assert_eq!(reaches("192.0.2.1"), ordinary, "the host's address at {value}");
        assert_eq!(reaches("192.0.2.72"), special, "the own address at {value}");
        let told = desired.problems.iter().any(|problem| problem.code == "arp-ignore");
        assert_eq!(told, !ordinary, "at {value}: {:?}", desired.problems);
        // Its form makes no route except the one to itself.
        let local = shown("route show table local dev mvs-eth0");
        assert_eq!(local.lines().count(), 1, "{local}");
    }
    // The cure from the problem: the value on the links that need it.
    write("ipv4/conf/eth0/arp_ignore", 8);
    assert!(reaches("192.0.2.1"));
    let problems = settle(&mut kernel, &own).problems;
    assert!(problems.iter().all(|problem| problem.code != "arp-ignore"), "{problems:?}");
}

/// The same address with another length takes the place of the first, and no route that has it as its source
/// is affected.
#[test]
fn an_own_address_changes_its_length_under_its_routes() {
    let _host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let own = "[shim]\naddresses = [\"192.0.2.72\", \"192.0.2.73\"]\n".to_owned() + KEPT;
    settle(&mut kernel, &own);
    serve(&mut kernel, "192.0.2.100", "192.0.2.72");
    let routes = || shown("route show dev mvs-eth0");
    let before = routes();
    assert!(before.contains("192.0.2.100 proto 77 scope link src 192.0.2.72"), "{before}");
    for (value, length) in [(2, 0), (0, 32), (2, 0), (1, 32)] {
        write("ipv4/conf/all/arp_ignore", value);
        settle(&mut kernel, &own);
        assert_eq!(routes(), before);
        let keys = kernel.snapshot().addresses.iter().filter(|(_, address)| address.ours);
        let standing: BTreeSet<_> = keys.map(|(key, _)| key.address).collect();
        let expected = ["192.0.2.72", "192.0.2.73"].map(|own| net(&format!("{own}/{length}")));
        assert_eq!(standing, BTreeSet::from(expected));
    }
    // In one subnet the second is secondary to the first, which goes alone.
    write("ipv4/conf/all/arp_ignore", 2);
    settle(&mut kernel, &own);
    settle(&mut kernel, &("[shim]\naddresses = [\"192.0.2.73\"]\n".to_owned() + KEPT));
    let left = shown("-o -4 addr show dev mvs-eth0");
    assert!(left.contains("192.0.2.73/0") && left.lines().count() == 1, "{left}");
}

fn mount(arguments: &str) {
    let status = Command::new("mount").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "mount {arguments}");
}

fn unmount(path: &str) {
    assert!(Command::new("umount").arg(path).status().unwrap().success());
}

#[test]
fn a_tree_of_sysctls_that_is_hidden_is_no_kernel_without_sysctls() {
    let _host = Host::new();
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("root is needed");
    mount("--make-rprivate /");
    let mut kernel = Kernel::open().unwrap();
    let right = settle(&mut kernel, KEPT);
    let known = kernel.snapshot().clone();
    assert_eq!(known.host.sysctls, Sysctls::Usable);
    let look = |kernel: &mut Kernel| {
        kernel.resync_host();
        kernel.drain();
        let config = Config::parse(KEPT, Path::new("test")).unwrap();
        let snapshot = kernel.snapshot().clone();
        let inventory = Inventory::default();
        let inputs =
            Inputs { config: &config, inventory: &inventory, snapshot: &snapshot, now: Instant::now() };
        let (desired, _) = desire(&inputs, &Memory::default());
        let told: Vec<_> = desired.problems.into_iter().map(|problem| problem.code).collect();
        (snapshot, desired.shims, told)
    };
    let told = |problems: Vec<String>| problems.contains(&"sysctls-unavailable".to_owned());

    mount("-t tmpfs none /proc/sys/net");
    let (hidden, shims, problems) = look(&mut kernel);
    assert_eq!(hidden.host.sysctls, Sysctls::Missing);
    // The known state stays, IPv6 included.
    assert_eq!((hidden.settings, hidden.host.ipv6, shims), (known.settings.clone(), true, right.shims));
    assert!(told(problems));
    let shim = macvlan_shim::model::LinkRef { name: "mvs-eth0".into(), index: None };
    let set = Op::Set { shim, setting: Setting::ArpFilter, value: 0 };
    let error = kernel.apply(&set).unwrap_err();
    assert!(error.hint.unwrap().contains("/proc/sys/net"));
    // A process that starts now knows no settings, and does not believe that the shim has the right ones.
    let fresh = Kernel::open().unwrap();
    assert_eq!((fresh.snapshot().host.sysctls, fresh.snapshot().host.ipv6), (Sysctls::Missing, true));
    assert_eq!(fresh.snapshot().settings, BTreeMap::new());
    unmount("/proc/sys/net");

    mount("--bind /proc/sys /proc/sys");
    mount("-o remount,ro,bind /proc/sys");
    let (read_only, _, problems) = look(&mut kernel);
    assert_eq!((read_only.host.sysctls, read_only.settings), (Sysctls::ReadOnly, known.settings.clone()));
    assert!(told(problems));
    kernel.apply(&set).unwrap_err();
    unmount("/proc/sys");

    let (again, _, problems) = look(&mut kernel);
    assert_eq!((again.host, again.settings), (known.host, known.settings));
    assert!(!told(problems));
}

/// Below the minimum MTU for IPv6 the kernel gives a link none of its sysctls.
#[test]
fn a_shim_on_a_parent_with_a_small_mtu_goes_up() {
    let host = Host::new();
    host.ip("link set lan mtu 1200");
    host.ip("link set eth0 mtu 1200");
    let mut kernel = Kernel::open().unwrap();
    settle(&mut kernel, KEPT);
    assert!(kernel.snapshot().link_named("mvs-eth0").unwrap().up);
}
