//! A page of a user's list, or the whole list, made a slice at a time.
//!
//! The rows are those of one instant: their chunks are shared, not copied, and later changes are
//! not seen. So a core that makes a long list can serve other requests in between.
//!
//! Invariants:
//! - Pinned rows come first, then newest-joined first; deleted rows are left out.
//! - A slice reads at most about [`LOOK_ROWS`] rows, and adds at most about [`SCAN_ROWS`] of them
//!   to the page.

use super::roster::{Chunk, Chunks, Roster};
use super::row::Row;
use crate::command::Error;
use crate::command::list::{List, ListReply, ListRow};
use crate::limits::{LOOK_ROWS, SCAN_ROWS};
use crate::types::Flag;

/// A list that is being made; its rules are in the documentation of the module.
#[derive(Debug, Clone)]
pub struct ListPage {
    chunks: Chunks<Row>,
    /// Chunks that this round has not read yet. The first round takes the pinned rows, the second
    /// the others.
    left: usize,
    /// The round, and the order at which it begins: only rows below that order are taken.
    place: ListPlace,
    limit: usize,
    /// Upper bound of the rows in the reply.
    rows_max: usize,
    items: Vec<ListRow>,
    /// The place of the last row in `items`, once there are `limit` rows.
    last: Option<ListPlace>,
}

impl ListPage {
    /// Begins the page that `list` asks for, on these rows; None if the user has none.
    ///
    /// # Errors
    /// If the cursor does not come from `list`.
    pub fn begin(list: &List, rows: Option<&Roster<Row>>) -> Result<Self, Error> {
        let place = ListPlace::parse(list.cursor.as_deref())?;
        let chunks = rows.map(Roster::chunks).unwrap_or_default();
        let limit = list.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let left = chunks_before(&chunks, place.before);
        let rows_max = rows.map_or(0, Roster::len).min(limit);
        Ok(Self { chunks, left, place, limit, rows_max, items: Vec::new(), last: None })
    }

    /// Makes a slice. Returns the reply if it was the last one.
    pub fn go_on(&mut self) -> Option<ListReply> {
        // One reservation for all rows, because a growing list would be moved again and again. It
        // waits until the first slice is made, because many lists may wait for their turn.
        self.items.reserve_exact(self.rows_max.saturating_sub(self.items.len()));
        let told = self.items.len();
        let mut looked_at = 0;
        while looked_at < LOOK_ROWS && self.items.len() - told < SCAN_ROWS {
            let Some(chunk) = self.next_chunk() else { return Some(self.finish(false)) };
            looked_at += chunk.len();
            if self.take(&chunk) {
                return Some(self.finish(true));
            }
        }
        None
    }

    /// Rows for which the page holds memory: none before the first slice, then all.
    pub fn rows_held(&self) -> usize {
        self.items.capacity()
    }

    fn next_chunk(&mut self) -> Option<Chunk<Row>> {
        if self.left == 0 && self.place.pinned == Flag::YES {
            self.place = ListPlace { pinned: Flag::NO, before: u64::MAX };
            self.left = self.chunks.len();
        }
        self.left = self.left.checked_sub(1)?;
        self.chunks.get(self.left).cloned()
    }

    /// Takes the rows of this round from a chunk. Returns true if there are more rows than the
    /// limit.
    fn take(&mut self, chunk: &[Row]) -> bool {
        let ListPlace { pinned, before } = self.place;
        let wanted = |row: &&Row| {
            let facts = row.facts();
            row.state().order < before && facts.is_top == pinned && facts.is_show == Flag::YES
        };
        for row in chunk.iter().rev().filter(wanted) {
            if self.items.len() == self.limit {
                return true;
            }
            self.items.push(row.list_row());
            if self.items.len() == self.limit {
                self.last = Some(ListPlace { pinned, before: row.state().order });
            }
        }
        false
    }

    fn finish(&mut self, more: bool) -> ListReply {
        let next_cursor = self.last.filter(|_| more).map(|place| place.to_string());
        ListReply { items: std::mem::take(&mut self.items), next_cursor }
    }
}

/// Number of chunks that have rows below this order.
fn chunks_before(chunks: &[Chunk<Row>], order: u64) -> usize {
    chunks.partition_point(|chunk| chunk.first().is_some_and(|row| row.state().order < order))
}

/// A place in a user's list: behind the row with this order, among the pinned rows or among the
/// others.
#[derive(Debug, Clone, Copy)]
struct ListPlace {
    pinned: Flag,
    before: u64,
}

impl ListPlace {
    fn parse(cursor: Option<&str>) -> Result<Self, Error> {
        let Some(cursor) = cursor else {
            return Ok(Self { pinned: Flag::YES, before: u64::MAX });
        };
        let bad = || Error::invalid("cursor: not one of `list`");
        let (pinned, before) = match cursor.split_at_checked(1) {
            Some(("p", order)) => (Flag::YES, order),
            Some(("n", order)) => (Flag::NO, order),
            _ => return Err(bad()),
        };
        Ok(Self { pinned, before: before.parse().map_err(|_| bad())? })
    }
}

impl std::fmt::Display for ListPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.pinned == Flag::YES { 'p' } else { 'n' }, self.before)
    }
}
