//! Serves HTTP connections with hyper. Each is served on the thread that calls [`connection`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;
use tracing::debug;

use super::flow::{Flow, Paced};
use super::head::{self, Hosts};
use super::unreadable_head::WithLastWords;
use super::visitor::{self, Visitor};
use crate::admission::{Budget, Guest};
use crate::limits::FRAME_TIMEOUT_MS;

/// Largest head of a request (its first line and its headers), in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The settings and budgets that all connections of an HTTP door share.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The budget for incomplete requests, which the TCP door uses too.
    pub incomplete: Arc<Budget>,
    /// The budget for answers that clients of the HTTP doors have not read.
    pub unread: Arc<Budget>,
    /// A read needs one of these permits until its answer is made, as the answer may be long.
    pub reads: Arc<Semaphore>,
    /// The host names that the door accepts in requests.
    pub hosts: Hosts,
    /// Becomes true when the server stops.
    pub stop: watch::Receiver<bool>,
}

/// Serves one connection until it ends. When the server stops, a request under way is still
/// answered first.
pub async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    router: Router,
    guest: Guest,
    config: ServeConfig,
) {
    let ServeConfig { incomplete, unread, reads, hosts, mut stop } = config;
    let visitor = Visitor::new(guest, incomplete, reads);
    let flow = Flow::new(unread);
    let service = service_fn(|request| answer(request, &router, &hosts, &visitor, &flow));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Limits how long a head may take, and how long a connection may wait for a request.
        .header_read_timeout(Duration::from_millis(FRAME_TIMEOUT_MS))
        .max_buf_size(HEAD_BYTES_MAX);
    let socket = TokioIo::new(WithLastWords::new(Paced::new(stream, flow.clone())));
    let connection = builder.serve_connection(socket, service);
    tokio::pin!(connection);
    let overdue = visitor.overdue();
    tokio::pin!(overdue);
    let ended = tokio::select! {
        ended = flow.in_turns(connection.as_mut()) => ended,
        reason = overdue.as_mut() => return visitor.note_dropped(reason),
        _ = stop.wait_for(|stop| *stop) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = flow.in_turns(connection.as_mut()) => ended,
                reason = overdue.as_mut() => return visitor.note_dropped(reason),
            }
        }
    };
    if let Some(reason) = flow.dropped() {
        visitor.note_dropped(reason);
    }
    if let Err(error) = ended {
        debug!(%error, "an HTTP connection ended");
    }
}

async fn answer(
    mut request: Request<Incoming>,
    router: &Router,
    hosts: &Hosts,
    visitor: &Visitor,
    flow: &Flow,
) -> Result<Response, Infallible> {
    visitor.renew();
    flow.room().await;
    if let Err(failure) = head::check(&request, hosts) {
        if let Some(reason) = failure.refused() {
            visitor.note_refused(reason);
        }
        let mut response = failure.into_response();
        // If the head can be read in two ways, it is unclear where the next request begins.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(response);
    }
    request.extensions_mut().insert(visitor.clone());
    let response = router.clone().oneshot(request).await?;
    visitor.renew();
    let bytes = response.body().size_hint().lower();
    if flow.admit(usize::try_from(bytes).unwrap_or(usize::MAX)) {
        Ok(response)
    } else {
        visitor.note_withheld();
        Ok(visitor::unread().into_response())
    }
}
