//! NetworkManager must leave the shims alone.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::{Finding, Gap};
use crate::doctor::survey::Survey;
use crate::model::Code;

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::NetworkmanagerManages],
    good: "NetworkManager leaves the shims alone, or does not run",
    find,
};

fn find(survey: &Survey) -> Findings {
    let devices = match &survey.network_manager {
        Err(gap) => return Err(Gap::clone(gap)),
        Ok(None) => return Ok(Vec::new()),
        Ok(Some(devices)) => devices,
    };
    let view = survey.view()?;
    let managed = view.snapshot.shims().filter_map(|(_, shim)| {
        let state = devices.get(shim.name.as_str()).filter(|state| *state != "unmanaged")?;
        let name = &shim.name;
        let finding = Finding::new(Code::NetworkmanagerManages, format!("NetworkManager manages {name}"))
            .seen([format!("nmcli device: {name} is {state}")])
            .cured_by(format!("nmcli device set {name} managed no"))
            .cured_by(
                "for good: the file conf.d/macvlan-shim.conf of the package, in /etc/NetworkManager/conf.d",
            );
        Some(finding)
    });
    Ok(managed.collect())
}
