//! A relay between a client and a server on unix sockets, whose connections can be cut or disturbed.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::{Shutdown as How, shutdown};

use crate::machine::lock;

/// How often held data is looked at.
const TICK: Duration = Duration::from_millis(10);

/// Passes data on, both ways, for each connection to its socket. Ends when it is dropped. The socket's file
/// stays, as after a server that was killed.
#[derive(Debug)]
pub struct Relay {
    listener: UnixListener,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// The way in which a relay disturbs its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// All data is passed on this much later.
    Delay(Duration),
    /// Nothing is passed on.
    Silence,
    /// A request for the instances is answered with an error.
    Errors,
}

#[derive(Debug, Default)]
struct Shared {
    open: Mutex<Vec<UnixStream>>,
    /// With the time of its end.
    trouble: Mutex<Option<(Trouble, Instant)>>,
    ended: AtomicBool,
}

impl Relay {
    /// Listens at `socket` on behalf of the server that listens at `server`.
    ///
    /// # Errors
    /// If there is something at `socket`.
    pub fn start(socket: &Path, server: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket).with_context(|| socket.display().to_string())?;
        let (shared, server) = (Arc::new(Shared::default()), server.to_owned());
        let (accepts, of_thread) = (listener.try_clone()?, Arc::clone(&shared));
        let accepting = std::thread::spawn(move || {
            while let Ok((client, _)) = accepts.accept() {
                // The relay hangs up on a client of a server that is away.
                let _ = join(client, &server, &of_thread);
            }
        });
        Ok(Self { listener, shared, accepting: Some(accepting) })
    }

    /// Ends all connections without a word, and returns how many there were. New ones are passed on.
    pub fn cut(&self) -> usize {
        let mut open = lock(&self.shared.open);
        open.drain(..).filter(|stream| stream.shutdown(Shutdown::Both).is_ok()).count() / 2
    }

    /// Disturbs all connections from now on, for this long, in place of any earlier trouble.
    pub fn trouble(&self, trouble: Trouble, time: Duration) {
        *lock(&self.shared.trouble) = Some((trouble, Instant::now() + time));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // It may be impossible to connect by now, because the machine may have ended before.
        let _ = shutdown(self.listener.as_raw_fd(), How::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        self.cut();
    }
}

impl Shared {
    fn trouble(&self) -> Option<Trouble> {
        let trouble = *lock(&self.trouble);
        trouble.filter(|(_, over)| *over > Instant::now()).map(|(trouble, _)| trouble)
    }

    /// Waits as long as data must be held back.
    fn hold_back(&self) {
        if let Some(Trouble::Delay(time)) = self.trouble() {
            std::thread::sleep(time);
        }
        while self.trouble() == Some(Trouble::Silence) && !self.ended.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
        }
    }
}

fn join(client: UnixStream, server: &Path, shared: &Arc<Shared>) -> io::Result<()> {
    let server = UnixStream::connect(server)?;
    lock(&shared.open).extend([client.try_clone()?, server.try_clone()?]);
    pass(client.try_clone()?, server.try_clone()?, shared, true);
    pass(server, client, shared, false);
    Ok(())
}

fn pass(mut from: UnixStream, mut to: UnixStream, shared: &Arc<Shared>, requests: bool) {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let _ = copy(&mut from, &mut to, &shared, requests);
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    });
}

fn copy(from: &mut UnixStream, to: &mut UnixStream, shared: &Shared, requests: bool) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let piece = match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => &buffer[..length],
        };
        shared.hold_back();
        // A client writes a request in one piece.
        let is_refused = requests && piece.starts_with(b"GET /1.0/instances");
        if is_refused && shared.trouble() == Some(Trouble::Errors) {
            from.write_all(ERROR)?;
        } else {
            to.write_all(piece)?;
        }
    }
}

/// As LXD and Incus answer when their database is busy.
const ERROR: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n\
Content-Length: 90\r\n\r\n\
{\"type\":\"error\",\"status\":\"\",\"status_code\":0,\"error_code\":500,\"error\":\"database is locked\"}";
