//! The guests that the user names, and the problems that concern them.

use crate::model::GuestKey;
use crate::model::status::{GuestStatus, NicStatus, Problem, Status};

/// Whether a guest that is called `lxd:shop/web` has one of these names: `web`, `shop/web`, `lxd:web` or
/// `lxd:shop/web`.
pub(in crate::commands) fn is_named(label: &str, names: &[String]) -> bool {
    names.iter().any(|name| GuestKey::is_called(label, name))
}

/// The problems of these guests, or all if there are no names: with the guests themselves, with the parents of
/// their NICs, and with their addresses.
pub(in crate::commands) fn about<'a>(status: &'a Status, names: &[String]) -> Vec<&'a Problem> {
    let guests = status.guests.iter().filter(|guest| is_named(&guest.key().to_string(), names));
    let guests: Vec<&GuestStatus> = guests.collect();
    let concerns = |problem: &&Problem| {
        let object = problem.object.as_str();
        guests.iter().any(|guest| {
            let of_nic = |nic: &NicStatus| {
                nic.parent == object || nic.addresses.iter().any(|it| it.address.to_string() == object)
            };
            object.starts_with(&format!("{} ", guest.key())) || guest.nics.iter().any(of_nic)
        })
    };
    status.problems.iter().filter(|problem| names.is_empty() || concerns(problem)).collect()
}
