//! Chaos: random faults against the real daemon, on a LAN with real guests of a real LXD and a real Incus.
//!
//! A run is a series of bursts. A burst is a few operations, some at once: somebody tampers with what the daemon
//! made, or fights it over that; the host's uplink fails, goes, or is renumbered; foreign routes, rules and namespaces
//! come and go; guests start, stop, claim what is not theirs, and storm; servers are killed or hang, and the line to
//! them (`line`) is cut or slow; the daemon itself is killed, upgraded, or meets a second one (`operation`). All is
//! drawn by a seed (`dice`, `burst`), so that a run can be repeated.
//!
//! After each burst comes a quiet moment (`quiet`), in which everything must become as it should be: what that is
//! is worked out (`model`, `ground`) from what really is (`truth`) and what chaos did (`intent`), and held
//! against the kernel, the daemon's status, and packets (`invariant`); and nobody may have heard a shim on the LAN
//! (`wire`). Nothing of the daemon's own code is used.

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
