//! `status --list`: only the names, for scripts and for the completion of shells.

use std::collections::BTreeSet;

use crate::model::status::Status;

/// The names, a line each, as `status` and `explain` understand them. Shells split words at colons, so no name
/// says its server.
pub(super) fn list(status: &Status) -> String {
    let keys = status.guests.iter().map(|guest| guest.key().to_string());
    let names: BTreeSet<String> =
        keys.map(|key| key.split_once(':').map_or(key.clone(), |(_, name)| name.to_owned())).collect();
    names.into_iter().map(|name| name + "\n").collect()
}
