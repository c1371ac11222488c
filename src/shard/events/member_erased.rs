//! `MemberErased`: a chat dropped every trace of a user who is being erased.

use serde::{Deserialize, Serialize};

use super::{Applier, Decision, Logged};
use crate::command::watch::WatchEvent;
use crate::shard::decode::BadRecord;
use crate::shard::deliveries::{Deliveries, Effect};
use crate::types::{ChatId, UserId};

/// A chat dropped every trace of a user who is being erased: as member, as creator, and as deleter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberErased {
    /// The chat that loses the user.
    pub chat_id: ChatId,
    /// The user who is being erased.
    pub user_id: UserId,
}

impl Decision for MemberErased {
    const CODE: u8 = 11;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let hash = applier.hasher.hash(self.user_id.as_str());
        if applier.is_retired(&self.chat_id) {
            // Old builds kept dissolved chats whole, and erased their creators too. Now only the id
            // of a dissolved chat is kept, so nothing is left to erase.
            return Ok(());
        }
        let (chat, interner) = applier.chat_and_interner(&self.chat_id)?;
        let is_creator = chat.head.creator_id == self.user_id;
        if is_creator {
            chat.head.creator_id = interner.intern(&UserId::erased());
        }
        chat.forget_deleter(&self.user_id);
        let was_member = chat.members.remove(self.user_id.as_str(), hash).is_some();
        // A user who left earlier can only be a deleter. Readers never see deleters, so that change
        // leaves the version as it is.
        chat.head.version += u64::from(is_creator || was_member);
        interner.note_released(usize::from(was_member));
        if was_member {
            chat.post(Deliveries::Same(Effect::Erase, vec![self.user_id]));
            applier.slot.counts.outbox += 1;
        }
        Ok(())
    }
}

impl Logged for MemberErased {
    fn key(&self) -> Option<&str> {
        Some(self.chat_id.as_str())
    }

    /// None, because `watch` reports the erasure with the `RowChanged` of the row.
    fn watched(self) -> Option<WatchEvent> {
        None
    }
}
