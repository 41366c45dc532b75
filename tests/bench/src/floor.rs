//! The floor: the minimum work of any program that makes a route when a guest gets an address. One thread,
//! two blocking sockets: it hears the address in all namespaces and asks for the route. No inventory, no
//! admission, no neighbour entry, nothing read back.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::libc;

use crate::guests::FIRST_INDEX;
use crate::netlink::{Event, Request, Socket};
use crate::world::{HOST, SHIM, World};

/// The mark of its routes.
pub(crate) const PROTOCOL: u8 = 78;

/// The running loop.
pub(crate) struct Floor {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Floor {
    /// Starts it in the host's namespace, through the existing shim.
    pub(crate) fn start(world: &World) -> Result<Floor> {
        let shim = world.index(SHIM)?;
        let (heard, requests) = world
            .host
            .within(|| Ok((Socket::listen(&[libc::RTNLGRP_IPV4_IFADDR], true)?, Socket::open()?)))?;
        heard.patience(Duration::from_millis(100))?;
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while !told.load(Ordering::Relaxed) {
                for event in heard.receive(&mut buffer).context("the floor's events")?.into_iter().flatten() {
                    // The kernel sends the same about the host's own links, which have lower numbers.
                    if let Event::Address { new, address: IpAddr::V4(address), link } = event
                        && link >= FIRST_INDEX
                    {
                        requests.order(match new {
                            true => Request::add_route(shim, address, HOST, PROTOCOL),
                            false => Request::delete_route(shim, address, PROTOCOL),
                        })?;
                    }
                }
            }
            Ok(())
        });
        Ok(Floor { ends, thread })
    }

    /// Ends it, once it has handled all events.
    pub(crate) fn stop(self) -> Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the floor panicked"))?
    }
}
