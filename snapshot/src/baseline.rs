//! The baseline: which records and files the next start must find.
//!
//! Log and snapshots cannot show that their newest files are missing. So their owner keeps three
//! numbers elsewhere, in a sealed file, and gives them to [`open`](crate::open).
//!
//! # Invariants
//! - A baseline only rises. Before it rises to a record or file, that is durable.
//! - No batch is written to a segment before the baseline names that segment.

use std::io;

use crate::Lsn;

/// What the next start must find. The default requires nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// The last record that was certainly durable; 0 for none.
    pub durable: Lsn,
    /// First LSN of the newest segment; 0 without a log.
    pub segment: Lsn,
    /// Start LSN of the newest snapshot; 0 without one. A start does not require it: the number
    /// only names the file in an error about missing records.
    pub snapshot: Lsn,
}

impl Baseline {
    /// For each of the three numbers, the larger of both values.
    #[must_use]
    pub fn raised(self, to: Baseline) -> Self {
        Self {
            durable: self.durable.max(to.durable),
            segment: self.segment.max(to.segment),
            snapshot: self.snapshot.max(to.snapshot),
        }
    }
}

/// Keeps a baseline in a place that survives a loss of log and snapshots.
pub trait KeepBaseline: std::fmt::Debug + Send + Sync {
    /// Raises the baseline to `to`, and returns when `to` is durable.
    ///
    /// # Errors
    /// Either the old or the new baseline is kept. The caller may try again.
    fn raise(&self, to: Baseline) -> io::Result<()>;
}

/// What is known of a directory before its log and snapshots are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// The node that all files must belong to. With `None`, all files must name one node, whichever
    /// it is.
    pub node_id: Option<u64>,
    /// The baseline; the default requires nothing.
    pub baseline: Baseline,
}

impl From<Option<u64>> for Known {
    fn from(node_id: Option<u64>) -> Self {
        Self { node_id, baseline: Baseline::default() }
    }
}
