//! What one core sends another on the fast path: many requests, or the replies to them, as bytes.

use std::ops::Range;

use bytes::BytesMut;

use crate::shard::op::ReplyTo;

/// Requests of one core to another, or the replies to them: bytes, and where each part of them
/// ends.
#[derive(Debug, Default)]
pub struct FrameBatch {
    /// The parts, one after the other.
    pub(super) bytes: BytesMut,
    /// For each part the address that its reply goes to, and its end in `bytes`.
    pub(super) parts: Vec<(ReplyTo, usize)>,
}

impl FrameBatch {
    /// Whether it has no part.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Appends the bytes of a request, to be answered to `to`.
    pub(super) fn add(&mut self, to: ReplyTo, part: &[u8]) {
        self.bytes.extend_from_slice(part);
        self.end_part(to);
    }

    /// Makes the bytes that were appended since the last part the next part.
    pub(super) fn end_part(&mut self, to: ReplyTo) {
        self.parts.push((to, self.bytes.len()));
    }

    /// The parts, each with the address that its reply goes to.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ReplyTo, &[u8])> {
        spans(&self.parts).map(|(to, span)| (to, self.bytes.get(span).unwrap_or_default()))
    }
}

/// The span of each part among the bytes of a frame batch.
pub(super) fn spans(parts: &[(ReplyTo, usize)]) -> impl Iterator<Item = (ReplyTo, Range<usize>)> {
    let mut start = 0;
    parts.iter().map(move |&(to, end)| (to, std::mem::replace(&mut start, end)..end))
}
