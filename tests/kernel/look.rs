//! Looking at the state of the kernel layer until it knows everything that it must.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::Changes;
use macvlan_shim::model::Snapshot;
use macvlan_shim::model::snapshot::{Child, ChildKey};

/// An emulated machine takes seconds for a single look.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The snapshot that events have made soon equals that of a new look. It may take a moment, because the
/// kernel's events about IPv6 addresses come late.
pub(crate) fn assert_truth(kernel: &mut Kernel) {
    let start = Instant::now();
    loop {
        kernel.drain();
        let fresh = Kernel::open().unwrap();
        let (known, truth) = (kernel.snapshot(), fresh.snapshot());
        if known == truth {
            return;
        }
        if start.elapsed() > PATIENCE {
            assert_eq!(known, truth);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The next changes. A guest that takes much of a slow machine's time is put off for a moment.
pub(crate) fn next_changes(kernel: &mut Kernel) -> Changes {
    let start = Instant::now();
    loop {
        let changes = kernel.drain();
        if changes != Changes::default() {
            return changes;
        }
        assert!(start.elapsed() < PATIENCE, "nothing has changed");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn only_child(kernel: &Kernel) -> (ChildKey, Child) {
    let children = &kernel.snapshot().children;
    assert_eq!(children.len(), 1, "{children:?}");
    let (key, child) = children.iter().next().unwrap();
    (*key, child.clone())
}

pub(crate) fn eventually(kernel: &mut Kernel, holds: impl Fn(&Snapshot) -> bool) {
    let start = Instant::now();
    loop {
        kernel.drain();
        if holds(kernel.snapshot()) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{:#?}", kernel.snapshot());
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
