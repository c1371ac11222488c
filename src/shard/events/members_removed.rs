//! `MembersRemoved`: members left a chat.

use serde::{Deserialize, Serialize};

use super::{Applier, Decision, Logged};
use crate::command::watch::WatchEvent;
use crate::shard::decode::BadRecord;
use crate::shard::deliveries::{Deliveries, Effect};
use crate::types::{ChatId, UserId};

/// Members left a chat, or were removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MembersRemoved {
    /// The chat that the members left.
    pub chat_id: ChatId,
    /// The former members. Each user stands here once.
    pub user_ids: Vec<UserId>,
}

impl Decision for MembersRemoved {
    const CODE: u8 = 3;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let hasher = applier.hasher;
        let chat = applier.chat(&self.chat_id)?;
        chat.head.version += 1;
        for user_id in &self.user_ids {
            chat.members.remove(user_id.as_str(), hasher.hash(user_id.as_str()));
        }
        let released = self.user_ids.len();
        chat.post(Deliveries::Same(Effect::Remove, self.user_ids));
        applier.interner.note_released(released);
        applier.slot.counts.outbox += 1;
        Ok(())
    }
}

impl Logged for MembersRemoved {
    fn key(&self) -> Option<&str> {
        Some(self.chat_id.as_str())
    }

    /// None, because `watch` reports each removal with the `RowChanged` of the row.
    fn watched(self) -> Option<WatchEvent> {
        None
    }
}
