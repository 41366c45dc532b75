//! packaging/docs/monitoring.md has every family and every alert.

use macvlan_shim::report::metrics::FAMILIES;

const DOCUMENT: &str = include_str!("../../packaging/docs/monitoring.md");
const ALERTS: &str = include_str!("../../packaging/monitoring/alerts.yml");

/// The rows of the table with this head, without it.
fn rows(head: &str) -> Vec<&'static str> {
    let (_, table) = DOCUMENT.split_once(&format!("\n{head}\n")).unwrap();
    table.lines().skip(1).take_while(|line| line.starts_with('|')).collect()
}

#[test]
fn the_table_of_families_is_that_of_the_program() {
    let row = |family: &&macvlan_shim::report::metrics::About| {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let name = family.name.strip_prefix("macvlan_shim_").unwrap();
        format!("| `{name}` | {} | {} | {} |", family.kind.as_str(), labels.join(", "), family.help)
    };
    let should: Vec<String> = FAMILIES.iter().map(row).collect();
    let is = rows("| name, after `macvlan_shim_` | type | labels | meaning |");
    assert_eq!(is, should, "it should be\n{}", should.join("\n"));
}

#[test]
fn the_document_explains_every_alert() {
    let alerts = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<String> = alerts.map(|name| format!("`{name}`")).collect();
    let table = rows("| alert | means | do |");
    let explained: Vec<&str> =
        table.iter().filter_map(|row| row.strip_prefix("| ")?.split(" |").next()).collect();
    assert_eq!(explained, alerts);
}
