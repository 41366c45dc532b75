//! The socket for metrics that systemd passes to us, if somebody has enabled `macvlan-shimd-metrics.socket`.
//! We make no such socket ourselves, and the unit forbids it.
//!
//! Whoever can connect may read the metrics and nothing else. Connections are as few, as short-lived and as
//! small as those at the control socket, and have places of their own, so they keep nobody there waiting.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::connection::{CONNECTIONS, DEADLINE, PAUSE, connection};
use super::peer::Asker;
use super::router::Router;
use crate::daemon::publishers::ReportReader;

/// The socket that systemd has passed to this process; `None` if it has not. Must be called within a tokio
/// runtime, once and early, because it takes systemd's variables out of the environment.
///
/// # Errors
///
/// Something other than one listening TCP socket was passed.
pub fn passed_listener() -> io::Result<Option<tokio::net::TcpListener>> {
    let mut passed = ListenFd::from_env();
    if passed.len() > 1 {
        return Err(io::Error::other(format!(
            "{} sockets were passed, and there is a use for one",
            passed.len()
        )));
    }
    passed.take_tcp_listener(0)?.map(listening).transpose()
}

fn listening(socket: TcpListener) -> io::Result<tokio::net::TcpListener> {
    socket.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(socket)
}

/// Serves the metrics until it is dropped.
pub async fn serve_metrics(listener: tokio::net::TcpListener, reports: ReportReader) {
    serve_within(DEADLINE, listener, reports).await;
}

async fn serve_within(deadline: Duration, listener: tokio::net::TcpListener, reports: ReportReader) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let router = Arc::new(Router::of_metrics(reports));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // Nobody is turned away. Others wait in the kernel's queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = Arc::clone(&router);
                connections.spawn(async move {
                    let _place = place;
                    connection(stream, deadline, router, async { Asker::Member }).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::daemon::publisher::channel;
    use crate::report::Report;

    /// A daemon that serves metrics as at an inherited socket.
    struct Metrics {
        address: SocketAddr,
        _tasks: JoinSet<()>,
    }

    impl Metrics {
        fn start(deadline: Duration) -> Metrics {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            let (mut publisher, reader) = channel();
            let mut tasks = JoinSet::new();
            tasks.spawn(serve_within(deadline, listening(socket).unwrap(), reader));
            tasks.spawn(async move {
                loop {
                    publisher.asked().await;
                    publisher.answer(Instant::now(), |()| Arc::<Report>::default());
                }
            });
            Metrics { address, _tasks: tasks }
        }

        async fn get(&self, path: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: d\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }
    }

    #[tokio::test]
    async fn only_the_metrics_are_served() {
        let metrics = Metrics::start(DEADLINE);
        let answer = metrics.get("/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
        assert!(answer.contains("\nmacvlan_shim_ready 0\n"), "{answer}");
        for path in ["/1.0", "/1.0/status", "/"] {
            let answer = metrics.get(path).await;
            assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
            assert!(answer.contains(&format!("there is no {path}; there is /metrics")), "{answer}");
        }
    }

    #[tokio::test]
    async fn silent_peers_only_delay_others_until_their_deadline() {
        let deadline = Duration::from_millis(300);
        let metrics = Metrics::start(deadline);
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(TcpStream::connect(metrics.address).await.unwrap());
        }
        let began = Instant::now();
        let answer = metrics.get("/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(began.elapsed() >= deadline / 2, "more were served at once than should be");
    }
}
