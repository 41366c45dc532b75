//! Chaos: random faults against the real daemon, on a LAN with real guests of a real LXD and a real Incus.
//!
//! A run is a series of bursts. A burst is a few operations, some at once. Somebody tampers with the daemon's
//! objects, or fights it over them. The host's uplink fails, goes, or is renumbered. Foreign routes, rules
//! and namespaces come and go. Guests start, stop, storm, and claim addresses of others. Servers are killed
//! or hang, and the line to them (`line`) is cut or slow. The daemon itself is killed, upgraded, or meets a
//! second one (`operation`). A seed draws everything (`dice`, `burst`), so that a run can be repeated.
//!
//! After each burst comes a quiet moment (`quiet`), in which everything must become as it should be. The
//! expected state is worked out (`model`, `ground`) from the real state (`truth`) and the intent of chaos
//! (`intent`). It is compared with the kernel, the daemon's status, and packets (`invariant`). And nobody on
//! the LAN may have heard a shim (`wire`). None of the daemon's own code is used.

mod account;
mod burst;
mod configuration;
mod dice;
mod foreign;
mod ground;
mod intent;
mod invariant;
mod line;
mod model;
mod operation;
mod quiet;
mod run;
mod site;
mod truth;
mod under_test;
mod wire;

pub use account::Account;
pub use burst::{Pace, seeds_of};
pub use run::{Length, Options, run};
