//! The dashboard for Grafana asks for what there is.

use std::collections::BTreeSet;

use macvlan_shim::report::metrics::{FAMILIES, Kind};
use serde_json::Value;

use crate::promtool::promtool;

const DASHBOARD: &str = include_str!("../../packaging/monitoring/dashboard.json");
const ALERTS: &str = include_str!("../../packaging/monitoring/alerts.yml");

/// Every text below a key of that name.
fn below<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == name => found.push(text),
                    value => below(value, name, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| below(value, name, found)),
        _ => {}
    }
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

fn queries(dashboard: &Value) -> Vec<&str> {
    let mut queries = Vec::new();
    below(dashboard, "expr", &mut queries);
    below(dashboard, "definition", &mut queries);
    assert!(queries.len() > 20, "the queries were not found");
    queries
}

/// The names of our metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let starts = text.match_indices("macvlan_shim_");
    starts.map(|(at, _)| text[at..].chars().take_while(is_part).collect()).collect()
}

/// The names that series of our families have.
fn known() -> BTreeSet<String> {
    let names = FAMILIES.iter().flat_map(|family| match family.kind {
        Kind::Gauge | Kind::Counter => vec![family.name.to_owned()],
        Kind::Histogram => ["bucket", "sum", "count"].map(|part| format!("{}_{part}", family.name)).into(),
    });
    names.collect()
}

#[test]
fn every_query_names_a_metric_that_exists() {
    let dashboard = dashboard();
    for query in queries(&dashboard) {
        let named = metrics(query);
        assert!(!named.is_empty(), "{query} asks for none of our metrics");
        assert!(named.is_subset(&known()), "{query} asks for what does not exist");
    }
    assert!(metrics(ALERTS).len() >= 9 && metrics(ALERTS).is_subset(&known()), "{:?}", metrics(ALERTS));
}

/// Prometheus understands every query once Grafana has filled in its variables.
#[test]
fn every_query_is_well_formed() {
    let dashboard = dashboard();
    let mut expressions = Vec::new();
    below(&dashboard, "expr", &mut expressions);
    let rule = |(number, query): (usize, &&str)| {
        let query = query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*");
        serde_json::json!({"record": format!("query:{number}"), "expr": query})
    };
    let rules: Vec<Value> = expressions.iter().enumerate().map(rule).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    let text = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string();
    std::fs::write(&file, text).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()], "").unwrap();
}

#[test]
fn it_has_five_rows_and_every_panel_says_what_it_shows() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let (rows, panels): (Vec<&Value>, Vec<&Value>) = panels.iter().partition(|panel| panel["type"] == "row");
    let rows: Vec<&str> = rows.iter().map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(rows, ["Reachable", "Refused, by reason", "Reaction", "Repairs", "Conflicts and problems"]);
    let mut numbers = BTreeSet::new();
    for panel in panels {
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{panel}");
        assert!(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()), "{panel}");
        assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{panel}");
    }
}
