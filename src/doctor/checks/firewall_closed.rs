//! A firewall that is closed to everybody, so that nobody wonders why a guest's ping has no answer.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::{Finding, Gap};
use crate::doctor::survey::Survey;
use crate::model::Code;

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::FirewallClosed],
    good: "the firewall is not closed to the LAN and guests alike",
    find,
};

fn find(survey: &Survey) -> Findings {
    let entrances = survey.view()?.entrances();
    let firewall = survey.firewall.as_ref().map_err(Gap::clone)?;
    let closed = entrances.iter().find_map(|entrance| Some((entrance, firewall.is_closed(entrance)?)));
    let finding = closed.map(|(entrance, stop)| {
        let sentence = format!(
            "the firewall drops pings and new connections from guests, as it drops those from the LAN of {}",
            entrance.parent
        );
        Finding::new(Code::FirewallClosed, sentence)
            .seen([stop.to_string()])
            .cured_by(Code::FirewallClosed.cure())
    });
    Ok(finding.into_iter().collect())
}
