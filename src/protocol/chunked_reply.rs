//! Encodes the reply to a long list in slices, so that the worker serves other connections in
//! between.
//!
//! The reply is kept in several buffers of a common size. The allocator would get a buffer of
//! megabytes from the operating system and return it each time, which blocks a worker for
//! milliseconds.
//!
//! Invariants:
//! - The buffers together are byte for byte what `encode_reply` writes.
//! - No byte is sent before the reply is complete: only then is it known to fit into a frame.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::fast_path::ReplyFrame;
use super::frame::{self, HEADER_BYTES};
use super::reply::{STATUS_OK, encode_error, too_large, write_head};
use crate::command::Kind;
use crate::command::list::{ListReply, ListRow};
use crate::command::list_writer::ListSlices;
use crate::limits::{REPLY_BYTES_MAX, SCAN_ROWS};

/// A buffer that holds this many bytes gets no further slice; the next slice begins a new one.
const FULL_BYTES: usize = 64 << 10;
/// Capacity of a buffer. It exceeds [`FULL_BYTES`] by enough for the last slice.
const BUFFER_BYTES: usize = 2 * FULL_BYTES;

/// A reply to `list` that is being encoded: the rows still to come, and the finished buffers.
#[derive(Debug)]
pub struct ChunkedReply {
    id: u64,
    slices: ListSlices,
    /// Memory of all rows in bytes. It counts as held until the last row is encoded.
    rows_bytes: usize,
    full: VecDeque<BytesMut>,
    full_bytes: usize,
    last: BytesMut,
}

impl ChunkedReply {
    /// Whether a list has more rows than one slice. Only then is it worth several turns.
    pub fn is_for(list: &ListReply) -> bool {
        list.items.len() > SCAN_ROWS
    }

    /// Begins to encode a list: writes what stands before the first row.
    pub fn begin(id: u64, list: ListReply) -> Self {
        let mut last = BytesMut::with_capacity(BUFFER_BYTES);
        last.extend_from_slice(&[0; HEADER_BYTES]);
        write_head(id, STATUS_OK, &mut last);
        let rows_bytes = list.items.capacity() * size_of::<ListRow>();
        let slices = ListSlices::new(list);
        Self { id, slices, rows_bytes, full: VecDeque::new(), full_bytes: 0, last }
    }

    /// Bytes of memory that the rows and the encoded buffers take.
    pub fn held_bytes(&self) -> usize {
        self.rows_bytes + self.full_bytes + self.last.capacity()
    }

    /// Encodes the next slice. Returns how many bytes it has, and whether more slices follow.
    /// `fill` may give a new, empty buffer the memory of a buffer that is no longer used.
    pub fn go_on(&mut self, fill: impl FnOnce(&mut BytesMut)) -> (usize, bool) {
        if self.last.len() >= FULL_BYTES {
            let full = std::mem::take(&mut self.last);
            self.full_bytes += full.len();
            self.full.push_back(full);
            fill(&mut self.last);
            self.last.reserve(BUFFER_BYTES);
        }
        let before = self.last.len();
        let mut part = ReplyFrame::part(&mut self.last);
        let more = self.slices.write_slice(&mut part);
        part.end_part();
        let fits = self.full_bytes + self.last.len() <= REPLY_BYTES_MAX;
        (self.last.len() - before, more && fits)
    }

    /// Completes the reply and returns its frame. If that would be too large, returns the frame of
    /// an error 413.
    pub fn finish(self) -> VecDeque<BytesMut> {
        let Self { id, full: mut buffers, full_bytes, last, .. } = self;
        let bytes = (full_bytes + last.len()).saturating_sub(HEADER_BYTES);
        buffers.push_back(last);
        let first = buffers.front_mut().and_then(|first| first.first_chunk_mut());
        match (frame::header(bytes, REPLY_BYTES_MAX), first) {
            (Ok(header), Some(place)) => *place = header,
            (Ok(_), None) => debug_assert!(false, "the first buffer has room for the length"),
            (Err(error), _) => {
                let mut out = BytesMut::new();
                encode_error(id, &too_large(Kind::List, error), &mut out);
                buffers = VecDeque::from([out]);
            }
        }
        buffers
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode_reply;
    use super::*;
    use crate::command::Reply;
    use crate::types::{ChatId, Flag, Sequence, TimeMs};

    fn list(rows: usize, id_bytes: usize) -> ListReply {
        let row = |number: usize| ListRow {
            chat_id: ChatId::new(&format!("{number:->id_bytes$}")).unwrap(),
            is_top: Flag(number.is_multiple_of(3)),
            is_mute: Flag::NO,
            is_show: Flag::YES,
            is_hide: Flag::NO,
            max_read_seq: Sequence::new(u64::try_from(number).unwrap() << (number % 35)).unwrap(),
            last_online_time: TimeMs::ZERO,
        };
        let next_cursor = (rows % 2 == 1).then(|| "n17".to_owned());
        ListReply { items: (0..rows).map(row).collect(), next_cursor }
    }

    fn at_once(list: ListReply) -> BytesMut {
        let mut whole = BytesMut::new();
        encode_reply(9, &Ok(Reply::List(list)), &mut whole);
        whole
    }

    /// Encodes a list in slices. Returns the number of slices, and the bytes of all of them.
    fn in_slices(list: ListReply) -> (usize, Vec<u8>) {
        let mut long = ChunkedReply::begin(9, list);
        let slices = 1 + std::iter::from_fn(|| long.go_on(|_| ()).1.then_some(())).count();
        let buffers = long.finish();
        assert!(buffers.iter().all(|buffer| buffer.capacity() <= 2 * BUFFER_BYTES));
        (slices, buffers.iter().flatten().copied().collect())
    }

    #[test]
    fn slices_make_up_what_is_encoded_at_once() {
        for rows in [SCAN_ROWS + 1, 3 * SCAN_ROWS, 70_000] {
            let whole = at_once(list(rows, 20));
            let (slices, bytes) = in_slices(list(rows, 20));
            assert_eq!(slices, rows.div_ceil(SCAN_ROWS));
            assert!(bytes == whole, "{rows} rows");
        }
    }

    #[test]
    fn what_is_too_large_is_told_and_not_encoded_to_its_end() {
        let rows = 2 * REPLY_BYTES_MAX / 128;
        let whole = at_once(list(rows, 128));
        let (slices, bytes) = in_slices(list(rows, 128));
        assert!(slices < rows / SCAN_ROWS * 3 / 4, "{slices} slices of {rows} rows");
        // Both replies are the error 413, but its text names another size. The sliced reply stops
        // early, and names what it had encoded.
        assert_eq!(bytes[..20], whole[..20]);
    }

    #[test]
    fn a_slice_is_not_long() {
        assert!(!ChunkedReply::is_for(&list(SCAN_ROWS, 20)));
        assert!(ChunkedReply::is_for(&list(SCAN_ROWS + 1, 20)));
    }
}
