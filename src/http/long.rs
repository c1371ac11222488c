//! Writes the body of a long answer on the offload thread, in steps, and compressed if the client
//! accepts that.
//!
//! Invariants:
//! - Nothing is sent before the body is complete: only then is it known to be within
//!   [`REPLY_BYTES_MAX`], counted before compression.
//! - Besides the finished body, at most one part and [`PIECE_BYTES`] of text are held, and about
//!   300 KB for the compressor.
//! - Between two steps of [`STEP_BYTES`] the offload thread can do other work.
//! - A body consists of pieces of a common size. The allocator would get one piece of megabytes
//!   from the operating system and return it later, which blocks the worker that frees it.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONTENT_ENCODING, VARY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use super::encoding::Encoding;
use super::envelope::{BY_ENCODING, DATA_BEGINS, DATA_ENDS, Failure, JSON};
use super::envelope::{success_written, with_body};
use crate::command::{Call, Error};
use crate::limits::{COMPRESSED_BYTES_MIN, REPLY_BYTES_MAX};

/// Most bytes of a body that the worker writes itself. A longer one goes to the offload thread,
/// because other connections would wait.
const WORKER_WRITES_MAX: usize = 64 << 10;
/// Capacity of one piece of a body, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes of JSON that one step writes, before the offload thread does other work. To compress them
/// takes some milliseconds.
const STEP_BYTES: usize = 512 << 10;

/// Writes JSON in parts: each call appends the next part to the buffer. Returns whether there is
/// another part.
pub(super) trait Parts:
    FnMut(&mut Vec<u8>) -> serde_json::Result<bool> + Send + 'static
{
}

impl<F: FnMut(&mut Vec<u8>) -> serde_json::Result<bool> + Send + 'static> Parts for F {}

/// Writes short data as a single part.
pub(super) fn whole(data: impl Serialize + Send + 'static) -> impl Parts {
    move |out: &mut Vec<u8>| serde_json::to_writer(out, &data).map(|()| false)
}

/// Whether the worker writes a body of `bytes` bytes itself: it is short, and will not be
/// compressed.
pub(super) fn fits_worker(bytes: usize, encoding: Encoding) -> bool {
    match encoding {
        Encoding::Identity => bytes <= WORKER_WRITES_MAX,
        Encoding::Gzip => bytes < COMPRESSED_BYTES_MIN,
    }
}

/// Makes the answer whose `data` is what `parts` write. The worker or the offload thread writes it,
/// as `bytes_expected` decides.
pub(super) async fn answer(
    store: &impl Call,
    encoding: Encoding,
    bytes_expected: usize,
    mut parts: impl Parts,
) -> Result<Response, Failure> {
    if fits_worker(bytes_expected, encoding) {
        return Ok(success_written(bytes_expected, |out| {
            while parts(out)? {}
            Ok(())
        }));
    }
    answer_offloaded(store, encoding, parts).await
}

/// Makes the answer whose `data` is what `parts` write, on the offload thread. Use it where the
/// length is unknown before.
pub(super) async fn answer_offloaded(
    store: &impl Call,
    encoding: Encoding,
    parts: impl Parts,
) -> Result<Response, Failure> {
    let mut draft = Draft::new(encoding, parts);
    loop {
        let step = store.offload(move || draft.step()).await;
        match step.ok_or_else(|| Failure::internal("the answer broke off"))?? {
            Step::More(more) => draft = more,
            Step::Whole(body) => return Ok(body.into_response()),
        }
    }
}

/// The body of a long answer while it is being written.
struct Draft<P> {
    parts: P,
    /// Text that was not moved into a piece yet.
    text: Vec<u8>,
    text_bytes: usize,
    pieces: Pieces,
    /// The compressor, which then owns the pieces. `None` until text was compressed.
    compressor: Option<Box<GzEncoder<Pieces>>>,
    encoding: Encoding,
}

enum Step<P> {
    More(Draft<P>),
    Whole(Whole),
}

impl<P: Parts> Draft<P> {
    fn new(encoding: Encoding, parts: P) -> Self {
        let mut text = Vec::with_capacity(2 * PIECE_BYTES);
        text.extend_from_slice(DATA_BEGINS);
        let pieces = Pieces::default();
        Self { parts, text, text_bytes: 0, pieces, compressor: None, encoding }
    }

    /// Writes the next [`STEP_BYTES`] of JSON, or what is left.
    fn step(mut self) -> Result<Step<P>, Failure> {
        let end = self.text_bytes + STEP_BYTES;
        while self.text_bytes + self.text.len() < end {
            let more = (self.parts)(&mut self.text).map_err(|error| not_encoded(&error))?;
            if self.text_bytes + self.text.len() + DATA_ENDS.len() > REPLY_BYTES_MAX {
                return Err(too_long());
            }
            if !more {
                return self.finish().map(Step::Whole).map_err(|error| not_encoded(&error));
            }
            if self.text.len() >= PIECE_BYTES {
                self.put_text().map_err(|error| not_encoded(&error))?;
            }
        }
        Ok(Step::More(self))
    }

    /// Moves the text into pieces, through the compressor if the client accepts gzip.
    fn put_text(&mut self) -> io::Result<()> {
        self.text_bytes += self.text.len();
        match self.encoding {
            Encoding::Identity => {
                let room = Vec::with_capacity(2 * PIECE_BYTES);
                self.pieces.push(std::mem::replace(&mut self.text, room));
                Ok(())
            }
            Encoding::Gzip => {
                let pieces = &mut self.pieces;
                let compressor = self.compressor.get_or_insert_with(|| {
                    // A higher level takes several times as long and saves only a tenth of the
                    // bytes.
                    Box::new(GzEncoder::new(std::mem::take(pieces), Compression::fast()))
                });
                compressor.write_all(&self.text)?;
                self.text.clear();
                Ok(())
            }
        }
    }

    fn finish(mut self) -> io::Result<Whole> {
        self.text.extend_from_slice(DATA_ENDS);
        let bytes = self.text_bytes + self.text.len();
        if bytes < COMPRESSED_BYTES_MIN {
            self.encoding = Encoding::Identity;
        }
        self.put_text()?;
        let mut pieces = match self.compressor {
            Some(compressor) => compressor.finish()?,
            None => self.pieces,
        };
        pieces.end();
        let varies = bytes >= COMPRESSED_BYTES_MIN;
        Ok(Whole { pieces, encoding: self.encoding, varies })
    }
}

fn not_encoded(error: &dyn std::fmt::Display) -> Failure {
    Failure::internal(format!("the answer could not be encoded: {error}"))
}

fn too_long() -> Failure {
    let message = format!("the answer has more than {REPLY_BYTES_MAX} bytes; use limit and cursor");
    Error::too_large(message).into()
}

/// The complete body of a long answer.
struct Whole {
    pieces: Pieces,
    encoding: Encoding,
    /// Whether the body's encoding depends on `Accept-Encoding`, as the header `Vary` then says.
    varies: bool,
}

impl Whole {
    fn into_response(self) -> Response {
        let mut response = with_body(StatusCode::OK, JSON, Body::new(self.pieces));
        if self.varies {
            response.headers_mut().insert(VARY, BY_ENCODING);
        }
        if self.encoding == Encoding::Gzip {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// A body in pieces of about [`PIECE_BYTES`].
#[derive(Debug, Default)]
struct Pieces {
    full: VecDeque<Bytes>,
    /// The piece that is being filled.
    last: Vec<u8>,
    bytes: u64,
}

impl Pieces {
    fn push(&mut self, mut piece: Vec<u8>) {
        if piece.len() < piece.capacity() / 2 {
            piece.shrink_to_fit();
        }
        self.bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if piece.len() <= 2 * PIECE_BYTES {
            return self.full.push_back(Bytes::from(piece));
        }
        self.full.extend(piece.chunks(PIECE_BYTES).map(Bytes::copy_from_slice));
    }

    /// Closes the last piece; no bytes may be written after that.
    fn end(&mut self) {
        if !self.last.is_empty() {
            let last = std::mem::take(&mut self.last);
            self.push(last);
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.last.len() + bytes.len() > PIECE_BYTES {
            self.end();
        }
        if self.last.is_empty() {
            self.last.reserve(PIECE_BYTES.max(bytes.len()));
        }
        self.last.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.full.pop_front();
        if let Some(piece) = &piece {
            let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.full.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes)
    }
}
