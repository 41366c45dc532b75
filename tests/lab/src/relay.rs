//! Something between a client and a server on unix sockets that can be cut.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use crate::machine::lock;

/// Passes on what comes, both ways, for each connection to its socket. Ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    socket: PathBuf,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    open: Mutex<Vec<UnixStream>>,
    ended: AtomicBool,
}

impl Relay {
    /// Listens at `socket` for the one that listens at `server`.
    ///
    /// # Errors
    /// If there is something at `socket`.
    pub fn start(socket: &Path, server: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket).with_context(|| socket.display().to_string())?;
        let (shared, server) = (Arc::new(Shared::default()), server.to_owned());
        let of_thread = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if of_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                // A client of a server that is away is hung up on.
                let _ = join(client, &server, &of_thread);
            }
        });
        Ok(Self { socket: socket.to_owned(), shared, accepting: Some(accepting) })
    }

    /// Ends all connections without a word, and says how many there were. New ones are passed on.
    pub fn cut(&self) -> usize {
        let mut open = lock(&self.shared.open);
        open.drain(..).filter(|stream| stream.shutdown(Shutdown::Both).is_ok()).count() / 2
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = UnixStream::connect(&self.socket);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        self.cut();
    }
}

fn join(client: UnixStream, server: &Path, shared: &Shared) -> io::Result<()> {
    let server = UnixStream::connect(server)?;
    lock(&shared.open).extend([client.try_clone()?, server.try_clone()?]);
    pass(client.try_clone()?, server.try_clone()?);
    pass(server, client);
    Ok(())
}

fn pass(mut from: UnixStream, mut to: UnixStream) {
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    });
}
