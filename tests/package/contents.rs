//! The contents of the packages, without installing them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::packages::{self, Copy, run};

/// In both packages, at the distribution's places.
const FILES: &[&str] = &[
    "/usr/bin/macvlan-shim",
    "/etc/macvlan-shim/config.toml",
    "/etc/macvlan-shim/conf.d/README",
    "/etc/iproute2/rt_protos.d/macvlan-shim.conf",
    "/usr/lib/systemd/system/macvlan-shimd.service",
    "/usr/lib/systemd/system/macvlan-shimd-metrics.socket",
    "/usr/lib/systemd/network/10-macvlan-shim.network",
    "/usr/lib/NetworkManager/conf.d/macvlan-shim.conf",
    "/usr/lib/sysusers.d/macvlan-shim.conf",
    "/usr/share/macvlan-shim/former-unit.sh",
    "/usr/share/macvlan-shim/profiles/macvlan.yaml",
    "/usr/share/macvlan-shim/profiles/macvlan-vlan.yaml",
    "/usr/share/macvlan-shim/profiles/macvlan-network.yaml",
    "/usr/share/man/man5/macvlan-shim.toml.5.gz",
    "/usr/share/man/man7/macvlan-shim-codes.7.gz",
    "/usr/share/man/man8/macvlan-shim.8.gz",
    "/usr/share/man/man8/macvlan-shim-status.8.gz",
    "/usr/share/bash-completion/completions/macvlan-shim",
    "/_macvlan-shim",
    "/THIRD-PARTY-NOTICES",
    "/macvlan-shim.fish",
    "/usr/share/doc/macvlan-shim/README.md",
    "/usr/share/doc/macvlan-shim/SECURITY.md",
    "/usr/share/doc/macvlan-shim/states-and-codes.md",
    "/usr/share/doc/macvlan-shim/situations.md",
    "/usr/share/doc/macvlan-shim/limits.md",
    "/usr/share/doc/macvlan-shim/retiring-a-recipe.md",
    "/usr/share/doc/macvlan-shim/monitoring.md",
    "/usr/share/doc/macvlan-shim/examples/alerts.yml",
    "/usr/share/doc/macvlan-shim/examples/dashboard.json",
];

fn ensure_has(listing: &str, files: &[&str]) -> Result<()> {
    for file in files {
        ensure!(listing.lines().any(|line| line.ends_with(file)), "no {file} in\n{listing}");
    }
    Ok(())
}

#[test]
fn the_notices_are_those_of_the_crates_in_the_binary() -> Result<()> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--package", "macvlan-shim", "--edges", "normal"]);
    for platform in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        tree.args(["--target", platform]);
    }
    tree.args(["--prefix", "none", "--format", "{p}"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let tree = run(&mut tree)?;
    // A line is `name v1.2.3`, with more after it if the crate is ours or was listed before.
    let crates = tree.lines().filter(|line| !line.contains(" (/")).filter_map(|line| {
        let (name, rest) = line.split_once(" v")?;
        Some(format!("{name} {}", rest.split(' ').next()?))
    });
    let crates: BTreeSet<String> = crates.collect();
    let notices = include_str!("../../packaging/THIRD-PARTY-NOTICES");
    // After a line of dashes come the licence's name and its crates, indented.
    let named = notices
        .split("\n-----")
        .skip(1)
        .flat_map(|part| part.lines().skip(2).map_while(|line| line.strip_prefix("  ")).map(str::to_owned));
    let named: BTreeSet<String> = named.collect();
    ensure!(crates.len() > 100, "the crates were not found");
    ensure!(named == crates, "`make notices` is to be run: {:?}", named.symmetric_difference(&crates));
    Ok(())
}

#[test]
fn the_deb_has_everything_and_lintian_is_content() -> Result<()> {
    let deb = packages::deb()?;
    let listing = run(Command::new("dpkg-deb").arg("-c").arg(deb))?;
    ensure_has(&listing, FILES)?;
    ensure_has(&listing, &["/changelog.Debian.gz", "/copyright"])?;
    let fields = run(Command::new("dpkg-deb").arg("-f").arg(deb))?;
    for field in ["Recommends: nftables", "libc6 (>= ", "libgcc-s1", "systemd"] {
        ensure!(fields.contains(field), "no {field} in\n{fields}");
    }
    let said = run(Command::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(deb))?;
    print!("{said}");
    Ok(())
}

/// Without checksums `dpkg --verify` and debsums have nothing to compare.
#[test]
fn the_deb_has_the_checksum_of_every_file_that_is_no_configuration() -> Result<()> {
    let folder = tempfile::tempdir()?;
    run(Command::new("dpkg-deb").arg("-R").arg(packages::deb()?).arg(folder.path()))?;
    let mut compare = Command::new("md5sum");
    compare.args(["--check", "--strict", "--quiet", "DEBIAN/md5sums"]).current_dir(folder.path());
    ensure!(run(&mut compare)?.is_empty());
    let sums = std::fs::read_to_string(folder.path().join("DEBIAN/md5sums"))?;
    let files = run(Command::new("find").args(["usr", "-type", "f"]).current_dir(folder.path()))?;
    ensure!(sums.lines().count() == files.lines().count() && sums.contains("usr/bin/macvlan-shim"), "{sums}");
    Ok(())
}

/// A name that is too long for the line overprints the middle of the heading.
#[test]
fn manual_pages_have_whole_headings_and_a_date() -> Result<()> {
    let folder = tempfile::tempdir()?;
    run(Command::new("dpkg-deb").arg("-x").arg(packages::deb()?).arg(folder.path()))?;
    let pages = run(Command::new("find").arg(folder.path().join("usr/share/man")).args(["-type", "f"]))?;
    ensure!(pages.lines().count() > 10, "{pages}");
    for page in pages.lines() {
        let file = Path::new(page).file_name().context("a page")?.to_string_lossy().into_owned();
        let (name, section) = file.trim_end_matches(".gz").rsplit_once('.').context("a section")?;
        let name = format!("{name}({section})");
        let shown = run(Command::new("man").env("MANWIDTH", "80").args(["--warnings", "-l", page]))?;
        let lines: Vec<&str> = shown.lines().filter(|line| !line.trim().is_empty()).collect();
        let (first, last) = (lines.first().context("no line")?, lines.last().context("no line")?);
        ensure!(
            first.starts_with(&name) && first.ends_with(&name) && first.len() >= 2 * name.len(),
            "{first}"
        );
        ensure!(last.contains("macvlan-shim 0") && last.contains(" 20"), "{page} has no date: {last}");
    }
    Ok(())
}

#[test]
fn the_rpm_has_everything_and_rpmlint_is_content() -> Result<()> {
    let rpm = packages::rpm()?;
    let query = |what: &str| run(Command::new("rpm").arg(what).arg(rpm));
    ensure_has(&query("-qlp")?, FILES)?;
    ensure_has(
        &query("-qlp")?,
        &["50-macvlan-shim.preset", "/LICENSE-MIT", "/LICENSE-APACHE", "/CHANGELOG.md"],
    )?;
    ensure!(query("-qcp")?.lines().count() == 3, "the files in /etc are configuration: {}", query("-qcp")?);
    let requires = run(Command::new("rpm").args(["-qp", "--requires", "--recommends"]).arg(rpm))?;
    ensure!(requires.contains("systemd") && requires.contains("nftables"), "{requires}");
    let filters = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/rpm/rpmlint.toml");
    let said = run(Command::new("rpmlint").arg("-c").arg(filters).arg(rpm))?;
    ensure!(said.contains("0 errors, 0 warnings"), "{said}");
    Ok(())
}

/// Without its scripts, which run elsewhere (rpm.rs).
#[test]
fn rpm_installs_and_erases_it_in_a_root_of_its_own() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let rpm = |arguments: &[&str]| run(Command::new("rpm").arg("--root").arg(folder.path()).args(arguments));
    let package = packages::rpm()?.to_string_lossy();
    rpm(&["--initdb"])?;
    rpm(&["-i", "--nodeps", "--noscripts", &package])?;
    ensure!(rpm(&["-V", "--nodeps", "macvlan-shim"])?.is_empty(), "a file is not as it was built");
    let binary = folder.path().join("usr/bin/macvlan-shim");
    ensure!(run(Command::new(&binary).arg("--version"))?.contains(packages::VERSION));
    let config = folder.path().join("etc/macvlan-shim/config.toml");
    run(Command::new(&binary).arg("--config").arg(&config).args(["config", "check"]))?;
    std::fs::write(&config, "[shim]\nkeep = true\n")?;
    rpm(&["-e", "--nodeps", "--noscripts", "macvlan-shim"])?;
    ensure!(!binary.exists() && config.with_extension("toml.rpmsave").exists(), "the edit is lost");
    Ok(())
}

#[test]
fn the_scripts_of_the_rpm_are_good_shell() -> Result<()> {
    for folder in ["packaging/rpm", "packaging/files/usr/share/macvlan-shim"] {
        for script in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))? {
            let script = script?.path();
            if script.extension().is_some_and(|extension| extension == "sh") {
                run(Command::new("sh").arg("-n").arg(&script))?;
            }
        }
    }
    Ok(())
}

#[test]
fn the_times_of_the_files_do_not_matter() -> Result<()> {
    let older = Copy::of_time("2001-02-03")?;
    for (format, first) in [("deb", packages::deb()?), ("rpm", packages::rpm()?)] {
        let again = std::fs::read(older.package(format)?)?;
        ensure!(std::fs::read(first)? == again, "the {format} of an older copy differs");
    }
    Ok(())
}

#[test]
fn the_links_of_the_documents_lead_somewhere() -> Result<()> {
    let folder = tempfile::tempdir()?;
    run(Command::new("dpkg-deb").arg("-x").arg(packages::deb()?).arg(folder.path()))?;
    let documents = folder.path().join("usr/share/doc/macvlan-shim");
    for document in [
        "README.md",
        "SECURITY.md",
        "states-and-codes.md",
        "situations.md",
        "limits.md",
        "retiring-a-recipe.md",
        "monitoring.md",
    ] {
        let text = std::fs::read_to_string(documents.join(document))?;
        let links = text.split("](").skip(1).filter_map(|part| part.split(')').next());
        for link in links.filter(|link| !link.starts_with("https://") && !link.starts_with('#')) {
            let link = link.split('#').next().unwrap_or_default();
            let place = match link.strip_prefix('/') {
                Some(absolute) => folder.path().join(absolute),
                None => documents.join(link),
            };
            ensure!(place.exists(), "{document} links to {link}, which is not there");
        }
    }
    Ok(())
}

#[test]
fn bash_completes_the_commands() -> Result<()> {
    let folder = tempfile::tempdir()?;
    run(Command::new("dpkg-deb").arg("-x").arg(packages::deb()?).arg(folder.path()))?;
    let completions = folder.path().join("usr/share/bash-completion/completions/macvlan-shim");
    let script = r#"source "$0"; complete="$(complete -p macvlan-shim)"; complete=${complete##*-F }
                    COMP_WORDS=(macvlan-shim sta) COMP_CWORD=1
                    "${complete%% *}" macvlan-shim sta macvlan-shim; echo "${COMPREPLY[@]}"
                    COMP_WORDS=(macvlan-shim explain --a) COMP_CWORD=2
                    "${complete%% *}" macvlan-shim --a explain; echo "${COMPREPLY[@]}""#;
    let completed = run(Command::new("bash").args(["-c", script]).arg(completions))?;
    ensure!(completed == "status\n--all\n", "{completed}");
    Ok(())
}
