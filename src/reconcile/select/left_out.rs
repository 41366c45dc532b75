//! The guests that are left out.

use crate::config::Select;
use crate::model::Code;
use crate::model::inventory::{Guest, OptOut};

/// `None` if the guest takes part, else the code and the sentence of the reason.
pub(in crate::reconcile) fn left_out(select: &Select, guest: &Guest) -> Option<(Code, String)> {
    if guest.opt == OptOut::Out {
        return Some((Code::OptedOut, "user.macvlan-shim.enabled is false for this guest".to_owned()));
    }
    if !select.projects.is_empty() && !names(&select.projects, &guest.project) {
        let message = format!("its project {} is not in select.projects", guest.project);
        return Some((Code::Project, message));
    }
    if !select.profiles.is_empty() && !guest.profiles.iter().any(|profile| names(&select.profiles, profile)) {
        let message = format!("it uses none of select.profiles ({})", select.profiles.join(", "));
        return Some((Code::Profile, message));
    }
    None
}

fn names(list: &[String], name: &str) -> bool {
    list.iter().any(|named| named == name)
}
