//! The manual page of the configuration, from the sections' own description of themselves.

use macvlan_shim::config::{Key, SECTIONS, Schema};

const HEAD: &str = r"
.SH NAME
macvlan\-shim.toml \- configuration of macvlan\-shim
.SH DESCRIPTION
\fBmacvlan\-shim\fR reads \fI/etc/macvlan\-shim/config.toml\fR, or the file that \fB\-\-config\fR names, and the files in the folder
\fIconf.d\fR beside it: those whose names end in \fB.toml\fR, hidden ones aside, in the order of their names. It is TOML. Every
key is optional. With no file, all defaults apply.
.PP
Unknown keys are errors, and so is a key in two files. \fB[[server]]\fR and \fB[[parent]]\fR tables of several files add up.
.PP
The user \fBmacvlan\-shim\fR must be able to read all of them. \fBmacvlan\-shim config check\fR tells what is wrong with them,
\fBmacvlan\-shim config show\fR prints what they amount to, and \fBsystemctl reload macvlan\-shimd\fR applies them; faulty
ones are refused, and the running configuration is kept.
.SH KEYS
";

const TAIL: &str = r"
.SH SEE ALSO
\fBmacvlan\-shim\fR(8)
";

/// The page in roff.
pub(crate) fn page() -> String {
    let title = format!(".TH macvlan\\-shim.toml 5 \"\" \"macvlan\\-shim {}\"", env!("CARGO_PKG_VERSION"));
    let sections = SECTIONS.map(|schema| {
        let keys = schema.keys.iter().map(|key| entry(schema, key));
        format!(".SS {}\n{}\n{}", plain(schema.header), prose(schema.about), keys.collect::<String>())
    });
    format!("{title}{HEAD}{}{}", sections.concat(), TAIL.trim_start())
}

/// A key that has no default to show has an example instead.
fn entry(schema: &Schema, key: &Key) -> String {
    let default = schema.default(key.name).map(|default| format!(" = {}", plain(&default)));
    let example = key.example.filter(|_| default.is_none());
    let example = example.map(|example| format!(" For example: \\fB{}\\fR.", plain(example)));
    let (default, example) = (default.unwrap_or_default(), example.unwrap_or_default());
    format!(".TP\n\\fB{}\\fR{default}\n{}{example}\n", plain(key.name), prose(key.about))
}

/// Markdown of one paragraph.
fn prose(about: &str) -> String {
    let words: Vec<&str> = about.split_whitespace().collect();
    let parts = plain(&words.join(" "));
    let fonts = ["\\fB", "\\fR"].into_iter().cycle();
    let mut parts = parts.split('`');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.zip(fonts).fold(first, |text, (part, font)| text + font + part)
}

/// Text that roff prints unchanged.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_with_its_default_or_an_example() {
        let page = page();
        for known in [
            ".SS [shim]\nThe keys for every shim.\n",
            ".TP\n\\fBipv6\\fR = true\nReach guests over IPv6 too.\n",
            ".TP\n\\fBmax_addresses\\fR = 32\n",
            ".TP\n\\fBprobe\\fR = \"optimistic\"\n",
            "For example: \\fB\"eth1\"\\fR.\n",
        ] {
            assert!(page.contains(known), "{known}\n{page}");
        }
        let keys = SECTIONS.iter().map(|schema| schema.keys.len()).sum::<usize>();
        assert_eq!(page.matches(".TP\n").count(), keys);
    }

    #[test]
    fn text_is_printed_as_it_is() {
        assert_eq!(prose(" with `a-b`,\n `c\\d` and\n e"), "with \\fBa\\-b\\fR, \\fBc\\ed\\fR and e");
        assert_eq!(plain(".x"), "\\&.x");
    }
}
