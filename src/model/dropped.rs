//! The packets that the filters of shims have dropped.

use smol_str::SmolStr;

use super::LinkIndex;

/// The packets that one kind of rule has dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedPackets {
    /// The ifindex of the shim.
    pub link: LinkIndex,
    /// `in`: they came from guests. `out`: they came from the host.
    pub direction: SmolStr,
    /// The kind of rule, such as `spoofed-source`.
    pub rule: SmolStr,
    /// Their number since the filter was made.
    pub packets: u64,
}
