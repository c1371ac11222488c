//! The floor: what the next start must find, kept apart from log and images.
//!
//! Log and images cannot tell that their newest files are missing. So their owner keeps a few numbers elsewhere, in a
//! sealed file, and gives them to [`open`](crate::open).
//!
//! # Invariants
//! - A floor only rises, and only after what it names is safe on the disk.
//! - No batch is written to a segment before the floor names that segment.

use std::io;

use crate::Lsn;

/// What the next start must find. The default demands nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// The last record that was durable for sure; 0 for none.
    pub durable: Lsn,
    /// First LSN of the newest segment; 0 without a log.
    pub segment: Lsn,
    /// Start LSN of the newest image; 0 without one. It only names what is missing.
    pub image: Lsn,
}

impl Floor {
    /// The higher of both, number by number.
    #[must_use]
    pub fn raised(self, to: Floor) -> Self {
        Self {
            durable: self.durable.max(to.durable),
            segment: self.segment.max(to.segment),
            image: self.image.max(to.image),
        }
    }
}

/// Keeps a floor where the loss of log and images does not reach it.
pub trait KeepFloor: std::fmt::Debug + Send + Sync {
    /// Raises the floor, and returns when that is safe on the disk.
    ///
    /// # Errors
    /// The old floor or the new one is kept, and it may be tried again.
    fn raise(&self, to: Floor) -> io::Result<()>;
}

/// What is known of a directory before its log and images are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// The node that all files must belong to; without it the files must agree.
    pub node_id: Option<u64>,
    /// What must be there.
    pub floor: Floor,
}

impl From<Option<u64>> for Known {
    fn from(node_id: Option<u64>) -> Self {
        Self { node_id, floor: Floor::default() }
    }
}
