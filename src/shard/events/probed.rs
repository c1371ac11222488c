//! `Probed`: a digest of the slot is due at this record, or belongs to an earlier one.

use serde::{Deserialize, Serialize};

use super::{Applier, Decision, Logged};
use crate::command::watch::WatchEvent;
use crate::shard::decode::{BadRecord, counter};

/// Half of a probe of the slot. The first record has no digest: state behind it is what the digest
/// is of. A later one has the digest, which takes a while to compute. Neither changes the slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// The digest, with its first record; absent in the first record itself.
    pub digest: Option<LoggedDigest>,
}

/// A digest of the slot behind an earlier record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedDigest {
    /// Slot sequence of the record behind which the slot had this digest.
    #[serde(deserialize_with = "counter")]
    pub seq: u64,
    /// The sum of the hashes of what the slot held.
    pub digest: u64,
}

impl Decision for Probed {
    const CODE: u8 = 65;

    fn apply(self, _: &mut Applier<'_>) -> Result<(), BadRecord> {
        Ok(())
    }
}

impl Logged for Probed {
    fn key(&self) -> Option<&str> {
        None
    }

    fn watched(self) -> Option<WatchEvent> {
        None
    }
}
