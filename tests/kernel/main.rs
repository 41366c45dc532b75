//! The kernel layer against the real kernel, with no server: each test in fresh network namespaces that end
//! with it. Needs root; without it the tests fail. `make test-stock-kernel` runs them under Debian's own
//! kernel.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails says so by a panic")]

mod answers;
mod events;
mod filter;
mod guests;
mod host;
mod identity;
mod large;
#[path = "../listed/mod.rs"]
mod listed;
mod look;
mod overhear;
mod passes;
mod replacing;
mod routing;
mod settings;
mod shim;
mod snapshot;
mod writes;
