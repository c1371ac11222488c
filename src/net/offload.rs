//! Large requests, which the offload thread decodes, so that the worker keeps serving other
//! connections. That thread also cuts an import by shards.
//!
//! Invariant: the connection takes no request that follows a large one until the large one is a
//! command. So requests run in the order sent.

use std::future::pending;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::oneshot;

use crate::command::{Command, Error};
use crate::limits::REQUEST_BYTES_MAX;
use crate::node::Work;
use crate::node::worker::LocalWorker;
use crate::protocol::fast_path::{self, PlainRequest};
use crate::protocol::{RefusedRequest, Request, decode_request, frame};
use crate::types::KeyHasher;

/// Most bytes of a request that the worker decodes itself.
const BYTES_MAX: usize = 32 << 10;

/// A decoded request, or the reason why it cannot be decoded.
pub struct Decoded {
    /// The request's id and its work. If it cannot be decoded, the error for the client.
    pub request: Result<(u64, Work), RefusedRequest>,
    /// When the connection read the request; its time in the metrics counts from here.
    pub started: Instant,
    /// The length of the request in bytes, without the frame's header.
    pub bytes: usize,
}

impl Decoded {
    /// Decodes the payload of a frame. `prepare` runs on the calling thread and turns the command
    /// into work.
    pub fn of(payload: &[u8], started: Instant, prepare: impl FnOnce(Command) -> Work) -> Self {
        let request = decode_request(payload);
        let request = request.map(|Request { id, command }| (id, prepare(command)));
        Self { request, started, bytes: payload.len() }
    }

    /// The result for a request whose decoding panicked, which only a defect can cause.
    fn failed() -> Self {
        let error = Error::not_applied("the request could not be decoded");
        Self {
            request: Err(RefusedRequest { id: None, kind: None, error }),
            started: Instant::now(),
            bytes: 0,
        }
    }
}

/// Whether the offload thread decodes the request: it is large, and it is not in the form of the
/// fast path, which reads in place. `request` is that form of it, if it has one.
pub fn is_large(payload: &[u8], request: Option<&PlainRequest<'_>>) -> bool {
    payload.len() > BYTES_MAX && request.is_none()
}

/// Removes the first frame from `input` and returns its payload, if it is whole and large.
fn first(input: &mut BytesMut, hasher: KeyHasher) -> Option<Bytes> {
    let payload = frame::first(input, REQUEST_BYTES_MAX).ok().flatten()?;
    let request = fast_path::read(payload, hasher);
    let bytes = is_large(payload, request.as_ref()).then_some(payload.len())?;
    input.advance(frame::HEADER_BYTES);
    Some(input.split_to(bytes).freeze())
}

/// The large request of a connection. There is at most one at a time.
#[derive(Default)]
pub enum OffloadedRequest {
    /// The connection has no large request now.
    #[default]
    None,
    /// The offload thread is decoding the large request, and sends the result here.
    Under(oneshot::Receiver<Decoded>),
    /// The request is decoded. The box keeps the connection small, as this state is rare.
    Done(Box<Decoded>),
}

impl OffloadedRequest {
    /// The number of large requests, 0 or 1; they count among the requests in flight.
    pub fn count(&self) -> usize {
        usize::from(!matches!(self, Self::None))
    }

    /// Gives the first frame of `input` to the offload thread, if it is whole and large. The caller
    /// ensures that the connection has no other large request.
    pub fn begin(
        &mut self,
        input: &mut BytesMut,
        hasher: KeyHasher,
        started: Instant,
        local: &LocalWorker,
    ) {
        if let Some(payload) = first(input, hasher) {
            let node = local.node();
            let shards = node.shards;
            let prepare = move |command| Work::prepare(command, hasher, shards);
            let decode = move || Decoded::of(&payload, started, prepare);
            *self = Self::Under(node.offload.begin(decode));
        }
    }

    /// Waits until the large request is decoded. Never completes if none is being decoded.
    pub async fn done(&mut self) {
        let Self::Under(under) = self else { return pending().await };
        *self = Self::Done(Box::new(under.await.unwrap_or_else(|_| Decoded::failed())));
    }

    /// Takes the large request, once it is decoded. `None` if there is none, or if it is still
    /// being decoded.
    pub fn take(&mut self) -> Option<Decoded> {
        match std::mem::take(self) {
            Self::Done(decoded) => Some(*decoded),
            other => {
                *self = other;
                None
            }
        }
    }
}
