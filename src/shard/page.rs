//! A page of a user's list, or the whole list, made in slices.
//!
//! All rows are of one instant: the page shares their chunks, so later changes do not show. So a
//! core can serve other requests between two slices of a long list.
//!
//! Invariants:
//! - The rows are in list order; see [`super::list_order`].
//! - A slice reads about [`LOOK_ROWS`] rows at most, and adds about [`SCAN_ROWS`] of them to the
//!   page at most.

use super::list_order::{ListOrder, ListPlace};
use super::roster::{Chunks, Roster};
use super::row::Row;
use crate::command::Error;
use crate::command::list::{List, ListReply, ListRow};
use crate::limits::{LOOK_ROWS, SCAN_ROWS};

/// A page of a list that is being made.
#[derive(Debug, Clone)]
pub struct ListPage {
    chunks: Chunks<Row>,
    /// Where the next slice continues.
    place: ListPlace,
    limit: usize,
    /// The reply has at most so many rows.
    rows_max: usize,
    items: Vec<ListRow>,
    /// The place behind the last row of the page. None until the page has `limit` rows.
    end: Option<ListPlace>,
}

impl ListPage {
    /// Begins the page that `list` asks for. `rows` are the user's rows, None if the shard does not
    /// know the user.
    ///
    /// # Errors
    /// If the cursor was not made by `list`.
    pub fn begin(list: &List, rows: Option<&Roster<Row>>) -> Result<Self, Error> {
        let place = ListPlace::parse(list.cursor.as_deref())?;
        let chunks = rows.map(Roster::chunks).unwrap_or_default();
        let limit = list.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let rows_max = rows.map_or(0, Roster::len).min(limit);
        Ok(Self { chunks, place, limit, rows_max, items: Vec::new(), end: None })
    }

    /// Makes the next slice. Returns the reply after the last slice.
    pub fn go_on(&mut self) -> Option<ListReply> {
        // Reserves memory for all rows at once, because growing step by step would move them again
        // and again. Not before the first slice, because many pages may wait for their turn.
        self.items.reserve_exact(self.rows_max.saturating_sub(self.items.len()));
        let slice_begin = self.items.len();
        let mut looked_at = 0;
        let mut rows = ListOrder::behind(&self.chunks, self.place);
        let more = 'page: loop {
            while let Some(row) = rows.next_in_chunk() {
                if self.items.len() == self.limit {
                    break 'page true;
                }
                self.items.push(row.list_row());
                if self.items.len() == self.limit {
                    self.end = Some(rows.place_behind(row));
                }
            }
            if looked_at >= LOOK_ROWS || self.items.len() - slice_begin >= SCAN_ROWS {
                self.place = rows.place();
                return None;
            }
            match rows.enter_chunk() {
                Some(count) => looked_at += count,
                None => break false,
            }
        };
        let next_cursor = self.end.filter(|_| more).map(|place| place.to_string());
        Some(ListReply { items: std::mem::take(&mut self.items), next_cursor })
    }

    /// For how many rows the page holds memory: for none before its first slice, then for all.
    pub fn rows_held(&self) -> usize {
        self.items.capacity()
    }
}
