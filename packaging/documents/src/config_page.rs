//! The manual page of the configuration, from the sections' own description of themselves.

use macvlan_shim::config::{Key, SECTIONS, Schema};

use crate::roff::{bold, plain, title};

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
\fBmacvlan\-shim\fR(8), \fBmacvlan\-shim\-config\fR(8), \fBmacvlan\-shim\-codes\fR(7)
";

/// Whole files, each with its purpose.
const EXAMPLES: [(&str, &str); 3] = [
    (
        "Serve only the guests of two projects that have one of the node's profiles:",
        "[select]\nprofiles = [\"lan\"]\nprojects = [\"default\", \"shop\"]\n",
    ),
    (
        "Reach containers of Docker, too, on a macvlan network of eth0 with this range:",
        "[[parent]]\nname = \"eth0\"\nroutes = [\"192.168.1.224/28\"]\n",
    ),
    (
        "Serve guests of a network in which the host itself has no address:",
        "[[parent]]\nname = \"eth1\"\naddresses = [\"10.20.0.250\"]\n\n[policy]\nallow = [\"10.20.0.0/24\"]\n",
    ),
];

/// The page in roff, with the day of the release.
pub(crate) fn page(date: &str) -> String {
    let title = title("macvlan-shim.toml", 5, date);
    let sections = SECTIONS.map(|schema| {
        let keys = schema.keys.iter().map(|key| entry(schema, key));
        format!(".SS {}\n{}\n{}", plain(schema.header), prose(schema.about), keys.collect::<String>())
    });
    let examples = EXAMPLES.map(|(purpose, file)| example(purpose, file)).concat();
    format!("{title}{HEAD}{}.SH EXAMPLES\n{examples}{}", sections.concat(), TAIL.trim_start())
}

fn example(purpose: &str, file: &str) -> String {
    let lines: String = file.lines().map(|line| plain(line) + "\n").collect();
    format!(".PP\n{}\n.PP\n.RS 4\n.nf\n{lines}.fi\n.RE\n", plain(purpose))
}

/// A key that has no default to show has an example instead.
fn entry(schema: &Schema, key: &Key) -> String {
    let default = schema.default(key.name).map(|default| format!(" = {}", plain(&default)));
    let example = key.example.filter(|_| default.is_none());
    let example = example.map(|example| format!(" For example: {}.", bold(example)));
    let (default, example) = (default.unwrap_or_default(), example.unwrap_or_default());
    format!(".TP\n{}{default}\n{}{example}\n", bold(key.name), prose(key.about))
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use macvlan_shim::config::Config;

    use super::*;

    #[test]
    fn every_key_is_there_with_its_default_or_an_example() {
        let page = page("2026-11-30");
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
    fn the_examples_are_good_configuration() {
        for (purpose, file) in EXAMPLES {
            Config::parse(file, Path::new(purpose)).unwrap();
            assert!(page("2026-11-30").contains(&plain(purpose)));
        }
    }

    #[test]
    fn backquotes_are_bold() {
        assert_eq!(prose(" with `a-b`,\n `c\\d` and\n e"), "with \\fBa\\-b\\fR, \\fBc\\ed\\fR and e");
    }
}
