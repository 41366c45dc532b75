//! The language of manual pages, as far as our own pages need it.

/// A page's head, with the day of the release as 2026-11-30.
pub(crate) fn title(name: &str, section: u8, date: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH {} {section} {} \"macvlan\\-shim {version}\"", plain(name), plain(date))
}

/// Text that is printed unchanged.
pub(crate) fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// Text to be typed or read as it is.
pub(crate) fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", plain(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_printed_as_it_is() {
        assert_eq!(plain("a-b c\\d"), "a\\-b c\\ed");
        assert_eq!(plain(".x"), "\\&.x");
        assert_eq!(bold(".x"), "\\fB\\&.x\\fR");
    }
}
