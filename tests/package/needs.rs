//! The programs of the unit and of the packages' scripts exist on every node that can have the package.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::packages::{self, run};

const UNIT: &str = "packaging/files/usr/lib/systemd/system/macvlan-shimd.service";
/// The programs that the scripts of both packages run.
const SCRIPT: &str = "packaging/files/usr/share/macvlan-shim/former-unit.sh";

/// For each word that is a program on this machine and not part of the shell: prints its package and whether
/// that is essential to Debian.
const OWNERS: &str = r#"for word; do
      case $(type "$word" 2>/dev/null) in "$word is /"*) ;; *) continue ;; esac
      program=$(command -v "$word"); [ -f "$program" ] || continue; program=${program#/usr}
      for path in "$program" "/usr$program"; do
        owner=$(dpkg -S "$path" 2>/dev/null | tail -n 1); [ -n "$owner" ] || continue
        echo "$word $(dpkg-query -W -f '${Package} ${Essential}' "${owner%%:*}")"
        break
      done
    done"#;

#[test]
fn the_deb_depends_on_the_programs_that_it_runs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    run(Command::new("dpkg-deb").arg("-e").arg(packages::deb()?).arg(folder.path()))?;
    let depends = run(Command::new("dpkg-deb").arg("-f").arg(packages::deb()?).arg("Depends"))?;
    let depends: BTreeSet<&str> =
        depends.split(',').filter_map(|one| one.split_whitespace().next()).collect();
    let mut scripts = commands_of_unit()?;
    for script in ["postinst", "prerm", "postrm"] {
        scripts += &std::fs::read_to_string(folder.path().join(script))?;
    }
    let owners = owners(&scripts)?;
    // Otherwise it looks for the wrong thing.
    for program in ["systemctl", "systemd-sysusers", "usermod", "rm", "/bin/sh"] {
        ensure!(owners.contains_key(program), "{program} is not among {owners:?}");
    }
    let missing =
        owners.iter().filter(|(_, (package, essential))| !essential && !depends.contains(package.as_str()));
    let missing: Vec<_> = missing.collect();
    ensure!(missing.is_empty(), "it runs {missing:?} and depends on {depends:?}");
    Ok(())
}

/// No rpm distribution is at hand to show which of its packages has which program. These have the names that
/// they have on Debian.
#[test]
fn the_rpm_requires_the_programs_that_it_runs() -> Result<()> {
    let query = |what: &str| run(Command::new("rpm").args(["-qp", what]).arg(packages::rpm()?));
    let requires = query("--requires")?;
    let owners = owners(&(commands_of_unit()? + &query("--scripts")?))?;
    ensure!(owners.contains_key("systemctl") && owners.contains_key("rmdir"), "{owners:?}");
    for (program, (package, _)) in owners.iter().filter(|(program, _)| *program != "/bin/sh") {
        ensure!(requires.lines().any(|line| line == package), "{program} of {package}: {requires}");
    }
    ensure!(requires.lines().any(|line| line == "/bin/sh"), "{requires}");
    Ok(())
}

fn commands_of_unit() -> Result<String> {
    let read =
        |file: &str| std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
    let unit = read(UNIT)?;
    let commands =
        unit.lines().filter(|line| line.starts_with("Exec")).filter_map(|line| line.split_once('='));
    let script = read(SCRIPT)?;
    Ok(commands.map(|(_, command)| format!("{command}\n")).chain([script]).collect())
}

/// The programs among the words of scripts, without quoted messages, and their packages, with whether those
/// are essential.
fn owners(scripts: &str) -> Result<BTreeMap<String, (String, bool)>> {
    let code = scripts.lines().map(|line| line.split("echo ").next().unwrap_or_default());
    let code = code.map(|line| if line.trim_start().starts_with('#') { "" } else { line });
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    let words: BTreeSet<&str> = code
        .flat_map(|line| line.split(|c| !of_a_name(c)))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/'))
        .filter(|word| !word.ends_with("macvlan-shim"))
        .collect();
    let found = run(Command::new("sh").args(["-c", OWNERS, "owners"]).args(&words))?;
    let found = found.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    Ok(found
        .filter_map(|words| {
            Some((words.first()?.to_string(), (words.get(1)?.to_string(), words.get(2) == Some(&"yes"))))
        })
        .collect())
}
