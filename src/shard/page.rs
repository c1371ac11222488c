//! A page of a user's list, or the whole list, made a slice at a time.
//!
//! The rows are those of one instant: their chunks are shared, not copied, and later changes are
//! not seen. So a core that makes a long list can serve other requests in between.
//!
//! Invariants:
//! - The rows are in list order, see [`super::list_order`].
//! - A slice reads at most about [`LOOK_ROWS`] rows, and adds at most about [`SCAN_ROWS`] of them
//!   to the page.

use super::list_order::{ListOrder, ListPlace};
use super::roster::{Chunks, Roster};
use super::row::Row;
use crate::command::Error;
use crate::command::list::{List, ListReply, ListRow};
use crate::limits::{LOOK_ROWS, SCAN_ROWS};

/// A list that is being made; its rules are in the documentation of the module.
#[derive(Debug, Clone)]
pub struct ListPage {
    chunks: Chunks<Row>,
    /// Where the next slice continues.
    place: ListPlace,
    limit: usize,
    /// Upper bound of the rows in the reply.
    rows_max: usize,
    items: Vec<ListRow>,
    /// The place behind the last row in `items`, once there are `limit` rows.
    end: Option<ListPlace>,
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
        let rows_max = rows.map_or(0, Roster::len).min(limit);
        Ok(Self { chunks, place, limit, rows_max, items: Vec::new(), end: None })
    }

    /// Makes a slice. Returns the reply if it was the last one.
    pub fn go_on(&mut self) -> Option<ListReply> {
        // One reservation for all rows, because a growing list would be moved again and again. It
        // waits until the first slice is made, because many lists may wait for their turn.
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

    /// Rows for which the page holds memory: none before the first slice, then all.
    pub fn rows_held(&self) -> usize {
        self.items.capacity()
    }
}
