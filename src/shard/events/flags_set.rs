//! `FlagsSet`: a user set flags of a row.

use serde::{Deserialize, Serialize};

use super::{Applier, Decision, Logged, blank};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::shard::decode::BadRecord;
use crate::types::{ChatId, Flag, UserId};

/// A user set flags of a row. A flag that is None keeps its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlagsSet {
    /// Owner of the row.
    pub user_id: UserId,
    /// The chat of the row.
    pub chat_id: ChatId,
    /// The new pin.
    pub is_top: Option<Flag>,
    /// New value of the mute flag.
    pub is_mute: Option<Flag>,
    /// New value of the hide flag.
    pub is_hide: Option<Flag>,
    /// Whether the user now marks the chat as unread.
    pub marked_unread: Option<Flag>,
}

impl Decision for FlagsSet {
    const CODE: u8 = 34;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        applier.change_row_of(&self.user_id, &self.chat_id, |facts| {
            facts.is_top = self.is_top.unwrap_or(facts.is_top);
            facts.is_mute = self.is_mute.unwrap_or(facts.is_mute);
            facts.is_hide = self.is_hide.unwrap_or(facts.is_hide);
            facts.marked_unread = self.marked_unread.unwrap_or(facts.marked_unread);
        })
    }
}

impl Logged for FlagsSet {
    fn key(&self) -> Option<&str> {
        Some(self.user_id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        Some(WatchEvent {
            user_id: Some(self.user_id),
            chat_id: Some(self.chat_id),
            is_top: self.is_top,
            is_mute: self.is_mute,
            is_hide: self.is_hide,
            marked_unread: self.marked_unread,
            ..blank(WatchOp::Flags)
        })
    }
}
