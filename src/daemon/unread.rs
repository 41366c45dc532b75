//! Problems for the parts of the kernel's state that could not be read.

use crate::kernel::Kernel;
use crate::model::Code;
use crate::model::snapshot::Netns;
use crate::model::status::Problem;
use crate::reconcile::Memory;

/// The problems. A namespace is called by the name of its guest if that is known.
pub fn problems(kernel: &Kernel, memory: &Memory) -> Vec<Problem> {
    let failed = kernel.problems().into_iter().map(|message| {
        let hint = "existing routes stay in place; it is read again within seconds";
        Problem::new(Code::KernelUnread, "kernel", message, hint)
    });
    let left_out = kernel.shortfalls().map(|(netns, message)| match netns {
        Netns::Host => Problem::new(
            Code::LinkUnreadable,
            "host",
            message,
            "if it is a guest's NIC that was left behind, delete it (ip link del); otherwise take away some of its \
             alternative names, MACs or priorities (ip -d link show)",
        ),
        Netns::Id(id) => Problem::new(
            Code::GuestLeftOut,
            owner(memory, netns).unwrap_or_else(|| format!("network namespace {id}")),
            message,
            "take away objects that the guest does not need (ip link, ip address), or stop it; all others are served",
        ),
    });
    failed.chain(left_out).collect()
}

fn owner(memory: &Memory, netns: Netns) -> Option<String> {
    memory.joins.guests_in(netns).min().map(ToString::to_string)
}
