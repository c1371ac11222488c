//! What one core sends another on the fast path: many requests, or the replies to them, as bytes.

use std::ops::Range;

use bytes::BytesMut;

use crate::shard::op::ReplyTo;

/// Requests of one core to another, or the replies to them. Each request or reply is a part of
/// `bytes`.
#[derive(Debug, Default)]
pub struct FrameBatch {
    /// The parts, one behind the other.
    pub(super) bytes: BytesMut,
    /// For each part: where its reply goes, and where the part ends in `bytes`.
    pub(super) parts: Vec<(ReplyTo, usize)>,
}

impl FrameBatch {
    /// Whether the batch has no part.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Appends the bytes of a request as a part. Its reply goes to `to`.
    pub(super) fn add(&mut self, to: ReplyTo, part: &[u8]) {
        self.bytes.extend_from_slice(part);
        self.end_part(to);
    }

    /// Ends a part: the bytes that were appended since the last part. Its reply goes to `to`.
    pub(super) fn end_part(&mut self, to: ReplyTo) {
        self.parts.push((to, self.bytes.len()));
    }

    /// The parts, each with the address where its reply goes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ReplyTo, &[u8])> {
        spans(&self.parts).map(|(to, span)| (to, self.bytes.get(span).unwrap_or_default()))
    }
}

/// Where each part is in the bytes of a frame batch.
pub(super) fn spans(parts: &[(ReplyTo, usize)]) -> impl Iterator<Item = (ReplyTo, Range<usize>)> {
    let mut start = 0;
    parts.iter().map(move |&(to, end)| (to, std::mem::replace(&mut start, end)..end))
}
