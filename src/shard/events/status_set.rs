//! `StatusSet`: a chat was enabled or disabled.

use serde::{Deserialize, Serialize};

use super::{Applier, Decision, Logged, blank};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::shard::decode::BadRecord;
use crate::types::{ChatId, ChatStatus};

/// A chat was enabled or disabled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusSet {
    /// The chat whose status changed.
    pub chat_id: ChatId,
    /// The chat's new status.
    pub status: ChatStatus,
}

impl Decision for StatusSet {
    const CODE: u8 = 6;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let chat = applier.chat(&self.chat_id)?;
        chat.head.status = self.status;
        chat.head.version += 1;
        Ok(())
    }
}

impl Logged for StatusSet {
    fn key(&self) -> Option<&str> {
        Some(self.chat_id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        let (chat_id, status) = (Some(self.chat_id), Some(self.status));
        Some(WatchEvent { chat_id, status, ..blank(WatchOp::Status) })
    }
}
