//! The guests that the user names, and the problems that concern them.

use crate::model::status::{GuestStatus, NicStatus, Problem, Status};
use crate::model::{GuestKey, ServerId};

/// Whether a guest has one of these names: `web`, `shop/web`, `lxd:web` or `lxd:shop/web`.
pub(in crate::commands) fn is_named(guest: &GuestStatus, names: &[String]) -> bool {
    let label = label(guest);
    let bare = label.strip_prefix(&format!("{}:", guest.server)).unwrap_or(&label);
    names.iter().any(|name| *name == label || *name == bare || guest.name == name.as_str())
}

/// `lxd:web`, or `lxd:shop/web` outside the default project.
pub(super) fn label(guest: &GuestStatus) -> String {
    let (server, project) = (ServerId(guest.server.clone()), guest.project.clone());
    GuestKey::new(server, project, guest.name.clone()).to_string()
}

/// The problems of these guests, or all if there are no names: with the guests themselves, with the parents of
/// their NICs, and with their addresses.
pub(in crate::commands) fn about<'a>(status: &'a Status, names: &[String]) -> Vec<&'a Problem> {
    let guests: Vec<_> = status.guests.iter().filter(|guest| is_named(guest, names)).collect();
    let concerns = |problem: &&Problem| {
        let object = problem.object.as_str();
        guests.iter().any(|guest| {
            let of_nic = |nic: &NicStatus| {
                nic.parent == object || nic.addresses.iter().any(|it| it.address.to_string() == object)
            };
            object.starts_with(&format!("{} ", label(guest))) || guest.nics.iter().any(of_nic)
        })
    };
    status.problems.iter().filter(|problem| names.is_empty() || concerns(problem)).collect()
}
