//! Writes the reply to `list` in any encoding. It writes the whole reply from rows that a shard
//! keeps, or slice by slice from rows that were copied.
//!
//! An encoding is a [`ListEncoder`]. MessagePack is in `protocol::fast_path`, JSON in `http::rows`.

use std::vec::IntoIter;

use super::list::{ListReply, ListRow, ListRowRef};
use crate::limits::SCAN_ROWS;

/// An encoding of the reply to `list`, with the buffer to append to. A new encoder may continue a
/// reply, in the same buffer or in the next one.
pub trait ListEncoder {
    /// Writes what comes before the rows. `rows` is the number of all rows.
    fn begin(&mut self, rows: usize);

    /// Writes the next rows of the list.
    fn rows<'r>(&mut self, rows: impl ExactSizeIterator<Item = ListRowRef<'r>>);

    /// Writes what comes after the rows.
    fn end(&mut self, next_cursor: Option<&str>);
}

/// Writes a reply with all rows of a list.
#[inline(always)]
pub fn write_list<'r>(
    rows: impl ExactSizeIterator<Item = ListRowRef<'r>>,
    encoder: &mut impl ListEncoder,
) {
    encoder.begin(rows.len());
    encoder.rows(rows);
    encoder.end(None);
}

/// A reply to `list` that is written slice by slice, so that a worker can do other work in between.
#[derive(Debug)]
pub struct ListSlices {
    rows: IntoIter<ListRow>,
    has_begun: bool,
    next_cursor: Option<String>,
}

impl ListSlices {
    /// Takes a list. Nothing of it is written yet.
    pub fn new(ListReply { items, next_cursor }: ListReply) -> Self {
        Self { rows: items.into_iter(), has_begun: false, next_cursor }
    }

    /// Writes the next slice of rows. Returns whether there are more.
    pub fn write_slice(&mut self, encoder: &mut impl ListEncoder) -> bool {
        if !std::mem::replace(&mut self.has_begun, true) {
            encoder.begin(self.rows.len());
        }
        let slice = self.rows.len().min(SCAN_ROWS);
        let rows = self.rows.as_slice().iter().take(slice);
        encoder.rows(rows.map(|row| row.with_id(&row.chat_id)));
        self.rows.by_ref().take(slice).for_each(drop);
        let more = self.rows.len() > 0;
        if !more {
            encoder.end(self.next_cursor.as_deref());
        }
        more
    }
}
