//! Where a NIC comes from: the guest's own configuration, or a profile. The server is asked, if this user may.

use std::path::Path;

use futures_util::future::join_all;

use crate::commands::block_on;
use crate::config::Config;
use crate::model::explanation::{ChainStep, Explanation, StepName, StepState};
use crate::servers::{self, GuestName, NicOrigin, Target};

/// Adds it to the steps about NICs. If a server does not tell, the step stays as it is, because nothing depends on
/// it.
pub(super) fn add(config_file: Option<&Path>, explanations: &mut [Explanation]) {
    let Ok(loaded) = Config::load(config_file) else { return };
    let targets = servers::targets(&loaded.config.sockets(), |name| std::env::var_os(name));
    let asked = explanations.iter().map(async |explanation| origin(&targets, explanation).await);
    let origins = block_on(join_all(asked)).unwrap_or_default();
    for (explanation, origin) in explanations.iter_mut().zip(origins) {
        let step = explanation.steps.iter_mut().find(|step| is_told(step));
        if let (Some(step), Some(origin)) = (step, origin) {
            step.sentence += &match origin {
                NicOrigin::Own => ", from the guest's own configuration".to_owned(),
                NicOrigin::Profile(profile) => format!(", from the profile {profile}"),
            };
        }
    }
}

async fn origin(targets: &[Target], explanation: &Explanation) -> Option<NicOrigin> {
    let Explanation { guest: Some(guest), nic: Some(nic), steps, .. } = explanation else { return None };
    let target = targets.iter().find(|target| target.id == guest.server)?;
    if !steps.iter().any(is_told) {
        return None;
    }
    let guest = GuestName { project: guest.project.clone(), name: guest.name.clone() };
    servers::origin(target, &guest, nic).await.ok()?
}

/// The server has told of the NIC.
fn is_told(step: &ChainStep) -> bool {
    step.name == StepName::Nic && step.state == StepState::Good
}
