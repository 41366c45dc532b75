//! A stream of datagrams that the other end sends back. It shows to the millisecond when two ends did not
//! reach each other. A ping each second shows neither that nor a gap of half a second.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::eventually;
use crate::machine::lock;

/// The time between two datagrams.
const INTERVAL: Duration = Duration::from_millis(5);

/// How soon the threads of a stream see that it ends.
const TICK: Duration = Duration::from_millis(100);

/// Datagrams from one socket to another and back, until this value is dropped.
#[derive(Debug)]
pub struct Stream {
    echoes: Arc<Mutex<Vec<Echo>>>,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// A datagram that came back.
#[derive(Clone, Copy, Debug)]
struct Echo {
    sent: SystemTime,
    back: SystemTime,
}

impl Stream {
    /// A socket of the family of an address, in the network namespace of the calling thread
    /// ([`Machine::within`](crate::Machine::within), [`Guest::within`](crate::Guest::within)). It is bound to
    /// no address, so its datagrams take their source from the kernel's routes, as with most programs.
    ///
    /// # Errors
    /// If the family is switched off.
    pub fn socket(address: IpAddr) -> Result<UdpSocket> {
        let any = if address.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
        let socket = UdpSocket::bind((any, 0)).context("a UDP socket")?;
        socket.set_read_timeout(Some(TICK))?;
        Ok(socket)
    }

    /// A socket on the port of another one, for an address that moves from one network namespace to that of
    /// the calling thread: see [`Stream::start_to_any`].
    ///
    /// # Errors
    /// If the port is taken there.
    pub fn twin(socket: &UdpSocket) -> Result<UdpSocket> {
        let twin = UdpSocket::bind(socket.local_addr()?).context("a UDP socket on a port that is given")?;
        twin.set_read_timeout(Some(TICK))?;
        Ok(twin)
    }

    /// Starts to send every 5 ms `from` one socket `to` another, which is at this address.
    ///
    /// # Errors
    /// If a socket is not of [`Stream::socket`].
    pub fn start(from: UdpSocket, to: UdpSocket, address: impl Into<IpAddr>) -> Result<Stream> {
        Stream::start_to_any(from, vec![to], address)
    }

    /// Starts to send every 5 ms `from` one socket to an address that several may have one after the other,
    /// each with a [`Stream::twin`] of the first.
    ///
    /// # Errors
    /// If there is none, or one is not of [`Stream::socket`].
    pub fn start_to_any(from: UdpSocket, to: Vec<UdpSocket>, address: impl Into<IpAddr>) -> Result<Stream> {
        let port = to.first().context("nobody to send to")?.local_addr()?.port();
        let target = SocketAddr::new(address.into(), port);
        let (echoes, end) = (Arc::<Mutex<Vec<Echo>>>::default(), Arc::<AtomicBool>::default());
        let listener = from.try_clone()?;
        let mut threads: Vec<JoinHandle<()>> =
            to.into_iter().map(|to| until_end(&end, move || echo_one(&to))).collect();
        threads.extend([
            until_end(&end, {
                let echoes = Arc::clone(&echoes);
                move || {
                    let echo = receive_one(&listener);
                    lock(&echoes).extend(echo);
                }
            }),
            until_end(&end, move || send_one(&from, target)),
        ]);
        Ok(Stream { echoes, end, threads })
    }

    /// Waits until a datagram has come back that was sent after `moment`.
    ///
    /// # Errors
    /// If none did within `within`.
    pub fn wait(&self, moment: SystemTime, within: Duration) -> Result<()> {
        eventually(within, || {
            let through = lock(&self.echoes).iter().rev().any(|echo| echo.sent > moment);
            through.then_some(()).context("nothing comes back")
        })
    }

    /// The longest time after `moment` without a datagram that came back, so far. About 5 ms means no gap at
    /// all.
    #[must_use]
    pub fn silence(&self, moment: SystemTime) -> Duration {
        let mut longest = Duration::ZERO;
        let mut since = moment;
        for echo in lock(&self.echoes).iter() {
            // A datagram from before the moment only shows when the silence began.
            longest = longest.max(echo.back.duration_since(since).unwrap_or_default());
            since = since.max(echo.back);
        }
        longest
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic of one of them has already been shown.
            let _ = thread.join();
        }
    }
}

fn until_end(end: &Arc<AtomicBool>, mut work: impl FnMut() + Send + 'static) -> JoinHandle<()> {
    let end = Arc::clone(end);
    std::thread::spawn(move || {
        while !end.load(Ordering::Relaxed) {
            work();
        }
    })
}

fn send_one(socket: &UdpSocket, target: SocketAddr) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Without a route it cannot leave, and is lost like any other.
    let _ = socket.send_to(&now.as_nanos().to_be_bytes(), target);
    std::thread::sleep(INTERVAL);
}

fn receive_one(socket: &UdpSocket) -> Option<Echo> {
    let mut datagram = [0; 16];
    let length = socket.recv(&mut datagram).ok()?;
    let back = SystemTime::now();
    let sent = u64::try_from(u128::from_be_bytes(datagram)).ok().filter(|_| length == datagram.len())?;
    Some(Echo { sent: SystemTime::UNIX_EPOCH + Duration::from_nanos(sent), back })
}

fn echo_one(socket: &UdpSocket) {
    let mut datagram = [0; 16];
    if let Ok((length, from)) = socket.recv_from(&mut datagram) {
        let _ = socket.send_to(&datagram[..length], from);
    }
}
