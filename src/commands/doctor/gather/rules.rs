//! The rule sets of the firewall.

use crate::commands::programs::{Words, is_absent};
use crate::doctor::finding::Gap;
use crate::doctor::firewall::Firewall;
use crate::model::Family;

/// The programs that show them. Those for the older tables of iptables show nothing, and load nothing, where the
/// kernel has none of these.
pub(super) const PROGRAMS: [(&str, &[&str]); 6] = [
    ("nft", &["-j", "list", "ruleset"]),
    ("nft", &["-a", "list", "ruleset"]),
    ("iptables-save", &["-c"]),
    ("ip6tables-save", &["-c"]),
    ("iptables-legacy-save", &["-c"]),
    ("ip6tables-legacy-save", &["-c"]),
];

/// The rule sets in their output. A program that is not there has made no rules. If none is there, nobody can tell.
pub(super) fn firewall(outputs: [Words; PROGRAMS.len()]) -> Result<Firewall, Gap> {
    if outputs.iter().all(is_absent) {
        return Err(Gap::new(
            "neither nft nor iptables is there, so nobody can tell the rules of the firewall",
        ));
    }
    let mut texts = Vec::new();
    for output in outputs {
        match output {
            output if is_absent(&output) => texts.push(String::new()),
            Ok(text) => texts.push(text),
            // They have failed because of the user, or because the kernel lacks such tables.
            Err(why) if why.contains("ermission denied") || why.contains("not permitted") => {
                return Err(Gap::for_root(format!("the rules of the firewall cannot be read: {why}")));
            }
            Err(why) => return Err(Gap::new(format!("the rules of the firewall cannot be read: {why}"))),
        }
    }
    let [json, listing, v4, v6, legacy_v4, legacy_v6] = &texts[..] else { return Ok(Firewall::default()) };
    let mut saves = vec![(Family::V4, v4.clone()), (Family::V6, v6.clone())];
    // One of the two is what the plain name stands for.
    for (family, legacy, plain) in [(Family::V4, legacy_v4, v4), (Family::V6, legacy_v6, v6)] {
        if rules(legacy) != rules(plain) {
            saves.push((family, legacy.clone()));
        }
    }
    saves.retain(|(_, save)| save.contains('*'));
    Firewall::read(json, listing, saves).map_err(Gap::new)
}

/// Without comments, which have the time.
fn rules(save: &str) -> Vec<&str> {
    save.lines().filter(|line| !line.starts_with('#')).collect()
}
