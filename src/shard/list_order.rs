//! The rows of a list in list order: pinned rows first, then newest-joined first. Leaves out rows
//! whose chat the user deleted.
//!
//! Every reply to `list` reads rows with this cursor. The fast path reads the whole list at once, a
//! [`super::page::ListPage`] reads chunk by chunk.
//!
//! Invariants:
//! - The first round returns the pinned rows, the second round the others. Each round visits the
//!   chunks from the last to the first.
//! - A [`ListPlace`] stays right while no row before it changes. Rows that join later come before
//!   it.

use super::roster::Chunk;
use super::row::Row;
use crate::command::Error;
use crate::types::Flag;

/// A cursor over borrowed rows, in list order.
pub struct ListOrder<'a> {
    all: &'a [Chunk<Row>],
    /// The chunks that the present round has not entered yet.
    chunks: &'a [Chunk<Row>],
    /// The rows of the present chunk that are not read yet.
    rows: std::slice::Iter<'a, Row>,
    /// Whether this is the round of pinned rows, or the round of the others.
    pinned: Flag,
}

impl<'a> ListOrder<'a> {
    /// Begins with the round that `pinned` names.
    pub fn of_round(all: &'a [Chunk<Row>], pinned: Flag) -> Self {
        Self { all, chunks: all, rows: [].iter(), pinned }
    }

    /// Continues behind a place, which an earlier cursor returned.
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

    /// The place behind the present chunk. The caller has read all rows of the chunk.
    pub fn place(&self) -> ListPlace {
        let current = self.all.get(self.chunks.len()).and_then(|chunk| chunk.first());
        let before = current.map_or(u64::MAX, |row| row.state().order);
        ListPlace { pinned: self.pinned, before }
    }

    /// The place behind `row`, which the present round has returned.
    pub fn place_behind(&self, row: &Row) -> ListPlace {
        ListPlace { pinned: self.pinned, before: row.state().order }
    }

    /// The next row of the present chunk that belongs to the round.
    #[inline(always)]
    pub fn next_in_chunk(&mut self) -> Option<&'a Row> {
        let pinned = self.pinned;
        let wanted = |row: &&Row| row.facts().is_top == pinned && row.facts().is_show == Flag::YES;
        self.rows.rfind(wanted)
    }

    /// Enters the next chunk of the round, or begins the second round. Returns how many rows the
    /// chunk has, and `None` at the end of the list.
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

/// A place in a list: among the pinned rows or among the others, behind the row with order
/// `before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPlace {
    /// Whether the place is among the pinned rows.
    pub pinned: Flag,
    /// Join order of the row in front of the place.
    pub before: u64,
}

impl ListPlace {
    /// The place in front of all rows.
    pub const FIRST: Self = Self { pinned: Flag::YES, before: u64::MAX };

    /// Reads a cursor. Without a cursor the place is in front of all rows.
    ///
    /// # Errors
    /// If the cursor was not made by `list`.
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
