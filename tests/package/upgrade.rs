//! The package is replaced by a newer one, by an older one, and taken away.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use lab::{Guest, Kind};

use crate::node::{FILES, HOST, Node};
use crate::packages::{self, OTHER_HEAD};

on_lxd_and_incus!(upgrade_downgrade_remove_and_purge);

/// Sorts after the present version.
const NEXT: &str = "9.9.9";
const EDITED: &str = "/etc/macvlan-shim/config.toml";
const ADDED: &str = "/etc/macvlan-shim/conf.d/site.toml";

/// On Incus's node, a policy forbids packages to stop services.
fn upgrade_downgrade_remove_and_purge(kind: Kind) -> Result<()> {
    let node = Node::new(Some(kind))?;
    let before = node.host.sh(FILES)?;
    let guest = node.launch(kind)?;
    node.install()?;
    node.meets(&guest)?;
    node.host.sh(&format!("echo '[policy]' > {EDITED}; echo 'max_addresses = 31' >> {EDITED}"))?;
    node.host.sh(&format!("echo '[policy]' > {ADDED}; echo 'deny = [\"203.0.113.0/24\"]' >> {ADDED}"))?;

    let folder = tempfile::tempdir()?;
    let next = packages::deb_of_version(NEXT, folder.path())?;
    for (package, version) in [(next.as_path(), NEXT), (packages::deb()?, packages::VERSION)] {
        replaced_without_a_loss(&node, &guest, || node.install_file(package))?;
        let installed = node.host.run(&["dpkg-query", "-W", "-f", "${Version}", "macvlan-shim"])?;
        ensure!(installed == format!("{version}-1"), "it is {installed}");
        let shown = node.host.sh("macvlan-shim config show")?;
        ensure!(shown.contains("max_addresses = 31") && shown.contains("203.0.113.0/24"), "lost: {shown}");
        let other = node.host.ok(&format!("grep -qF '{OTHER_HEAD}' {EDITED}.dpkg-dist"));
        ensure!(other == (version == NEXT), "the packages' own configurations differ, and both are there");
    }

    if kind == Kind::Incus {
        node.host.sh("echo 'exit 101' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d")?;
    }
    node.host.apt("remove macvlan-shim")?;
    ensure!(node.ours()?.is_empty(), "left: {}", node.ours()?);
    ensure!(node.host.ok(&format!("test -e {EDITED} && test -e {ADDED} && ! test -e /run/macvlan-shim")));
    ensure!(node.unit("LoadState")? != "loaded" && !node.host.pings(guest.ipv4("eth0")?));
    ensure!(guest.pings([192, 168, 77, 1]), "the guest lost the LAN");

    node.host.apt("purge macvlan-shim")?;
    ensure!(node.host.sh(FILES)? == before, "left: {}\nbefore: {before}", node.host.sh(FILES)?);
    Ok(())
}

/// The daemon is another one afterwards, and nobody has noticed.
pub(crate) fn replaced_without_a_loss(
    node: &Node,
    guest: &Guest,
    replace: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let process = node.host.sh("pidof macvlan-shim")?.trim().to_owned();
    let pid = guest.pid()?.to_string();
    let outward = node.host.pulse(&[], &guest.ipv4("eth0")?.to_string())?;
    let inward = node.host.pulse(&["nsenter", "-t", &pid, "-n"], HOST)?;
    let start = SystemTime::now();
    replace()?;
    let another = node.unit("MainPID")?;
    ensure!(another != process && another != "0", "it was not restarted\n{}", node.picture());
    let gap = outward.longest_gap(start, Duration::from_secs(25))?;
    let lost = [outward.lost()?, inward.lost()?];
    println!("replaced: {lost:?} pings lost, longest time without an answer {} ms", gap.as_millis());
    ensure!(lost == [0, 0], "{lost:?} pings lost\n{}", node.picture());
    Ok(())
}
