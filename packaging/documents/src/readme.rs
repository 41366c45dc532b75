//! README.md as it stands in a package, where what it links to lies elsewhere.

/// Where each thing that it links to is found on a node; all else is in the repository only.
const INSTALLED: [(&str, &str); 3] = [
    (".github/SECURITY.md", "SECURITY.md"),
    ("packaging/retiring-a-recipe.md", "retiring-a-recipe.md"),
    ("profiles/", "/usr/share/macvlan-shim/profiles/"),
];

/// The text with links that lead somewhere from `/usr/share/doc/macvlan-shim`.
pub(crate) fn installed(text: &str) -> String {
    let mut parts = text.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (target, rest) = part.split_once(')').unwrap_or((part, ""));
        format!("{text}]({}){rest}", place(target))
    })
}

fn place(target: &str) -> String {
    if target.contains("://") {
        return target.to_owned();
    }
    let known = INSTALLED.iter().find(|(source, _)| *source == target);
    let in_repository = || {
        let (repository, version) = (env!("CARGO_PKG_REPOSITORY"), env!("CARGO_PKG_VERSION"));
        format!("{repository}/blob/v{version}/{target}")
    };
    known.map_or_else(in_repository, |(_, installed)| (*installed).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_what_is_installed_or_to_the_repository() {
        let text = "[a](https://x.org/y), [b](.github/SECURITY.md) and [c](packaging/LICENSE-MIT).";
        let there = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/v", env!("CARGO_PKG_VERSION"));
        let expected =
            format!("[a](https://x.org/y), [b](SECURITY.md) and [c]({there}/packaging/LICENSE-MIT).");
        assert_eq!(installed(text), expected);
    }
}
