//! Guests that run and have no IPv4 address, or none at all.

use std::time::Duration;

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::inventory::Home;
use crate::model::{Code, GuestKey};

/// The check.
pub(super) const CHECK: Check =
    Check { codes: &[Code::NoIpv4, Code::NoAddress], good: "no guest lacks an IPv4 address", find };

/// How long DHCP may take before its lack is worth a word.
const PATIENCE: Duration = Duration::from_secs(30);

fn find(survey: &Survey) -> Findings {
    let mut found = survey.told(&[Code::NoAddress])?;
    let view = survey.view()?;
    for (parent, _) in view.parents() {
        if !view.host_addresses(parent).any(|address| address.is_ipv4()) {
            continue;
        }
        for (nic, child, _) in view.served_on(parent.index) {
            let addresses: Vec<String> =
                view.desired.held.verdicts(child).map(|(address, _)| address.to_string()).collect();
            let has_v4 = view.desired.held.verdicts(child).any(|(address, _)| address.is_ipv4());
            let age = age(survey, &nic.guest);
            if has_v4 || addresses.is_empty() || age.is_some_and(|age| age < PATIENCE) {
                continue;
            }
            let time = age.map_or_else(String::new, |age| {
                format!(" for {}", humantime::format_duration(Duration::from_secs(age.as_secs() / 60 * 60)))
            });
            let sentence = format!("{nic} is up{time} without an IPv4 address");
            let client = if nic.guest.server.0.starts_with("incus") { "incus" } else { "lxc" };
            let finding = Finding::new(Code::NoIpv4, sentence)
                .seen([format!("its addresses: {}", addresses.join(", "))])
                .cured_by(format!("look at its DHCP client: {client} exec {} -- ip address", nic.guest.name));
            found.push(finding);
        }
    }
    Ok(found)
}

/// How long a guest runs.
fn age(survey: &Survey, of: &GuestKey) -> Option<Duration> {
    let (_, guest) = survey.inventory.guests().find(|(key, _)| key == of)?;
    match guest.home {
        Home::Pid(pid) => survey.ages.get(&pid).copied(),
        Home::File(_) | Home::Unknown => None,
    }
}
