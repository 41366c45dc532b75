//! macvlan-shim lets every macvlan guest of LXD and Incus and its own host reach each other, which the
//! kernel alone never allows: a macvlan child and its parent do not talk. Children in bridge mode do talk to
//! each other; so the host gets a child of its own on every parent that guests use (the **shim**), and a
//! host route through it to every address of every guest.
//!
//! ```text
//!    LXD / Incus                        the kernel
//!   REST + events                 rtnetlink, all namespaces
//!        |                                  |
//!    inventory   --- events only wake ---  snapshot          servers/, kernel/: read
//!         \                                /
//!          desire(config, inventory, snapshot) -> desired    reconcile/: pure
//!                        |
//!             diff(desired, snapshot) -> plan                reconcile/: pure
//!                        |
//!           schedule(now, plan) -> the ops that are due      reconcile/: pure, the time is passed in
//!                        |
//!                apply(op), one by one                       kernel/: writes
//!                        |
//!      report: status, sd_notify                             daemon/: views of one value
//! ```
//!
//! Events carry no truth about guests, only which slice to read again, so a lost, repeated or late event
//! makes the state late, never wrong. The kernel gives the addresses, the server gives the identity.
//! There is no state file: everything of ours in the kernel bears a mark ([`model::names`]), so a new process
//! adopts what an old one left. Our own death changes nothing on the data path.
//!
//! Imports go one way: `main → commands → {cli, daemon} → {kernel, servers, reconcile, config} → model`.
//! [`reconcile`] does no I/O; no netlink type leaves [`kernel`], no REST JSON leaves [`servers`].
//! A test holds this (`tests/architecture.rs`).

pub mod cli;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod kernel;
pub mod model;
pub mod reconcile;
pub mod servers;
