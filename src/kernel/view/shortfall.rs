//! Objects of a namespace that the snapshot lacks, because there are too many or because they cannot be read.

use std::collections::BTreeMap;

use crate::kernel::object::link::LINKS;
use crate::model::LinkIndex;

/// Maximum number of children of one namespace that are kept.
pub(in crate::kernel) const CHILDREN: usize = 256;

/// Maximum number of addresses of one namespace that are looked at.
pub(in crate::kernel) const ADDRESSES: usize = 1024;

/// The objects of one namespace that are left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::kernel) struct Shortfall {
    /// There are more links than are looked at.
    pub(in crate::kernel) links: bool,
    /// There are more children than are kept.
    pub(in crate::kernel) children: bool,
    /// There are more addresses than are looked at.
    pub(in crate::kernel) addresses: bool,
    /// The links that cannot be read, by their ifindexes, with the errors.
    pub(in crate::kernel) unreadable: BTreeMap<LinkIndex, String>,
}

impl Shortfall {
    /// Whether nothing is left out.
    pub(in crate::kernel) fn is_empty(&self) -> bool {
        *self == Shortfall::default()
    }

    /// The things that are left out, in sentences that follow a name and a colon.
    pub(in crate::kernel) fn sentences(&self) -> Vec<String> {
        let many = [
            (self.links, LINKS, "network links, of which only the first, and macvlan links, are looked at"),
            (
                self.children,
                CHILDREN,
                "macvlan links on parents of this host, of which only the first are served",
            ),
            (self.addresses, ADDRESSES, "addresses, of which only the first are looked at"),
        ];
        let many =
            many.iter().filter(|(is, ..)| *is).map(|(_, limit, what)| format!("it has over {limit} {what}"));
        let one = |(index, why): (&LinkIndex, &String)| format!("link {index} cannot be read: {why}");
        many.chain(self.unreadable.iter().map(one)).collect()
    }
}
