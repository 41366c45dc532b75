//! Decides which objects should exist. Pure: no I/O, no clock, no randomness; ordered maps only, so that the
//! order of input never matters.
//!
//! A decision is a straight line. Each step imports only from steps above it.
//!
//! | step | from | it decides |
//! | --- | --- | --- |
//! | `facts` | configuration, snapshot | their consequences for all: the host's addresses and routing, the parents that can have a shim |
//! | `join` | inventory, facts | the owner of each child, as a NIC or as its sibling, and the reason |
//! | `select` | joins | the NICs that are served |
//! | `admit` | facts, one address | the verdict of the rules about one NIC, with its reason |
//! | `hold` | verdicts, memory | the holder of an address that several claim |
//! | `shims` | holders | the shims that should exist, and their properties |
//! | `problems` | [`Desired`], snapshot | everything that needs somebody |
//! | `diff` | [`Desired`], snapshot | the ordered plan |
//! | `schedule` | plan, time | the ops that are due |
//!
//! `desire` walks this line for everything. If only some addresses of guests have changed, `amend` brings
//! [`Desired`] up to date and `diff_at` makes the part of the plan that is about them: the same as a full
//! decision, at a cost that does not grow with the number of guests. [`decide()`] does whichever of the two
//! is needed. Beside the line, `ask` chooses when the LAN is asked who has an address.

pub mod admit;
mod amend;
pub mod ask;
mod decide;
pub mod desire;
pub mod desired;
pub mod diff;
pub mod facts;
pub mod hold;
mod inputs;
pub mod join;
pub mod memory;
mod neighbour_table;
mod problems;
pub mod schedule;
pub mod select;
pub mod shims;

pub use ask::{LanQuestions, spare_questions};
pub use decide::decide;
pub use desire::desire;
pub use desired::Desired;
pub use diff::diff;
pub use inputs::Inputs;
pub use join::servers_to_ask;
pub use memory::Memory;
pub use neighbour_table::table_full;
pub use schedule::Schedule;
pub use select::Decision;
