//! The bytes that a user sends to the control socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use macvlan_shim::daemon::control::serve_one;
use macvlan_shim::daemon::{history, publishers};
use macvlan_shim::model::explanation::Explanations;
use macvlan_shim::report::Report;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Several times the maximum size of a head.
const MOST: usize = 32 << 10;

/// Everything is answered, or the connection ends.
pub(crate) fn requests(said: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { panic!("no runtime") };
    let said = said[..said.len().min(MOST)].to_vec();
    runtime.block_on(async {
        let Ok((mut ours, theirs)) = UnixStream::pair() else { panic!("no sockets") };
        // A stream of events ends at once, because its loop has.
        let (_, past) = history::channel();
        let (mut publishers, readers) = publishers::channels(past);
        let server = tokio::spawn(serve_one(theirs, readers));
        let daemon = tokio::spawn(async move {
            loop {
                publishers.asked().await;
                publishers.reports.answer(Instant::now(), |()| Arc::new(Report::default()));
                publishers.explanations.answer(Instant::now(), |_| Arc::new(Explanations::default()));
            }
        });
        let talk = async {
            // It may hang up before everything is sent.
            let _ = ours.write_all(&said).await;
            let _ = ours.shutdown().await;
            let mut answer = Vec::new();
            let _ = ours.read_to_end(&mut answer).await;
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:?}");
            server.await
        };
        let ended = tokio::time::timeout(Duration::from_secs(5), talk).await;
        assert!(matches!(ended, Ok(Ok(()))), "the server hangs or panicked: {ended:?}");
        daemon.abort();
    });
}
