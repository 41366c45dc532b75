//! LANs, hosts and real LXD and Incus servers in namespaces, for the demo, the tests and the benchmarks.
//!
//! A [`Machine`] is a process tree with its own PID, mount, network and host name spaces. It looks like a
//! freshly installed Debian with LXD and Incus at their default paths. A [`Lan`] is a machine that holds a
//! bridge, owns the first address of its subnets and may run DHCP and router advertisements. A [`Server`] is
//! a real LXD or Incus daemon in a machine, a [`Guest`] one of its containers. Where a server must misbehave,
//! or have a thousand guests, a [`stand_in`] takes its place. A [`Debian`] is a machine with a disk and a
//! real systemd, which can be rebooted. A [`Vm`] also has its own kernel.
//!
//! A computer runs only as many labs at a time as it can bear, over all processes: [`Lab::new`] waits for its
//! [`Place`].
//!
//! Nothing outlives the process that made a [`Lab`], however that process ends. Nothing of it can be seen
//! from the real host except processes and cgroups named `mvlab-*`, which end with it. Labs of several
//! threads and processes do not meet.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use std::time::Duration;
//! let lab = lab::Lab::new()?;
//! let lan = lab.lan("192.168.77.0/24", "fd77::/64")?;
//! lan.dhcp()?;
//! let host = lab.host("lxd2")?;
//! host.plug("eth0", &lan, &["192.168.77.12/24", "fd77::12/64"])?;
//! let peer = lab.host("peer")?;
//! peer.plug("eth0", &lan, &["192.168.77.13/24"])?;
//! let lxd = host.lxd()?;
//! lxd.macvlan_profile("mv", "eth0")?;
//! let c1 = lxd.launch("c1", &["-p", "mv"])?;
//! let address = c1.ipv4("eth0")?;
//! assert!(peer.reaches(address, Duration::from_secs(2)));
//! assert!(!host.pings(address)); // the kernel's rule that this project is about
//! # Ok(())
//! # }
//! ```

mod activation;
mod addresses;
mod capture;
mod crowd;
mod daemon;
mod debian;
mod ear;
mod enter;
mod eventually;
pub mod forge;
mod guest;
mod image;
mod kind;
mod lab;
mod lan;
mod machine;
mod network;
mod place;
mod pulse;
mod relay;
mod rest;
mod server;
pub mod stand_in;
mod storm;
mod stream;
mod vm;

pub use capture::Capture;
pub use crowd::Crowd;
pub use daemon::Daemon;
pub use debian::Debian;
pub use ear::Ear;
pub use eventually::{eventually, stays, until};
pub use guest::Guest;
pub use kind::Kind;
pub use lab::Lab;
pub use lan::{Dhcp, Lan};
pub use machine::Machine;
pub use network::Port;
pub use place::{Place, Share};
pub use pulse::Pulse;
pub use relay::{Relay, Trouble};
pub use server::Server;
pub use storm::Storm;
pub use stream::Stream;
pub use vm::Vm;
