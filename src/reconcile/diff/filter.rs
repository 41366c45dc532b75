//! The filter of each shim.

use super::Steps;
use crate::model::plan::When;
use crate::model::snapshot::ShimFilter;
use crate::model::{Op, Step};
use crate::reconcile::shims::DesiredShim;

impl<'a> Steps<'a> {
    /// Before it goes up, so that not one frame of its own gets out.
    pub(super) fn filter(&mut self, desired: &DesiredShim) {
        if self.snapshot.filter.usable && self.standing_filter(desired).is_none() {
            self.now(set_filter(desired), "the LAN must not see the shim, nor reach the host through it");
        }
    }

    /// The addresses that guests may ask for, if everything else of the filter is right. They come after the
    /// routes, which are back with the host's address at once and must not wait for `nft`. The kernel answers
    /// nobody for an address that is gone, so there is no hurry, and the address may only be away for a
    /// moment.
    pub(super) fn answers(&mut self, desired: &DesiredShim) {
        let filter = self.standing_filter(desired).filter(|_| self.snapshot.filter.usable);
        let Some(filter) = filter.filter(|filter| filter.answers != desired.answers) else { return };
        let when = if filter.answers.is_superset(&desired.answers) { When::AfterBreath } else { When::Now };
        let why = format!("guests ask it for the host's addresses on {}", desired.parent);
        self.plan.push(Step { op: set_filter(desired), when, why });
    }

    /// The filter of a shim, if it is right except for the addresses that guests may ask for.
    fn standing_filter(&self, desired: &DesiredShim) -> Option<&'a ShimFilter> {
        let standing = self.snapshot.filter.shims.get(&desired.link.index?)?;
        let is_right =
            standing.whole && standing.device == desired.link.name && standing.macs == desired.macs;
        is_right.then_some(standing)
    }
}

fn set_filter(desired: &DesiredShim) -> Op {
    let DesiredShim { link: shim, macs, answers, .. } = desired;
    Op::SetFilter { shim: shim.clone(), macs: macs.clone(), answers: answers.clone() }
}
