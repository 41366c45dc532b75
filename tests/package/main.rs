//! The packages, as `make deb` and `make rpm` build them, and the unit in them: installed, upgraded, removed
//! and booted on machines with a real systemd. Needs root and `tests/lab/setup.sh debian packages`, and fails
//! without them.

/// Runs each story on a real LXD and on a real Incus.
macro_rules! on_lxd_and_incus {
    ($($story:ident),* $(,)?) => {
        mod lxd { $(#[test] fn $story() -> anyhow::Result<()> { super::$story(lab::Kind::Lxd) })* }
        mod incus { $(#[test] fn $story() -> anyhow::Result<()> { super::$story(lab::Kind::Incus) })* }
    };
}

mod contents;
mod former_unit;
mod install;
mod needs;
mod node;
mod packages;
mod profiles;
mod recipes;
mod rpm;
mod schemas;
mod stock_node;
mod unit;
mod upgrade;
