//! The rpm, with its scripts. No rpm distribution is at hand, so its tool installs it beside Debian's
//! packages, on Debian's systemd. Dependencies are not checked.

use anyhow::{Result, ensure};
use lab::Kind;

use crate::node::{Node, UNIT};
use crate::packages::{self, OTHER_HEAD};
use crate::upgrade::replaced_without_a_loss;

#[test]
fn the_rpm_is_installed_upgraded_and_erased() -> Result<()> {
    let node = Node::new(Some(Kind::Lxd))?;
    let guest = node.launch(Kind::Lxd)?;
    node.host.install_rpm()?;
    let rpm = |arguments: &str| node.host.sh(&format!("rpm --nodeps --force-debian {arguments} 2>&1"));
    node.host.install(packages::rpm()?, "/tmp/first.rpm")?;
    println!("{}", rpm("-i /tmp/first.rpm")?);
    node.meets(&guest)?;
    ensure!(node.host.sh(&format!("systemctl is-enabled {UNIT}"))? == "enabled\n");
    let status = node.wait("it is ready", |status| status["ready"] == true)?;
    ensure!(status["problems"].as_array().is_some_and(Vec::is_empty), "{status:#}");

    node.host.sh(
        "echo '[shim]' > /etc/macvlan-shim/config.toml; echo 'keep = true' >> /etc/macvlan-shim/config.toml",
    )?;
    let folder = tempfile::tempdir()?;
    node.host.install(packages::rpm_of_release("2", folder.path())?, "/tmp/second.rpm")?;
    replaced_without_a_loss(&node, &guest, || rpm("-U /tmp/second.rpm").map(drop))?;
    ensure!(node.host.sh("rpm -q --qf '%{RELEASE}' macvlan-shim")? == "2");
    ensure!(node.host.sh("macvlan-shim config show")?.contains("keep = true"), "the edit is lost");
    ensure!(node.host.ok(&format!("grep -qF '{OTHER_HEAD}' /etc/macvlan-shim/config.toml.rpmnew")));

    rpm("-e macvlan-shim")?;
    ensure!(node.ours()?.is_empty(), "left: {}", node.ours()?);
    ensure!(!node.host.pings(guest.ipv4("eth0")?) && guest.pings([192, 168, 77, 1]));
    let left = node
        .host
        .sh("ls -d /etc/macvlan-shim/* /run/macvlan-shim /usr/share/macvlan-shim /usr/share/doc/macvlan-shim 2>/dev/null || true")?;
    let kept = ["rpmnew", "rpmsave"].map(|kept| format!("/etc/macvlan-shim/config.toml.{kept}\n"));
    ensure!(left == kept.concat(), "left: {left}");
    ensure!(!node.host.ok(&format!("systemctl cat {UNIT}")), "the unit is left");
    Ok(())
}
