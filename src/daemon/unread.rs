//! The parts of the kernel's state that could not be read, as problems.

use crate::kernel::Kernel;
use crate::model::snapshot::Netns;
use crate::model::status::Problem;
use crate::reconcile::Memory;

/// The problems. Guests are called by their names where it is known whose a namespace is.
pub(super) fn problems(kernel: &Kernel, memory: &Memory) -> Vec<Problem> {
    let failed = kernel.problems().into_iter().map(|message| Problem {
        code: "kernel-unread".to_owned(),
        object: "kernel".to_owned(),
        message,
        hint: "existing routes stay in place; it is read again within seconds".to_owned(),
    });
    let left_out = kernel.shortfalls().map(|(netns, message)| match netns {
        Netns::Host => Problem {
            code: "link-unreadable".to_owned(),
            object: "host".to_owned(),
            message,
            hint: "if it is a guest's NIC that was left behind, delete it (ip link del); otherwise take away some of its \
                   alternative names, MACs or priorities (ip -d link show)"
                .to_owned(),
        },
        Netns::Id(id) => Problem {
            code: "guest-left-out".to_owned(),
            object: owner(memory, netns).unwrap_or_else(|| format!("network namespace {id}")),
            message,
            hint: "take away what the guest does not need (ip link, ip address), or stop it; all others are served"
                .to_owned(),
        },
    });
    failed.chain(left_out).collect()
}

fn owner(memory: &Memory, netns: Netns) -> Option<String> {
    let mut joins = memory.joins.iter();
    joins.find(|(_, joined)| joined.netns == netns).map(|(nic, _)| nic.guest.to_string())
}
