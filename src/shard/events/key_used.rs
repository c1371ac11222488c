//! `KeyUsed`: a request with an idempotency key was answered, or took its key.

use serde::{Deserialize, Serialize};

use super::{Applier, Decision, Logged};
use crate::command::watch::WatchEvent;
use crate::shard::decode::BadRecord;
use crate::shard::state::FirstAnswer;

/// A request with an idempotency key was answered, or took its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyUsed {
    /// The answer or the claim to keep.
    pub answer: FirstAnswer,
}

impl Decision for KeyUsed {
    const CODE: u8 = 64;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let mut answer = self.answer;
        let (slot, hash) = (&mut applier.slot, applier.hasher.hash(&answer.scope));
        // An answer whose time is over may still be there.
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
