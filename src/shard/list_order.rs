//! The rows of a list in list order: pinned rows first, then newest-joined first. Deleted rows are
//! left out.
//!
//! Every reply to `list` reads its rows with this cursor: the fast path all at once, and a
//! [`super::page::ListPage`] chunk by chunk.
//!
//! Invariants:
//! - The first round returns the pinned rows, the second the others. Each round goes through the
//!   chunks from the last to the first.
//! - A [`ListPlace`] names the same place for as long as no row before it changes. Rows that joined
//!   later are before it.

use super::roster::Chunk;
use super::row::Row;
use crate::command::Error;
use crate::types::Flag;

/// A cursor over borrowed rows.
pub struct ListOrder<'a> {
    all: &'a [Chunk<Row>],
    /// The chunks that this round has not entered yet.
    chunks: &'a [Chunk<Row>],
    /// The rows of the current chunk that are not read yet.
    rows: std::slice::Iter<'a, Row>,
    /// The round: that of the pinned rows, or that of the others.
    pinned: Flag,
}

impl<'a> ListOrder<'a> {
    /// Begins with the round of the pinned rows, or with that of the others.
    pub fn of_round(all: &'a [Chunk<Row>], pinned: Flag) -> Self {
        Self { all, chunks: all, rows: [].iter(), pinned }
    }

    /// Continues behind a place.
    pub fn behind(all: &'a [Chunk<Row>], ListPlace { pinned, before }: ListPlace) -> Self {
        let is_behind = |row: &Row| row.state().order < before;
        let begun = all.partition_point(|chunk| chunk.first().is_some_and(is_behind));
        let (chunks, _) = all.split_at(begun);
        let Some((last, chunks)) = chunks.split_last() else {
            return Self { all, chunks, rows: [].iter(), pinned };
        };
        let (rows, _) = last.split_at(last.partition_point(is_behind));
        Self { all, chunks, rows: rows.iter(), pinned }
    }

    /// The place behind the current chunk, once all of its rows were read.
    pub fn place(&self) -> ListPlace {
        let current = self.all.get(self.chunks.len()).and_then(|chunk| chunk.first());
        let before = current.map_or(u64::MAX, |row| row.state().order);
        ListPlace { pinned: self.pinned, before }
    }

    /// The place behind `row`, which this round has returned.
    pub fn place_behind(&self, row: &Row) -> ListPlace {
        ListPlace { pinned: self.pinned, before: row.state().order }
    }

    /// The next row of the current chunk.
    #[inline(always)]
    pub fn next_in_chunk(&mut self) -> Option<&'a Row> {
        let pinned = self.pinned;
        let wanted = |row: &&Row| row.facts().is_top == pinned && row.facts().is_show == Flag::YES;
        self.rows.rfind(wanted)
    }

    /// Enters the next chunk, or begins the second round. Returns the rows of that chunk; `None`
    /// ends the list.
    #[inline(always)]
    pub fn enter_chunk(&mut self) -> Option<usize> {
        if let Some((last, before)) = self.chunks.split_last() {
            (self.chunks, self.rows) = (before, last.iter());
        } else if self.pinned == Flag::YES {
            *self = Self::of_round(self.all, Flag::NO);
        } else {
            return None;
        }
        Some(self.rows.len())
    }
}

impl<'a> Iterator for ListOrder<'a> {
    type Item = &'a Row;

    #[inline]
    fn next(&mut self) -> Option<&'a Row> {
        loop {
            if let Some(row) = self.next_in_chunk() {
                return Some(row);
            }
            self.enter_chunk()?;
        }
    }
}

/// A place in a list: behind the row with the order `before`, among the pinned rows or among the
/// others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPlace {
    /// Whether the place is among the pinned rows.
    pub pinned: Flag,
    /// The join order of the row in front of the place.
    pub before: u64,
}

impl ListPlace {
    /// The place in front of all rows.
    pub const FIRST: Self = Self { pinned: Flag::YES, before: u64::MAX };

    /// Reads a cursor; without one, the place is in front of all rows.
    ///
    /// # Errors
    /// If the cursor does not come from `list`.
    pub fn parse(cursor: Option<&str>) -> Result<Self, Error> {
        let Some(cursor) = cursor else { return Ok(Self::FIRST) };
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
