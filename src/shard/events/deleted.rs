//! `Deleted`: a member deleted a chat from their list.

use serde::{Deserialize, Serialize};

use super::applier::misfit;
use super::{Applier, Decision, Logged};
use crate::command::watch::WatchEvent;
use crate::shard::decode::BadRecord;
use crate::shard::deliveries::{Deliveries, Effect};
use crate::types::{ChatId, Sequence, UserId};

/// A member deleted the chat from their list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deleted {
    /// The chat that the member deleted.
    pub chat_id: ChatId,
    /// The member who deleted it.
    pub user_id: UserId,
    /// The member's new watermark: the member deleted messages up to this sequence.
    pub to: Sequence,
}

impl Decision for Deleted {
    const CODE: u8 = 5;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let hasher = applier.hasher;
        let chat = applier.chat(&self.chat_id)?;
        let back = self.to < chat.head.last_sequence;
        if !back {
            let deleted_in = chat.head.returns + 1;
            let member = chat
                .members
                .get_mut(self.user_id.as_str(), hasher.hash(self.user_id.as_str()))
                .ok_or_else(|| misfit("member", &self.user_id))?;
            if member.facts().deleted_in != deleted_in {
                member.update(|member| member.deleted_in = deleted_in);
                chat.add_deleters([self.user_id.clone()]);
            }
        }
        chat.post(Deliveries::Same(Effect::Delete { to: self.to, back }, vec![self.user_id]));
        applier.slot.counts.outbox += 1;
        Ok(())
    }
}

impl Logged for Deleted {
    fn key(&self) -> Option<&str> {
        Some(self.chat_id.as_str())
    }

    /// None, because `watch` reports the deletion with the `RowChanged` of the row.
    fn watched(self) -> Option<WatchEvent> {
        None
    }
}
