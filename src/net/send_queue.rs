//! What a connection has to send: buffers, in the order in which they leave.
//!
//! Invariant: none of the whole ones is empty, and they leave before what is written behind them.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};

use crate::node::buffers;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct SendQueue {
    /// Buffers that are added to no more.
    whole: VecDeque<BytesMut>,
    whole_bytes: usize,
    last: BytesMut,
}

impl SendQueue {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.whole_bytes + self.last.len()
    }

    /// Bytes that they take.
    pub fn held_bytes(&self) -> usize {
        self.whole_bytes + self.last.capacity()
    }

    /// Whether none do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer at the end, to write to.
    pub fn end(&mut self) -> &mut BytesMut {
        buffers::fill(&mut self.last);
        &mut self.last
    }

    /// Adds buffers behind all that is there.
    pub fn add(&mut self, buffers: VecDeque<BytesMut>) {
        let last = std::mem::take(&mut self.last);
        let added = [last].into_iter().chain(buffers).filter(|buffer| !buffer.is_empty());
        for buffer in added {
            self.whole_bytes += buffer.len();
            self.whole.push_back(buffer);
        }
    }

    /// What leaves next; empty only if nothing waits.
    pub fn front(&self) -> &[u8] {
        self.whole.front().unwrap_or(&self.last)
    }

    /// So many bytes of [`Self::front`] have left.
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

    /// Gives back the room of what has left.
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
