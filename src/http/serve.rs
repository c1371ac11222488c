//! HTTP connections on the cores: each is served where it was put, by hyper.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tracing::debug;

use crate::limits::FRAME_TIMEOUT_MS;

/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Serves one connection until it ends, or until `stop` and the request under way is answered.
pub async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Covers both a slow head and a connection that is kept alive without a request.
        .header_read_timeout(Duration::from_millis(FRAME_TIMEOUT_MS))
        .max_buf_size(HEAD_BYTES_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stop.wait_for(|stop| *stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "an HTTP connection ended");
    }
}
