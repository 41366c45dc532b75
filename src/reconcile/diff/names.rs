//! The names of shims, and the links that stand in the way of new ones.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::Steps;
use crate::model::inventory::Mode;
use crate::model::names::spare_name;
use crate::model::snapshot::{Link, LinkKind};
use crate::model::{LinkIndex, LinkRef, Op};
use crate::reconcile::shims::DesiredShim;

impl Steps<'_> {
    /// Each shim is named after its parent. A parent may be renamed, and another link may take its old name.
    /// If two shims have each other's names, one steps aside first.
    pub(super) fn put_names_right(&mut self) {
        let desired = self.desired;
        let misnamed = desired.shims.values().filter_map(|shim| {
            let link = self.snapshot.links.get(&shim.link.index?)?;
            (link.name != shim.link.name).then_some((link, shim))
        });
        let misnamed: Vec<(&Link, &DesiredShim)> = misnamed.collect();
        let mut names: BTreeMap<LinkIndex, SmolStr> =
            misnamed.iter().map(|(link, _)| (link.index, link.name.clone())).collect();
        for (link, shim) in misnamed {
            let right = &shim.link.name;
            let holder = names.iter().find(|(index, name)| *name == right && **index != link.index);
            if let Some(holder) = holder.map(|(index, _)| *index) {
                self.rename(&mut names, holder, &spare_name(holder), "another shim needs its name");
            }
            self.make_way(shim, link.shim_parent().unwrap_or(LinkIndex::NONE));
            self.rename(&mut names, link.index, right, "its parent has that name");
        }
    }

    /// `names`: the names that the shims have by then.
    fn rename(&mut self, names: &mut BTreeMap<LinkIndex, SmolStr>, link: LinkIndex, name: &str, why: &str) {
        if let Some(before) = names.insert(link, name.into()) {
            let link = LinkRef::standing(before, link);
            self.now(Op::Rename { link, name: name.into() }, why);
        }
    }

    /// Deletes a link of ours that is in the way of a new shim.
    pub(super) fn make_way(&mut self, shim: &DesiredShim, parent: LinkIndex) {
        let Some(link) = self.desired.in_the_way(self.snapshot, shim) else { return };
        let why = match (&link.kind, link.lower) {
            (_, None) => "its parent is gone".to_owned(),
            (LinkKind::Macvlan(mode), _) if *mode != Mode::Bridge => format!("its mode is {mode}"),
            (_, Some(lower)) if lower == parent => "it cannot go up: another machine has its MAC".to_owned(),
            _ => "no guest of this host needs it".to_owned(),
        };
        self.now(Op::DeleteShim { link: link.into() }, why);
    }
}
