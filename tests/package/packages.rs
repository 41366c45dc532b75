//! The packages under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempDir;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The package for Debian of this tree, built if it is not there yet.
pub(crate) fn deb() -> Result<&'static Path> {
    static DEB: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    DEB.get_or_init(|| make("deb").map_err(|error| format!("{error:#}")))
        .as_deref()
        .map_err(|error| anyhow!("{error}"))
}

/// The other one.
pub(crate) fn rpm() -> Result<&'static Path> {
    static RPM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    RPM.get_or_init(|| make("rpm").map_err(|error| format!("{error:#}")))
        .as_deref()
        .map_err(|error| anyhow!("{error}"))
}

/// Builds a package, and returns its path.
fn make(format: &str) -> Result<PathBuf> {
    /// Two at once would build into each other's files.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().map_err(|_| anyhow!("another build has failed"))?;
    run(make_at(Path::new(REPOSITORY)).arg(format))?;
    made_in(Path::new(REPOSITORY), format)
}

fn make_at(tree: &Path) -> Command {
    let mut make = Command::new("make");
    make.arg("-C").arg(tree).env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    make
}

fn made_in(tree: &Path, format: &str) -> Result<PathBuf> {
    let mut files =
        std::fs::read_dir(tree.join("target/packages"))?.filter_map(|file| Some(file.ok()?.path()));
    let package = files.find(|path| path.extension().is_some_and(|extension| extension == format));
    package.with_context(|| format!("make {format} left no package"))
}

/// A built copy of this tree, where the ingredients of its packages can be changed.
pub(crate) struct Copy(TempDir);

impl Copy {
    /// All files have this time, in the words of touch(1).
    pub(crate) fn of_time(time: &str) -> Result<Copy> {
        rpm()?;
        let copy = Copy(tempfile::tempdir()?);
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let script = "cd \"$1\"; tar --exclude=./target --exclude=./.git -c . | tar -x -C \"$2\"
            mkdir -p \"$2/target/release\"; cp -r target/documents \"$2/target\"
            cp \"$3/release/macvlan-shim\" \"$2/target/release\"; find \"$2\" -exec touch -d \"$4\" {} +";
        let mut copying = Command::new("bash");
        copying.args(["-euo", "pipefail", "-c", script, "copy", REPOSITORY]).arg(copy.0.path());
        run(copying.arg(target).arg(time))?;
        Ok(copy)
    }

    /// The place of a file.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Makes a package of the present files, as of this tree's commit.
    pub(crate) fn package(&self, format: &str) -> Result<PathBuf> {
        let print = ["-s", "--eval", "epoch: ; @echo $(SOURCE_DATE_EPOCH)", "epoch"];
        let epoch = run(make_at(Path::new(REPOSITORY)).args(print))?;
        let mut make = make_at(self.0.path());
        make.env_remove("CARGO_TARGET_DIR").env("SOURCE_DATE_EPOCH", epoch.trim());
        run(make.args(["-o", "build", "-o", "documents", format]))?;
        made_in(self.0.path(), format)
    }
}

/// The same package as another version, such as the next release, which has another sample configuration.
pub(crate) fn deb_of_version(version: &str, folder: &Path) -> Result<PathBuf> {
    let (tree, package) = (folder.join("tree"), folder.join(format!("macvlan-shim_{version}.deb")));
    run(Command::new("dpkg-deb").arg("-R").arg(deb()?).arg(&tree))?;
    replace(&tree.join("DEBIAN/control"), &format!("Version: {VERSION}-"), &format!("Version: {version}-"))?;
    replace(&tree.join("etc/macvlan-shim/config.toml"), SAMPLE_HEAD, OTHER_HEAD)?;
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&package))?;
    Ok(package)
}

/// The package as it was when its unit still had its former name.
pub(crate) fn deb_of_former_unit(folder: &Path) -> Result<PathBuf> {
    let (tree, package) = (folder.join("former"), folder.join("macvlan-shim_former.deb"));
    run(Command::new("dpkg-deb").arg("-R").arg(deb()?).arg(&tree))?;
    let scripts = ["DEBIAN/postinst", "DEBIAN/prerm", "DEBIAN/postrm"];
    with_former_unit(&tree, &scripts, "usr/lib/systemd/system", "usr/share/macvlan-shim/former-unit.sh")?;
    // apt does not replace a version by itself.
    replace(&tree.join("DEBIAN/control"), &format!("Version: {VERSION}-"), "Version: 0.0.9-")?;
    let looks_for_it = "deb-systemd-helper --quiet debian-installed macvlan-shim.service";
    replace(&tree.join("DEBIAN/postinst"), looks_for_it, "false")?;
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&package))?;
    Ok(package)
}

/// The rpm as it was when its unit still had its former name.
pub(crate) fn rpm_of_former_unit(folder: &Path) -> Result<PathBuf> {
    let copy = Copy::of_time("now")?;
    replace(&copy.file("Cargo.toml"), "release = \"1\"", "release = \"0\"")?;
    replace(&copy.file("Cargo.toml"), "system/macvlan-shimd.service", "system/macvlan-shim.service")?;
    let scripts = [
        "packaging/rpm/post_install.sh",
        "packaging/rpm/pre_uninstall.sh",
        "packaging/rpm/post_uninstall.sh",
        "packaging/files/usr/lib/systemd/system-preset/50-macvlan-shim.preset",
    ];
    let files = "packaging/files/usr";
    let (units, script) = (format!("{files}/lib/systemd/system"), "share/macvlan-shim/former-unit.sh");
    with_former_unit(copy.0.path(), &scripts, &units, &format!("{files}/{script}"))?;
    let package = folder.join(format!("macvlan-shim-{VERSION}-0.rpm"));
    std::fs::copy(copy.package("rpm")?, &package)?;
    Ok(package)
}

/// Gives the unit its former name wherever it occurs. There was no `former-unit.sh` then.
fn with_former_unit(tree: &Path, scripts: &[&str], units: &str, former_unit: &str) -> Result<()> {
    let units = tree.join(units);
    std::fs::rename(units.join("macvlan-shimd.service"), units.join("macvlan-shim.service"))?;
    std::fs::write(tree.join(former_unit), "#!/bin/sh\n")?;
    for script in scripts {
        replace(&tree.join(script), "macvlan-shimd.service", "macvlan-shim.service")?;
    }
    Ok(())
}

/// The rpm of the present version as another release of it, which has another sample configuration.
pub(crate) fn rpm_of_release(release: &str, folder: &Path) -> Result<PathBuf> {
    let copy = Copy::of_time("now")?;
    replace(&copy.file("Cargo.toml"), "release = \"1\"", &format!("release = \"{release}\""))?;
    replace(&copy.file("packaging/files/etc/macvlan-shim/config.toml"), SAMPLE_HEAD, OTHER_HEAD)?;
    let package = folder.join(format!("macvlan-shim-{VERSION}-{release}.rpm"));
    std::fs::copy(copy.package("rpm")?, &package)?;
    Ok(package)
}

/// Text of the sample configuration in this tree.
const SAMPLE_HEAD: &str = "# The configuration of macvlan-shim.";
/// Text of the sample configuration in packages of another version.
pub(crate) const OTHER_HEAD: &str = "# The configuration of another macvlan-shim.";

fn replace(file: &Path, from: &str, to: &str) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    ensure!(text.contains(from), "no {from:?} in {}", file.display());
    Ok(std::fs::write(file, text.replace(from, to))?)
}

/// Runs a command to its end and returns its output.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    Ok(out)
}
