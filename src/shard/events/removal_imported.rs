//! `RemovalImported`: an import added a removal, because the user had left the chat.

use serde::{Deserialize, Serialize};

use super::{Applier, Decision, Logged, blank};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::shard::decode::{BadRecord, counter};
use crate::types::{ChatId, UserId};

/// An import added a removal, because the user had left the chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemovalImported {
    /// The user who had the row.
    pub user_id: UserId,
    /// The chat that the user left.
    pub chat_id: ChatId,
    /// The version to give the removal. With None, the removal gets the user's next version.
    #[serde(deserialize_with = "counter")]
    pub version: Option<u64>,
}

impl Decision for RemovalImported {
    const CODE: u8 = 38;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let Self { user_id, chat_id, version } = self;
        applier.change_user(&user_id, |user, _| {
            let version = user.head.import_version(version);
            user.forget_removal(&chat_id);
            user.remember_removal(chat_id, version);
        });
        Ok(())
    }
}

impl Logged for RemovalImported {
    fn key(&self) -> Option<&str> {
        Some(self.user_id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        let (user_id, chat_id) = (Some(self.user_id), Some(self.chat_id));
        Some(WatchEvent { user_id, chat_id, ..blank(WatchOp::Leave) })
    }
}
