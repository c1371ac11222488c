//! `Cleared`: a user cleared a chat's history.

use serde::{Deserialize, Serialize};

use super::{Applier, Decision, Logged, blank};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::shard::decode::BadRecord;
use crate::types::{ChatId, Sequence, UserId};

/// A user cleared a chat's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cleared {
    /// Owner of the row.
    pub user_id: UserId,
    /// The chat of the row.
    pub chat_id: ChatId,
    /// The user's new watermark in the chat.
    pub to: Sequence,
}

impl Decision for Cleared {
    const CODE: u8 = 36;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        applier.change_row_of(&self.user_id, &self.chat_id, |facts| facts.cover(self.to))
    }
}

impl Logged for Cleared {
    fn key(&self) -> Option<&str> {
        Some(self.user_id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        let Self { user_id, chat_id, to } = self;
        let (user_id, chat_id) = (Some(user_id), Some(chat_id));
        Some(WatchEvent { user_id, chat_id, seq: Some(to), ..blank(WatchOp::Clear) })
    }
}
