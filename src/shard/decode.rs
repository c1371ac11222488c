//! Checks of what the disk holds: the error, counters, and keys in their slots.

use serde::{Deserialize, Deserializer};

use crate::limits::COUNTER_MAX;
use crate::types::{KeyHasher, Slot};

/// The reason why a record or a snapshot block cannot be read or does not fit the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub String);

/// Reads a counter from the disk, or None, and rejects a value above [`COUNTER_MAX`].
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

/// The hash of a key that a record or a snapshot holds in this slot, if the key belongs there.
pub(super) fn hash_in(slot: Slot, key: &str, hasher: KeyHasher) -> Result<u64, BadRecord> {
    let hash = hasher.hash(key);
    let own = KeyHasher::slot_of_hash(hash);
    if own != slot {
        return Err(BadRecord(format!("{key} is of slot {}, not {}", own.get(), slot.get())));
    }
    Ok(hash)
}
