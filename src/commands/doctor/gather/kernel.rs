//! The kernel's state, and a decision from scratch.

use std::time::Instant;

use crate::config::Config;
use crate::daemon::unread;
use crate::doctor::finding::Gap;
use crate::doctor::survey::KernelView;
use crate::kernel::Kernel;
use crate::model::{Inventory, Timestamp};
use crate::reconcile::Inputs;
use crate::report::{Circumstances, FromScratch};

/// Reads the kernel, and decides everything. The homes of guests are located first, because MACs alone do not
/// identify all of them.
pub(super) fn view(
    config: &Config,
    inventory: &Inventory,
    host: &str,
    time: Timestamp,
) -> Result<KernelView, Gap> {
    let mut kernel = Kernel::open().map_err(|error| Gap::for_root(error.to_string()))?;
    kernel.locate(inventory.homes());
    kernel.settle();
    let inputs = Inputs { config, inventory, snapshot: kernel.snapshot(), now: Instant::now() };
    let decided = FromScratch::decide(&inputs);
    let problems = unread::problems(&kernel, &decided.memory);
    let circumstances = Circumstances { host, time, tables: kernel.neighbour_tables(), problems: &problems };
    Ok(KernelView::of(decided, &inputs, circumstances))
}
