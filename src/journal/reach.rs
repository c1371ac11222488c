//! How far a journal is known to have come.
//!
//! The end of a journal never moves back. If a member has accepted an entry that the engine lacks,
//! the engine lost it, or somebody restored an older state of the engine.

use snapshot::Lsn;

use super::reader::JournalReader;

/// How far a journal is known to have come: by the newest entry that a member accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalReach {
    /// Seq of the entry.
    pub seq: u64,
    /// Number of the newest claim.
    pub epoch: u64,
    /// LSN of the newest record.
    pub lsn: Lsn,
}

impl JournalReach {
    /// How far a reader has come.
    #[must_use]
    pub fn of(reader: &JournalReader) -> Self {
        let place = reader.place();
        Self { seq: place.seq, epoch: place.epoch, lsn: reader.committed() }
    }

    /// Whether it knows of an entry, a claim or a record that `other` lacks.
    #[must_use]
    pub fn exceeds(&self, other: &Self) -> bool {
        self.seq > other.seq || self.epoch > other.epoch || self.lsn > other.lsn
    }

    /// What either of the two knows of.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        Self {
            seq: self.seq.max(other.seq),
            epoch: self.epoch.max(other.epoch),
            lsn: self.lsn.max(other.lsn),
        }
    }
}
