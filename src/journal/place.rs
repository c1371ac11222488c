//! A place in a journal: all that a reader must know to continue from there.
//!
//! # Invariants
//! - A place lies between two entries.
//! - The default place lies before genesis.

use snapshot::Lsn;

/// A place between two entries of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JournalPlace {
    /// Seq of the last accepted entry before the place.
    pub seq: u64,
    /// Epoch of the last accepted entry before the place.
    pub epoch: u64,
    /// Writer of the last accepted entry before the place.
    pub writer: u64,
    /// Index of the last accepted entry before the place.
    pub index: u64,
    /// The first LSN that the next entry must have.
    pub next_lsn: Lsn,
    /// Checksum of the header of the last accepted entry before the place.
    pub checksum: u32,
    /// The journal's format there: no event or entry behind the place is newer, until an entry raises
    /// it. 0 before genesis.
    pub format: u32,
}

impl JournalPlace {
    /// Void entries before the place: they have a seq and no index.
    #[must_use]
    pub fn voids(&self) -> u64 {
        self.seq.saturating_sub(self.index)
    }
}

impl Default for JournalPlace {
    fn default() -> Self {
        Self { seq: 0, epoch: 0, writer: 0, index: 0, next_lsn: Lsn(1), checksum: 0, format: 0 }
    }
}
