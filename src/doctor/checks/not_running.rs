//! Whether the daemon runs.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::{Finding, Gap};
use crate::doctor::survey::{DaemonState, Survey};
use crate::model::Code;

/// The check.
pub(super) const CHECK: Check = Check { codes: &[Code::NotRunning], good: "macvlan-shim runs", find };

fn find(survey: &Survey) -> Findings {
    let why = match &survey.daemon {
        DaemonState::Answers(_) => return Ok(Vec::new()),
        DaemonState::Silent(gap) => return Err(Gap::clone(gap)),
        DaemonState::Absent(why) => why,
    };
    let finding =
        Finding::new(Code::NotRunning, "macvlan-shim does not run, so no guest's change is followed");
    let mut finding = finding.seen([why.clone()]);
    if let Ok(view) = &survey.kernel {
        let routes = view.snapshot.routes.values().filter(|route| route.ours).count();
        let shims: Vec<&str> = view.snapshot.shims().map(|(_, link)| link.name.as_str()).collect();
        let stands = match shims.is_empty() {
            true => "nothing of it stands in the kernel".to_owned(),
            false => {
                format!("{} and {routes} routes still stand, and nothing follows changes", shims.join(", "))
            }
        };
        finding = finding.seen([stands]);
    }
    Ok(vec![match &survey.unit {
        Ok(unit) if unit.exists => {
            let ended = match unit.result.as_str() {
                "" | "success" => String::new(),
                result => format!(", because of {result}"),
            };
            let finding = finding.seen([format!("its unit is {}{ended}", unit.active)]);
            finding.seen(unit.log.iter().cloned()).cured_by("systemctl start macvlan-shimd")
        }
        _ => finding.cured_by("macvlan-shim run, or install the package, which has a unit for it"),
    }])
}
