//! The real binary with a real LXD and a real Incus, on LANs of the lab. Needs root and the packages of
//! `tests/lab/setup.sh`, and fails without them.

/// Runs each story on a real LXD and on a real Incus.
macro_rules! on_lxd_and_incus {
    ($($story:ident),* $(,)?) => {
        mod lxd { $(#[test] fn $story() -> anyhow::Result<()> { super::$story(lab::Kind::Lxd) })* }
        mod incus { $(#[test] fn $story() -> anyhow::Result<()> { super::$story(lab::Kind::Incus) })* }
    };
}

mod answers;
mod chaos;
mod cost;
mod doctor;
mod explain;
mod filter;
mod guests;
mod healing;
mod history;
mod hostile;
mod keepalived;
mod lan;
mod listings;
mod metrics;
mod networkd;
mod nft;
mod node;
mod operator;
mod probe;
mod restarts;
mod routing;
mod selection;
mod servers;
mod shim;
mod siblings;
mod situations;
mod storms;
mod strangers;
mod trace;
mod words;
