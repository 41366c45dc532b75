//! The documents in the form for a package, where the targets of their links are elsewhere.

/// The places on a node of the things that documents link to: a file, or everything in a folder. Everything
/// else is in the repository only.
const INSTALLED: [(&str, &str); 5] = [
    ("README.md", "README.md"),
    (".github/SECURITY.md", "SECURITY.md"),
    ("packaging/docs/", ""),
    ("packaging/monitoring/", "examples/"),
    ("profiles/", "/usr/share/macvlan-shim/profiles/"),
];

/// The text of a document with links that lead somewhere from `/usr/share/doc/macvlan-shim`. `folder` is the
/// document's folder, as a path in the repository.
pub(crate) fn installed(text: &str, folder: &str) -> String {
    let mut parts = text.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (target, rest) = part.split_once(')').unwrap_or((part, ""));
        format!("{text}]({}){rest}", place(folder, target))
    })
}

fn place(folder: &str, target: &str) -> String {
    if target.contains("://") || target.starts_with('#') {
        return target.to_owned();
    }
    let path = resolved(folder, target);
    let in_repository = || {
        let (repository, version) = (env!("CARGO_PKG_REPOSITORY"), env!("CARGO_PKG_VERSION"));
        format!("{repository}/blob/v{version}/{path}")
    };
    let known = INSTALLED
        .iter()
        .find_map(|(source, installed)| Some(format!("{installed}{}", path.strip_prefix(source)?)));
    known.unwrap_or_else(in_repository)
}

/// A link's target as a path in the repository.
fn resolved(folder: &str, target: &str) -> String {
    let mut path: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in target.split('/') {
        match name {
            ".." => drop(path.pop()),
            name => path.push(name),
        }
    }
    path.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/v", env!("CARGO_PKG_VERSION"));

    #[test]
    fn links_lead_to_installed_files_or_to_the_repository() {
        let text =
            "[a](https://x.org/y), [b](.github/SECURITY.md), [c](packaging/LICENSE-MIT) and [d](profiles/).";
        let expected = format!(
            "[a](https://x.org/y), [b](SECURITY.md), [c]({REPOSITORY}/packaging/LICENSE-MIT) and \
             [d](/usr/share/macvlan-shim/profiles/)."
        );
        assert_eq!(installed(text, ""), expected);
    }

    #[test]
    fn links_of_a_document_go_out_from_its_folder() {
        let text = "[a](limits.md#kernels), [b](../../README.md), [c](#here) and [d](../../src/DESIGN.md).";
        let expected = format!(
            "[a](limits.md#kernels), [b](README.md), [c](#here) and [d]({REPOSITORY}/src/DESIGN.md)."
        );
        assert_eq!(installed(text, "packaging/docs"), expected);
    }
}
