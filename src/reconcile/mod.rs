//! Decides what should exist. Pure: no I/O, no clock, no randomness; ordered maps only, so that the order
//! of input never matters.
//!
//! A decision is a straight line. Each step imports only from steps above it.
//!
//! | step | from | it decides |
//! | --- | --- | --- |
//! | `facts` | configuration, snapshot | what follows from them for all: the host's addresses and routing, where a shim can stand |
//! | `join` | inventory, facts | whose each child is, as a NIC or as its sibling, and how we know |
//! | `select` | joins | which NICs are served |
//! | `admit` | facts, one address | the verdict of the rules that concern one NIC, with its reason |
//! | `hold` | verdicts, memory | which of several claimants gets an address |
//! | `shims` | holders | which shims should stand, and what each should be |
//! | `diff` | [`Desired`], snapshot | the ordered plan |
//! | `schedule` | plan, time | the ops that are due |
//!
//! `desire` walks this line for everything. Where only some addresses of guests have changed, `amend` brings
//! [`Desired`] up to date and [`diff_at`] makes the part of the plan that is about them: the same as a full
//! decision, at a cost that does not grow with the number of guests. [`decide()`] does whichever of the two
//! is called for. Beside the line, `ask` chooses when the LAN is asked who has an address.

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
pub mod schedule;
pub mod select;
pub mod shims;

pub use ask::LanQuestions;
pub use decide::decide;
pub use desire::desire;
pub use desired::Desired;
pub use diff::{diff, diff_at};
pub use inputs::Inputs;
pub use join::servers_to_ask;
pub use memory::Memory;
pub use neighbour_table::table_full;
pub use schedule::Schedule;
pub use select::Decision;
