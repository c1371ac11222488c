//! A request of so many bytes that its core would be held by decoding it: that is done aside, and what else can be.
//!
//! Invariant: nothing behind it on its connection is taken before it, so the order is as sent.

use std::future::pending;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::oneshot;

use crate::command::{Command, Error};
use crate::limits::REQUEST_BYTES_MAX;
use crate::node::Work;
use crate::node::worker::Local;
use crate::protocol::fast_path::{self, FastRequest};
use crate::protocol::{RefusedRequest, Request, decode_request, frame};
use crate::types::KeyHasher;

/// Most bytes of a request that its core decodes itself.
const BYTES_MAX: usize = 32 << 10;

/// What came of decoding a request.
pub struct Decoded {
    /// Its id and what it asks, or why that is nothing.
    pub request: Result<(u64, Work), RefusedRequest>,
    /// When it was read.
    pub started: Instant,
    /// Its bytes, without the length.
    pub bytes: usize,
}

impl Decoded {
    /// Decodes a payload; `prepare` is what else is done with its command here.
    pub fn of(payload: &[u8], started: Instant, prepare: impl FnOnce(Command) -> Work) -> Self {
        let request = decode_request(payload);
        let request = request.map(|Request { id, command }| (id, prepare(command)));
        Self { request, started, bytes: payload.len() }
    }

    /// What stands for one whose decoding panicked: only a defect leads to it.
    fn failed() -> Self {
        let error = Error::not_applied("the request could not be decoded");
        Self {
            request: Err(RefusedRequest { id: None, kind: None, error }),
            started: Instant::now(),
            bytes: 0,
        }
    }
}

/// Whether a request is for this module. One in a plain form, `hot`, is not: that is read as it lies.
pub fn is_large(payload: &[u8], hot: Option<&FastRequest<'_>>) -> bool {
    payload.len() > BYTES_MAX && hot.is_none()
}

/// Takes the first frame of `input` if it is whole and large.
fn first(input: &mut BytesMut, hasher: KeyHasher) -> Option<Bytes> {
    let payload = frame::first(input, REQUEST_BYTES_MAX).ok().flatten()?;
    let hot = fast_path::read(payload, hasher);
    let bytes = is_large(payload, hot.as_ref()).then_some(payload.len())?;
    input.advance(frame::HEADER_BYTES);
    Some(input.split_to(bytes).freeze())
}

/// At most one such request of a connection, until it is taken.
#[derive(Default)]
pub enum OffloadedRequest {
    /// There is none.
    #[default]
    None,
    /// It is being decoded.
    Under(oneshot::Receiver<Decoded>),
    /// It is. (In a place of its own: a connection is no larger for what it nearly never has.)
    Done(Box<Decoded>),
}

impl OffloadedRequest {
    /// How many there are: none or one.
    pub fn count(&self) -> usize {
        usize::from(!matches!(self, Self::None))
    }

    /// Has the first frame of `input` decoded, if it is whole and large. There must be none yet.
    pub fn begin(
        &mut self,
        input: &mut BytesMut,
        hasher: KeyHasher,
        started: Instant,
        local: &Local,
    ) {
        if let Some(payload) = first(input, hasher) {
            let node = local.node();
            let shards = node.shards;
            let prepare = move |command| Work::prepare(command, hasher, shards);
            let decode = move || Decoded::of(&payload, started, prepare);
            *self = Self::Under(node.aside.begin(decode));
        }
    }

    /// Waits until it is decoded; for ever where nothing is under way.
    pub async fn done(&mut self) {
        let Self::Under(under) = self else { return pending().await };
        *self = Self::Done(Box::new(under.await.unwrap_or_else(|_| Decoded::failed())));
    }

    /// What came of it, if it is done.
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
