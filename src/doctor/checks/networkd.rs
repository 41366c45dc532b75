//! systemd-networkd deletes routes and rules that it does not know when it starts.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::{Finding, Gap};
use crate::doctor::survey::Survey;
use crate::model::Code;

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::NetworkdForeignRoutes],
    good: "systemd-networkd leaves our routes and rules alone, or does not run",
    find,
};

fn find(survey: &Survey) -> Findings {
    let networkd = &survey.networkd;
    match networkd.runs {
        None => return Err(Gap::new("nobody tells whether systemd-networkd runs")),
        Some(false) => return Ok(Vec::new()),
        Some(true) => {}
    }
    let keeps = |key: &str| {
        let value = networkd.keys.get(key).map(|value| value.to_ascii_lowercase());
        value.is_some_and(|value| ["no", "false", "off", "0"].contains(&&*value))
    };
    let needs_rule = !survey.view()?.desired.rules.is_empty();
    let mut lacks = Vec::new();
    if !networkd.spares_shims && !keeps("ManageForeignRoutes") {
        lacks.push("ManageForeignRoutes");
    }
    if needs_rule && !keeps("ManageForeignRoutingPolicyRules") {
        lacks.push("ManageForeignRoutingPolicyRules");
    }
    if lacks.is_empty() {
        return Ok(Vec::new());
    }
    let what = if lacks.contains(&"ManageForeignRoutes") { "routes" } else { "policy rule" };
    let sentence = format!(
        "systemd-networkd may delete our {what} whenever it starts; the daemon makes them again, if it runs"
    );
    let evidence = lacks.iter().map(|key| format!("{key} is not set to no in networkd.conf"));
    let keys: Vec<String> = lacks.iter().map(|key| format!("{key}=no")).collect();
    let cure = format!(
        "printf '[Network]\\n{}\\n' > /etc/systemd/networkd.conf.d/macvlan-shim.conf (make the folder first)",
        keys.join("\\n")
    );
    Ok(vec![Finding::new(Code::NetworkdForeignRoutes, sentence).seen(evidence).cured_by(cure)])
}
