//! `Created`: a chat was created.

use serde::{Deserialize, Serialize};

use super::applier::misfit;
use super::members_added::join;
use super::{Applier, Decision, Logged, blank};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::shard::decode::BadRecord;
use crate::shard::state::{Chat, ChatHead};
use crate::types::{ChatId, ChatStatus, ChatType, Flag, Sequence, TimeMs, UserId};

/// A chat was created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// Id of the new chat.
    pub chat_id: ChatId,
    /// Single, group or official.
    pub chat_type: ChatType,
    /// The user who created the chat.
    pub creator_id: UserId,
    /// Whether the chat is encrypted.
    pub is_enc: Flag,
    /// Time of the creation.
    pub created_at: TimeMs,
    /// Digest of the `create` request. A later `create` with an equal digest is a repeat of this
    /// request.
    pub request_digest: u64,
    /// The first members of the chat. Each user stands here once.
    pub user_ids: Vec<UserId>,
}

impl Decision for Created {
    const CODE: u8 = 1;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let Applier { slot, interner, hasher } = applier;
        let hash = hasher.hash(self.chat_id.as_str());
        if slot.chat(self.chat_id.as_str(), hash).is_some()
            || slot.retired.contains(self.chat_id.as_str(), hash)
        {
            return Err(misfit("new chat", &self.chat_id));
        }
        let mut chat = Chat::new(ChatHead {
            id: self.chat_id,
            creator_id: interner.intern(&self.creator_id),
            chat_type: self.chat_type,
            status: ChatStatus::Normal,
            is_enc: self.is_enc,
            dissolved: false,
            last_sequence: Sequence::ZERO,
            last_time: TimeMs::ZERO,
            created_at: self.created_at,
            version: 1,
            event: 0,
            request_digest: self.request_digest,
            returns: 0,
            next_order: 1,
        });
        slot.counts.outbox += join(&mut chat, self.user_ids, interner, *hasher)?;
        slot.counts.chats += 1;
        slot.insert_chat(chat, *hasher);
        Ok(())
    }
}

impl Logged for Created {
    fn key(&self) -> Option<&str> {
        Some(self.chat_id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        let Self { chat_id, creator_id, .. } = self;
        let (chat_id, user_id) = (Some(chat_id), Some(creator_id));
        Some(WatchEvent { chat_id, user_id, ..blank(WatchOp::Create) })
    }
}
