//! CHANGELOG.md in Debian's format.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use macvlan_shim::model::names::PROGRAM;

const MAINTAINER: &str = "The macvlan-shim authors <macvlan-shim@users.noreply.github.com>";

const WIDTH: usize = 79;

/// Every release, the newest first. All have the date of the newest, because the source has no other.
pub(crate) fn debian(changes: &str, date: &str) -> Result<String> {
    let mut releases = changes.split("\n## ");
    releases.next();
    let mut text = String::new();
    for release in releases {
        let (title, body) = release.split_once('\n').context("a release without changes")?;
        let version = title.split_whitespace().next().context("a release without a version")?;
        write!(text, "{PROGRAM} ({version}-1) unstable; urgency=medium\n\n")?;
        for change in body.split("\n* ").filter(|change| !change.trim().is_empty()) {
            text.push_str(&wrapped(change));
        }
        write!(text, "\n -- {MAINTAINER}  {date}\n\n")?;
    }
    let newest = format!("{PROGRAM} ({}-1)", env!("CARGO_PKG_VERSION"));
    ensure!(
        text.starts_with(&newest),
        "CHANGELOG.md does not begin with the version of Cargo.toml, {newest}"
    );
    Ok(text)
}

/// A change as Debian shows it, in lines of its width.
fn wrapped(change: &str) -> String {
    let mut lines = vec!["  *".to_owned()];
    for word in change.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => line.extend([" ", word]),
            _ => lines.push(format!("    {word}")),
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_an_entry() {
        let version = env!("CARGO_PKG_VERSION");
        let changes = format!(
            "# Changes\n\n## {version} (unreleased)\n\n* One\n  thing.\n* Two.\n\n## 0.0.1\n\n* First.\n"
        );
        let text = debian(&changes, "DATE").unwrap();
        let by = "The macvlan-shim authors <macvlan-shim@users.noreply.github.com>  DATE";
        assert_eq!(
            text,
            format!(
                "macvlan-shim ({version}-1) unstable; urgency=medium\n\n  * One thing.\n  * Two.\n\n -- {by}\n\n\
                 macvlan-shim (0.0.1-1) unstable; urgency=medium\n\n  * First.\n\n -- {by}\n\n"
            )
        );
        let long = wrapped(&"word ".repeat(30));
        assert!(long.lines().all(|line| line.len() <= WIDTH) && long.split_whitespace().count() == 31);
        assert!(debian("# Changes\n\n## 9.9.9\n\n* No.\n", "DATE").is_err());
    }
}
