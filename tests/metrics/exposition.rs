//! The text.

use std::collections::BTreeSet;

use macvlan_shim::report::Report;
use macvlan_shim::report::metrics::{FAMILIES, exposition};

use crate::promtool::promtool;
use crate::rich::{healthy, rich};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/metrics/rich.prom");

/// Codes without a number are left out, so that the file need not follow the catalogue.
#[test]
fn a_rich_world_is_shown_like_this() {
    let text = exposition(&rich()).unwrap();
    let is_shown =
        |line: &&str| !(line.contains("{code=") || line.contains("{reason=")) || !line.ends_with(" 0");
    let text: String = text.lines().filter(is_shown).map(|line| format!("{line}\n")).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return std::fs::write(GOLDEN, text).unwrap();
    }
    let how = "UPDATE_GOLDEN=1 cargo test --test metrics writes it";
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    let differing = text.lines().zip(golden.lines()).find(|(is, should)| is != should);
    assert!(text == golden, "tests/metrics/rich.prom differs; {how}: {differing:?}");
}

#[test]
fn promtool_has_no_complaint() {
    for report in [rich(), healthy(), Report::default()] {
        let text = exposition(&report).unwrap();
        promtool(&["check", "metrics"], &text).unwrap_or_else(|said| panic!("{said}\n{text}"));
    }
}

/// Otherwise a dashboard or an alert waits in vain for a family of the list.
#[test]
fn every_family_is_in_the_text_of_a_rich_world_and_no_other() {
    let text = exposition(&rich()).unwrap();
    let shown: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(shown, FAMILIES.iter().map(|family| family.name).collect());
}

/// The gauges are those of the status, value by value.
#[test]
fn the_gauges_add_up_to_the_status() {
    let report = rich();
    let text = exposition(&report).unwrap();
    let sum = |family: &str| -> u64 {
        let lines = text.lines().filter(|line| line.starts_with(&format!("{family}{{")));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    };
    let nics: Vec<_> = report.status.guests.iter().flat_map(|guest| &guest.nics).collect();
    let addresses = || nics.iter().flat_map(|nic| &nic.addresses);
    let refused = addresses().filter(|address| address.state == serde_json::from_str("\"refused\"").unwrap());
    assert_eq!(sum("macvlan_shim_nics"), nics.len() as u64);
    assert_eq!(sum("macvlan_shim_addresses"), addresses().count() as u64);
    assert_eq!(sum("macvlan_shim_addresses_refused"), refused.count() as u64);
    assert_eq!(sum("macvlan_shim_problems"), report.status.problems.len() as u64);
    assert_eq!(sum("macvlan_shim_addresses_unclaimed"), report.status.unclaimed.len() as u64);
}
