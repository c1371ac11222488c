//! How far a journal is known to have come.
//!
//! The end of a journal never moves back. If a member has accepted an entry that the engine lacks,
//! the engine lost it, or somebody restored an older state of the engine.
//!
//! # Invariants
//! - Two entries are compared by epoch, and by seq within an epoch. Behind a newer claim an entry of
//!   an older epoch may be missing, as behind a refill, but none of its records.

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
        self.entry() > other.entry() || self.lsn > other.lsn
    }

    /// What either of the two knows of.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        let (epoch, seq) = self.entry().max(other.entry());
        Self { seq, epoch, lsn: self.lsn.max(other.lsn) }
    }

    fn entry(&self) -> (u64, u64) {
        (self.epoch, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_an_older_epoch_counts_no_more_but_its_records_do() {
        let reach = |seq, epoch, lsn| JournalReach { seq, epoch, lsn: Lsn(lsn) };
        let (before, filled) = (reach(1000, 7, 500), reach(905, 8, 500));
        assert!(before.exceeds(&reach(900, 7, 500)), "a beat is missing");
        assert!(before.exceeds(&reach(1200, 6, 500)), "a claim is missing");
        assert!(before.exceeds(&reach(905, 8, 499)), "a record is missing");
        assert!(!before.exceeds(&filled));
        assert!(filled.exceeds(&before));
        assert_eq!(before.joined(filled), filled);
        assert_eq!(filled.joined(reach(1, 2, 501)), reach(905, 8, 501));
    }
}
