//! The requests of a daemon to the kernel, as `strace` saw them.

use std::collections::BTreeMap;

/// The number of netlink messages of each kind that were sent. A call that strace shows in two pieces has its
/// messages in the first.
pub(crate) fn requests<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let kinds = lines
        .filter(|line| !line.contains("resumed"))
        .flat_map(|line| line.split("nlmsg_type=").skip(1))
        .filter_map(|rest| rest.split([',', '}']).next());
    kinds.fold(BTreeMap::new(), |mut requests, kind| {
        *requests.entry(kind).or_default() += 1;
        requests
    })
}
