//! The packages under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result, anyhow, ensure};

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

/// Builds a package, and says where it is.
fn make(format: &str) -> Result<PathBuf> {
    make_in(&Path::new(REPOSITORY).join("target/packages"), format)
}

/// [`make`] into a folder.
pub(crate) fn make_in(folder: &Path, format: &str) -> Result<PathBuf> {
    /// Two at once would build into each other's files.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().map_err(|_| anyhow!("another build has failed"))?;
    let mut make = Command::new("make");
    make.args(["-C", REPOSITORY, format]).arg(format!("PACKAGES={}", folder.display()));
    run(make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL"))?;
    let mut files = std::fs::read_dir(folder)?.filter_map(|file| Some(file.ok()?.path()));
    let package = files.find(|path| path.extension().is_some_and(|extension| extension == format));
    package.with_context(|| format!("make {format} left no package"))
}

/// The same package as another version, such as the next release.
pub(crate) fn deb_of_version(version: &str, folder: &Path) -> Result<PathBuf> {
    let (tree, package) = (folder.join("tree"), folder.join(format!("macvlan-shim_{version}.deb")));
    run(Command::new("dpkg-deb").arg("-R").arg(deb()?).arg(&tree))?;
    let control = tree.join("DEBIAN/control");
    let text = std::fs::read_to_string(&control)?;
    std::fs::write(control, text.replace(&format!("Version: {VERSION}-"), &format!("Version: {version}-")))?;
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&package))?;
    Ok(package)
}

/// The rpm of the present version as another release of it.
pub(crate) fn rpm_of_release(release: &str, folder: &Path) -> Result<PathBuf> {
    rpm()?;
    let package = folder.join(format!("macvlan-shim-{VERSION}-{release}.rpm"));
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let mut generate = Command::new("cargo");
    generate.args(["generate-rpm", "--set-metadata", &format!("release = \"{release}\""), "--target-dir"]);
    run(generate.arg(target).arg("--output").arg(&package).current_dir(REPOSITORY))?;
    Ok(package)
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    Ok(out)
}
