use std::fs;
use std::path::Path;

use super::*;
use crate::doctor::survey::Networkd;
use crate::model::inventory::{Guest, GuestKind, Home, Nics, OptOut, Power, Server};
use crate::model::{Inventory, ServerId};

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn absent() -> programs::Words {
    Err("there is no program x".to_owned())
}

#[test]
fn the_machine_is_read_below_a_root() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(machine::machine(root.path()).dmi.len(), 0);
    write(
        root.path(),
        &[
            ("sys/class/dmi/id/sys_vendor", "VMware, Inc.\n"),
            ("run/cloud-init/cloud-id", "gce\n"),
            ("proc/cpuinfo", "flags\t\t: fpu hypervisor lahf_lm\n"),
            ("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"),
            ("proc/sys/kernel/osrelease", "6.1.0\n"),
        ],
    );
    let machine = machine::machine(root.path());
    assert_eq!(machine.dmi["sys_vendor"], "VMware, Inc.");
    assert!(machine.is_virtual && machine.cloud.as_deref() == Some("gce"));
    assert_eq!(machine::system(root.path()), ("Debian GNU/Linux 12".to_owned(), "6.1.0".to_owned()));
    write(root.path(), &[("proc/cpuinfo", "flags\t\t: fpu\n"), ("sys/class/dmi/id/sys_vendor", "Dell\n")]);
    assert!(!machine::machine(root.path()).is_virtual);
}

#[test]
fn the_configuration_of_networkd_is_put_together_as_by_itself() {
    let root = tempfile::tempdir().unwrap();
    let states = "Id=systemd-networkd.service\nActiveState=active\n\nId=NetworkManager.service\nActiveState=inactive\n";
    let answers = [absent(), Ok(states.to_owned()), absent(), absent()];
    assert_eq!(managers::networkd(root.path(), &answers).runs, Some(false), "there is no systemd");
    fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
    let read = || managers::networkd(root.path(), &answers);
    assert!(matches!(read(), Networkd { runs: Some(true), spares_shims: false, .. }));
    write(
        root.path(),
        &[
            ("etc/systemd/networkd.conf", "[Network]\n#ManageForeignRoutes=yes\n"),
            ("usr/lib/systemd/networkd.conf.d/10-a.conf", "[Network]\nManageForeignRoutes=no\n"),
            ("etc/systemd/networkd.conf.d/10-a.conf", "[Network]\nManageForeignRoutes=yes\n"),
            ("usr/lib/systemd/network/10-x.network", "[Match]\nName=mvs-*\n\n[Link]\nUnmanaged=yes\n"),
        ],
    );
    let networkd = read();
    assert_eq!(networkd.keys["ManageForeignRoutes"], "yes", "the file in /etc takes the place of the other");
    assert!(networkd.spares_shims);
    assert_eq!(managers::network_manager(root.path(), &answers), Ok(None));
    let silent = [absent(), absent(), absent(), absent()];
    assert_eq!(managers::networkd(root.path(), &silent).runs, None);
}

#[test]
fn the_unit_and_the_devices_of_network_manager_are_read() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
    let unit = "LoadState=loaded\nActiveState=failed\nResult=exit-code\nGroup=macvlan-shim\nSupplementaryGroups=lxd incus-admin\n";
    let states = "Id=systemd-networkd.service\nActiveState=inactive\n\nId=NetworkManager.service\nActiveState=active\n";
    let log = "-- Boot 1 --\nit ended\n";
    let answers = [
        Ok(unit.to_owned()),
        Ok(states.to_owned()),
        Ok(log.to_owned()),
        Ok("mvs-eth0:unmanaged\n".to_owned()),
    ];
    let unit = managers::unit(root.path(), &answers).unwrap();
    assert!(unit.exists && unit.active == "failed" && unit.result == "exit-code");
    assert_eq!(unit.groups, ["macvlan-shim", "lxd", "incus-admin"]);
    assert_eq!(unit.log, ["it ended"]);
    let devices = managers::network_manager(root.path(), &answers).unwrap().unwrap();
    assert_eq!(devices["mvs-eth0"], "unmanaged");
    let silent = [absent(), Ok(states.to_owned()), absent(), absent()];
    assert!(
        managers::unit(root.path(), &silent).is_err()
            && managers::network_manager(root.path(), &silent).is_err()
    );
}

#[test]
fn programs_count_only_if_they_run() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &[("etc/dnsmasq.conf", "# x\ninterface=eth0\n"), ("etc/dnsmasq.d/a", "no-hosts\n")]);
    assert!(files::programs(root.path()).is_empty());
    write(root.path(), &[("proc/17/comm", "dnsmasq\n")]);
    let lines = files::programs(root.path()).remove("dnsmasq").unwrap();
    let shown: Vec<String> =
        lines.iter().map(|it| format!("{}:{}: {}", it.file, it.number, it.text)).collect();
    assert_eq!(shown, ["/etc/dnsmasq.conf:2: interface=eth0", "/etc/dnsmasq.d/a:1: no-hosts"]);
}

#[test]
fn files_for_the_boot_and_sysctls_are_read_below_a_root() {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        &[
            ("etc/rc.local", "#!/bin/sh\n\nip link add mynet\n"),
            ("etc/systemd/system/x.service", "ExecStart=/bin/\x1btrue\n"),
            ("proc/sys/net/ipv4/ip_forward", "1\n"),
        ],
    );
    let lines = files::boot_files(root.path());
    assert_eq!((lines[1].number, lines[1].text.as_str()), (3, "ip link add mynet"));
    assert_eq!(lines[2].text, "ExecStart=/bin/\\u{1b}true");
    assert_eq!(files::sysctls(root.path()), [("net.ipv4.ip_forward".to_owned(), 1)].into());
}

#[test]
fn rules_that_cannot_be_read_are_a_gap_and_programs_that_are_missing_have_none() {
    let failed = |why: &str| Err::<String, String>(why.to_owned());
    let all = |nft: programs::Words| [nft, absent(), absent(), absent(), absent(), absent()];
    assert!(!rules::firewall(all(absent())).unwrap_err().needs_root);
    let denied = rules::firewall(all(failed("`nft` failed: Operation not permitted (you must be root)")));
    assert!(denied.unwrap_err().needs_root);
    assert!(!rules::firewall(all(failed("`nft` did not end within 3 s"))).unwrap_err().needs_root);
    assert!(rules::firewall(all(Ok("{\"nftables\": []}".to_owned()))).unwrap().is_empty());
    // The plain program and the legacy one are the same, or one of them has rules of its own.
    let save = "# Generated\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n".to_owned();
    let outputs = [absent(), absent(), Ok(save.clone()), absent(), Ok(save), absent()];
    assert!(!rules::firewall(outputs).unwrap().is_empty());
}

#[test]
fn the_age_of_a_guest_is_that_of_its_first_process() {
    let root = tempfile::tempdir().unwrap();
    let fields = "S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 90000 0 0";
    let stat = format!("1001 (a ) b) {fields}\n");
    write(root.path(), &[("proc/uptime", "1300.25 99.0\n"), ("proc/1001/stat", &stat)]);
    let mut inventory = Inventory::default();
    let guest = Guest {
        project: "default".into(),
        name: "web".into(),
        kind: GuestKind::Container,
        power: Power::Running,
        home: Home::Pid(1001),
        profiles: Vec::new(),
        opt: OptOut::In,
        nics: Nics::Told(Vec::new()),
    };
    let server = Server { guests: Some(vec![guest]), ..Server::default() };
    inventory.servers.insert(ServerId("lxd".into()), std::sync::Arc::new(server));
    assert_eq!(files::ages(root.path(), &inventory), [(1001, std::time::Duration::from_secs(400))].into());
}
