//! `DeliveryDone`: every row that an event of a chat concerns has confirmed the event.

use serde::{Deserialize, Serialize};
use thin_vec::ThinVec;

use super::applier::misfit;
use super::{Applier, Decision, Logged};
use crate::command::watch::WatchEvent;
use crate::shard::decode::BadRecord;
use crate::types::ChatId;

/// Every row that an event of a chat concerns has confirmed the event, so the event leaves the
/// outbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryDone {
    /// The chat of the event.
    pub chat_id: ChatId,
    /// The event's number in its chat.
    pub event: u64,
}

impl Decision for DeliveryDone {
    const CODE: u8 = 8;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let (chat, interner) = applier.chat_and_interner(&self.chat_id)?;
        match chat.outbox.first() {
            Some(entry) if entry.event == self.event => {
                interner.drop_later(chat.outbox.remove(0));
                if chat.outbox.is_empty() {
                    // Frees the empty outbox, because most chats never have another event.
                    chat.outbox = ThinVec::new();
                }
                let is_over = chat.head.dissolved && chat.outbox.is_empty();
                applier.slot.counts.outbox -= 1;
                if is_over { applier.retire(&self.chat_id) } else { Ok(()) }
            }
            _ => Err(misfit("delivery of", &self.chat_id)),
        }
    }
}

impl Logged for DeliveryDone {
    fn key(&self) -> Option<&str> {
        Some(self.chat_id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        None
    }
}
