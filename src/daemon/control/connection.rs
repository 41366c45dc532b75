//! One connection, and its bounds.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::events;
use super::peer::Asker;
use super::router::Router;

/// Maximum number of connections that are served at once: of root, of other users, and at a socket for
/// metrics. Root's and those for metrics wait in the kernel's queue for their turn. Other users' are turned
/// away, so they cannot keep root waiting.
pub(super) const CONNECTIONS: usize = 16;
/// How long a connection may take in all, even if its peer does not read.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// Maximum size of the head of a request, in bytes. Hyper allows no smaller one.
pub(super) const HEAD: usize = 8192;
/// How long to wait if the kernel has no file descriptor for us.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// Serves a connection of somebody. A stream may take its own time.
pub(super) async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    deadline: Duration,
    router: Arc<Router>,
    asker: impl Future<Output = Asker>,
) {
    let is_stream = Arc::new(AtomicBool::new(false));
    let served = async {
        let asker = asker.await;
        let service = service_fn(|request| {
            let (router, is_stream) = (Arc::clone(&router), Arc::clone(&is_stream));
            async move {
                let answer = router.answer(request, asker).await;
                is_stream.store(answer.size_hint().exact().is_none(), Ordering::Relaxed);
                Ok::<_, Infallible>(answer)
            }
        });
        http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .await
    };
    let mut served = pin!(served);
    let mut end = tokio::time::timeout(deadline, &mut served).await;
    if end.is_err() && is_stream.load(Ordering::Relaxed) {
        end = tokio::time::timeout(events::STREAM, served).await;
    }
    match end {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a control connection failed"),
        Err(_) => tracing::debug!("a control connection took too long"),
    }
}
