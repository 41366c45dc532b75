//! The numbers by which the kernel knows links and namespaces.

use std::fmt;

/// The ifindex of a link in its namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkIndex(pub u32);

impl LinkIndex {
    /// No link has this number. It sorts before all others.
    pub const NONE: LinkIndex = LinkIndex(0);
    /// Sorts after all others.
    pub const LAST: LinkIndex = LinkIndex(u32::MAX);
}

impl fmt::Display for LinkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a namespace in the table of the host's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetnsId(pub i32);

impl NetnsId {
    /// The lowest that the kernel gives.
    pub const FIRST: NetnsId = NetnsId(0);
    /// The highest.
    pub const LAST: NetnsId = NetnsId(i32::MAX);
}

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
