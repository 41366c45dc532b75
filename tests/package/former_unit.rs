//! The unit was once called `macvlan-shim.service`, like the unit of many people: a recipe that the package
//! replaces.

use anyhow::{Result, ensure};
use lab::Kind;

use crate::node::{Node, UNIT};
use crate::packages;
use crate::upgrade::replaced_without_a_loss;

const FORMER: &str = "macvlan-shim.service";
const ETC: &str = "/etc/systemd/system";
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";

/// Somebody's recipe, which makes its own link, as a unit that is enabled and up.
const RECIPE: &str = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/ip link add mynet type bridge\n\
     ExecStop=/usr/sbin/ip link delete mynet\n[Install]\nWantedBy=multi-user.target\n";

impl Node {
    /// The former unit is gone without a trace, except for objects of somebody else.
    fn ensure_former_unit_is_gone(&self) -> Result<()> {
        let state = self.host.sh(&format!("systemctl is-active {FORMER} || true"))?;
        ensure!(state == "inactive\n", "the former unit is {state}{}", self.picture());
        let links = format!("find {ETC} /run/systemd /var/lib/systemd -name '{FORMER}*'");
        ensure!(self.host.sh(&links)?.is_empty(), "left: {}", self.host.sh(&links)?);
        Ok(())
    }

    fn is_enabled(&self) -> Result<String> {
        let said = self.host.sh(&format!("systemctl is-enabled {UNIT} 2>&1 || true"))?;
        Ok(said.trim().to_owned())
    }

    fn has_recipe(&self) -> Result<()> {
        self.host.write(&format!("{ETC}/{FORMER}"), RECIPE)?;
        self.host.sh(&format!("systemctl daemon-reload; systemctl enable --quiet --now {FORMER}"))?;
        self.recipe_is_untouched()
    }

    fn recipe_is_untouched(&self) -> Result<()> {
        ensure!(self.host.sh(&format!("cat {ETC}/{FORMER}"))? == RECIPE, "it was changed");
        ensure!(self.host.ok("ip link show mynet"), "its link is gone\n{}", self.picture());
        let link = self.host.sh(&format!("readlink {WANTS}/{FORMER}"))?;
        ensure!(link == format!("{ETC}/{FORMER}\n"), "its link is {link}");
        let state = self.host.sh(&format!("systemctl is-enabled {FORMER}; systemctl is-active {FORMER}"))?;
        ensure!(state == "enabled\nactive\n", "it is {state}{}", self.picture());
        Ok(())
    }
}

#[test]
fn an_upgrade_leaves_it_and_nobody_notices() -> Result<()> {
    let node = Node::new(Some(Kind::Lxd))?;
    let guest = node.launch(Kind::Lxd)?;
    let folder = tempfile::tempdir()?;
    node.install_file(&packages::deb_of_former_unit(folder.path())?)?;
    node.meets(&guest)?;
    ensure!(node.host.ok(&format!("systemctl is-active {FORMER}")), "{}", node.picture());
    let change = "[Service]\nEnvironment=RUST_LOG=debug\n";
    node.host.write(&format!("{ETC}/{FORMER}.d/mine.conf"), change)?;

    replaced_without_a_loss(&node, &guest, || node.install())?;
    node.host.wait_unit(UNIT, "active")?;
    node.ensure_former_unit_is_gone()?;
    ensure!(node.is_enabled()? == "enabled", "{}", node.picture());
    // The administrator's changes hold for the new one.
    ensure!(node.unit("Environment")?.contains("RUST_LOG=debug"), "{}", node.picture());
    ensure!(node.unit("NRestarts")? == "0", "{}", node.picture());
    node.meets(&guest)?;

    node.host.apt("purge macvlan-shim")?;
    ensure!(node.ours()?.is_empty(), "left: {}", node.ours()?);
    Ok(())
}

#[test]
fn a_disabled_former_unit_stays_disabled() -> Result<()> {
    let node = Node::new(None)?;
    let folder = tempfile::tempdir()?;
    let former = packages::deb_of_former_unit(folder.path())?;
    node.install_file(&former)?;
    node.host.sh(&format!("systemctl disable --quiet --now {FORMER}"))?;
    node.install()?;
    node.ensure_former_unit_is_gone()?;
    ensure!(
        node.is_enabled()? == "disabled" && node.unit("ActiveState")? == "inactive",
        "{}",
        node.picture()
    );
    node.host.apt("purge macvlan-shim")?;

    node.install_file(&former)?;
    node.host.sh(&format!("systemctl mask --quiet --now {FORMER}"))?;
    node.install()?;
    node.ensure_former_unit_is_gone()?;
    ensure!(node.is_enabled()? == "masked" && node.unit("ActiveState")? == "inactive", "{}", node.picture());
    Ok(())
}

#[test]
fn a_removed_former_unit_comes_back_under_its_new_name() -> Result<()> {
    let node = Node::new(None)?;
    let folder = tempfile::tempdir()?;
    node.install_file(&packages::deb_of_former_unit(folder.path())?)?;
    node.host.apt("remove macvlan-shim")?;
    node.install()?;
    node.ensure_former_unit_is_gone()?;
    node.host.wait_unit(UNIT, "active")?;
    ensure!(node.is_enabled()? == "enabled", "{}", node.picture());
    Ok(())
}

#[test]
fn a_recipe_of_that_name_is_reported_and_left_alone() -> Result<()> {
    let node = Node::new(None)?;
    node.has_recipe()?;
    let folder = tempfile::tempdir()?;
    let said = |package: &std::path::Path| {
        node.host.install(package, "/tmp/macvlan-shim.deb")?;
        node.host.sh("dpkg -i /tmp/macvlan-shim.deb 2>&1")
    };
    // It has kept the former unit from running at all.
    said(&packages::deb_of_former_unit(folder.path())?)?;
    ensure!(!node.host.ok("pidof macvlan-shim"), "{}", node.picture());

    let said = said(packages::deb()?)?;
    let told = format!("macvlan-shim: {ETC}/{FORMER} is not this package's unit, which is {UNIT}.service; ");
    ensure!(said.lines().filter(|line| line.starts_with(&told)).count() == 1, "it said {said}");
    node.host.wait_unit(UNIT, "active")?;
    ensure!(node.is_enabled()? == "enabled", "{}", node.picture());
    node.recipe_is_untouched()?;
    node.host.apt("purge macvlan-shim")?;
    node.recipe_is_untouched()
}

#[test]
fn the_rpm_leaves_the_former_unit_too() -> Result<()> {
    let node = Node::new(Some(Kind::Lxd))?;
    let guest = node.launch(Kind::Lxd)?;
    node.host.install_rpm()?;
    let rpm = |arguments: &str| node.host.sh(&format!("rpm --nodeps --force-debian {arguments} 2>&1"));
    let folder = tempfile::tempdir()?;
    node.host.install(&packages::rpm_of_former_unit(folder.path())?, "/tmp/former.rpm")?;
    node.host.install(packages::rpm()?, "/tmp/present.rpm")?;
    rpm("-i /tmp/former.rpm")?;
    node.meets(&guest)?;
    ensure!(node.host.ok(&format!("systemctl is-active {FORMER}")), "{}", node.picture());
    replaced_without_a_loss(&node, &guest, || rpm("-U /tmp/present.rpm").map(drop))?;
    node.host.wait_unit(UNIT, "active")?;
    node.ensure_former_unit_is_gone()?;
    ensure!(node.is_enabled()? == "enabled" && node.unit("NRestarts")? == "0", "{}", node.picture());
    rpm("-e macvlan-shim")?;

    rpm("-i /tmp/former.rpm")?;
    node.host.sh(&format!("systemctl disable --quiet --now {FORMER}"))?;
    node.has_recipe()?;
    let said = rpm("-U /tmp/present.rpm")?;
    ensure!(said.contains(&format!("{ETC}/{FORMER} is not this package's unit")), "it said {said}");
    node.recipe_is_untouched()
}
