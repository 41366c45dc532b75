//! Virtual machines, which are not served.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::Code;
use crate::model::inventory::{GuestKind, Power};

/// The check.
pub(super) const CHECK: Check = Check { codes: &[Code::Vm], good: "no VM with a macvlan NIC runs", find };

fn find(survey: &Survey) -> Findings {
    let is_vm = |guest: &crate::model::inventory::Guest| {
        guest.kind == GuestKind::VirtualMachine && guest.power == Power::Running
    };
    let vms = survey.all_guests()?.filter(|(_, guest)| is_vm(guest) && !guest.nics.told().is_empty());
    let names: Vec<String> = vms.map(|(key, _)| key.to_string()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let finding = Finding::new(Code::Vm, "virtual machines with macvlan NICs are not served");
    Ok(vec![finding.seen([names.join(", ")]).cured_by(Code::Vm.cure())])
}
