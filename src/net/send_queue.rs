//! The bytes that a connection has to send, as buffers in the order in which they leave.
//!
//! Invariant: no buffer in `whole` is empty, and the bytes in `whole` leave before those in `last`.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};

use crate::node::buffers;

/// The bytes of one connection that are encoded and not written to its socket yet.
#[derive(Debug, Default)]
pub struct SendQueue {
    /// Complete buffers, to which nothing is appended.
    whole: VecDeque<BytesMut>,
    whole_bytes: usize,
    last: BytesMut,
}

impl SendQueue {
    /// The number of bytes that wait to be sent.
    pub fn len(&self) -> usize {
        self.whole_bytes + self.last.len()
    }

    /// The memory of the waiting bytes, with the spare capacity of the last buffer.
    pub fn held_bytes(&self) -> usize {
        self.whole_bytes + self.last.capacity()
    }

    /// Whether no bytes wait to be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last buffer of the queue, to append to. If it has no capacity, it first gets a spare
    /// buffer of the worker.
    pub fn end(&mut self) -> &mut BytesMut {
        buffers::fill(&mut self.last);
        &mut self.last
    }

    /// Appends complete buffers behind all bytes that wait to be sent.
    pub fn add(&mut self, buffers: VecDeque<BytesMut>) {
        let last = std::mem::take(&mut self.last);
        let added = [last].into_iter().chain(buffers).filter(|buffer| !buffer.is_empty());
        for buffer in added {
            self.whole_bytes += buffer.len();
            self.whole.push_back(buffer);
        }
    }

    /// The bytes that are sent next. Empty only if no bytes wait.
    pub fn front(&self) -> &[u8] {
        self.whole.front().unwrap_or(&self.last)
    }

    /// Removes the first `bytes` bytes of [`Self::front`], which the socket has taken.
    pub fn advance(&mut self, bytes: usize) {
        let Some(front) = self.whole.front_mut() else {
            self.last.advance(bytes);
            return;
        };
        front.advance(bytes);
        self.whole_bytes -= bytes;
        if front.is_empty()
            && let Some(mut front) = self.whole.pop_front()
        {
            buffers::empty(&mut front);
        }
    }

    /// Gives the last buffer back to the worker's spare buffers if it is empty, so that an idle
    /// connection holds none.
    pub fn settle(&mut self) {
        if self.last.is_empty() {
            buffers::empty(&mut self.last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let mut output = SendQueue::default();
        output.end().extend_from_slice(b"a");
        output.add(VecDeque::from([buffer(b"bcd"), buffer(b""), buffer(b"ef")]));
        output.end().extend_from_slice(b"g");
        output.end().extend_from_slice(b"h");
        assert_eq!(output.len(), 8);
        let mut left = Vec::new();
        while !output.is_empty() {
            let bytes = output.front().len().min(2);
            left.extend_from_slice(&output.front()[..bytes]);
            output.advance(bytes);
            output.settle();
        }
        assert_eq!(left, b"abcdefgh");
        assert!(output.front().is_empty());
    }
}
