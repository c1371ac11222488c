//! Gives a request whose head hyper cannot parse an answer in the envelope, in place of hyper's
//! empty one.
//!
//! hyper answers such a request before this program sees it. So the socket looks for hyper's answer
//! by its form: a failure with an empty body. No answer of this program has that form.
//!
//! Invariant: the bytes of all other answers pass unchanged.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::envelope::{Failure, whole_answer};

/// hyper's own answers have fewer bytes than this.
const EMPTY_ANSWER_BYTES_MAX: usize = 256;

/// A socket that replaces hyper's empty answers by the envelope.
pub(super) struct WithLastWords<S> {
    socket: S,
    /// The answer that is sent in place of hyper's.
    words: Vec<u8>,
    sent: usize,
}

impl<S> WithLastWords<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, words: Vec::new(), sent: 0 }
    }
}

impl<S: AsyncWrite + Unpin> WithLastWords<S> {
    /// If `bytes` is hyper's own answer, puts one in the envelope in its place. Returns whether it
    /// did.
    fn replaces(&mut self, bytes: &[u8]) -> bool {
        let Some(failure) = unread_head(bytes) else { return false };
        self.words = whole_answer(&failure);
        true
    }

    fn poll_words(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.words.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut self.socket).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        Poll::Ready(Ok(()))
    }
}

/// The failure that hyper answered with; `None` if `bytes` is not hyper's own answer.
fn unread_head(bytes: &[u8]) -> Option<Failure> {
    let status = bytes
        .strip_prefix(b"HTTP/1.1 4")
        .filter(|_| bytes.len() < EMPTY_ANSWER_BYTES_MAX && bytes.ends_with(b"\r\n\r\n"))?;
    let text = std::str::from_utf8(bytes).ok()?;
    let has = |name: &str| text.lines().any(|line| line.starts_with(name));
    if !has("content-length: 0") || has("cache-control") {
        return None;
    }
    let (status, message) = match status.first_chunk()? {
        b"14" => (StatusCode::URI_TOO_LONG, "the request's target is too long"),
        b"31" => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the request's head is too large: at most 64 KiB and 100 headers",
        ),
        b"00" => (
            StatusCode::BAD_REQUEST,
            "the request's head cannot be read: this door takes requests of HTTP/1.1",
        ),
        _ => return None,
    };
    Some(Failure::new(status, message))
}

impl<S: AsyncRead + Unpin> AsyncRead for WithLastWords<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithLastWords<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.replaces(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper's answer has no body, so hyper writes it as one part.
        if let [bytes] = parts
            && self.replaces(bytes)
        {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_words(context))?;
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_words(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
