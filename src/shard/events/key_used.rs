//! `KeyUsed`: a request used an idempotency key, and the slot remembers the answer or a
//! reservation.

use serde::{Deserialize, Serialize};

use super::{Applier, Decision, Logged};
use crate::command::watch::WatchEvent;
use crate::shard::decode::BadRecord;
use crate::shard::state::FirstAnswer;

/// A request used an idempotency key. The slot remembers the answer, or a reservation if the answer
/// is still to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyUsed {
    /// The answer or the reservation that the slot remembers.
    pub answer: FirstAnswer,
}

impl Decision for KeyUsed {
    const CODE: u8 = 64;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let mut answer = self.answer;
        let (slot, hash) = (&mut applier.slot, applier.hasher.hash(&answer.scope));
        // The slot may still hold an expired answer of this idempotency key: the new answer
        // replaces it.
        slot.answers.remove(&answer.scope, hash);
        answer.order = slot.answers.last().map_or(1, |last| last.order.saturating_add(1));
        slot.answers.insert(answer, applier.hasher);
        Ok(())
    }
}

impl Logged for KeyUsed {
    fn key(&self) -> Option<&str> {
        None
    }

    fn watched(self) -> Option<WatchEvent> {
        None
    }
}
