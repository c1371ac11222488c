//! Checks of what the disk holds: whether counters are possible, and keys are in their slots.

use serde::{Deserialize, Deserializer};

use crate::limits::COUNTER_MAX;
use crate::types::{KeyHasher, Slot};

/// Why a record or a block of a snapshot cannot be decoded or does not fit the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub String);

/// Decodes a counter, or None. A counter above [`COUNTER_MAX`] is an error.
pub(super) fn counter<'de, D, N>(deserializer: D) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: Deserialize<'de> + Into<Option<u64>> + Copy,
{
    let number = N::deserialize(deserializer)?;
    match number.into() {
        Some(value) if value > COUNTER_MAX => {
            Err(serde::de::Error::custom(format!("nothing is counted up to {value}")))
        }
        _ => Ok(number),
    }
}

/// The hash of a key that the disk holds in this slot. Fails if the key belongs to another slot.
pub(super) fn hash_in(slot: Slot, key: &str, hasher: KeyHasher) -> Result<u64, BadRecord> {
    let hash = hasher.hash(key);
    let own = KeyHasher::slot_of_hash(hash);
    if own != slot {
        return Err(BadRecord(format!("{key} is of slot {}, not {}", own.get(), slot.get())));
    }
    Ok(hash)
}
