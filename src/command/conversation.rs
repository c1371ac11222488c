//! Rows and chats together: what a conversation list shows, counts, and why.

use serde::{Deserialize, Serialize};

use super::chat::{check_cursor, check_ids, check_limit};
use super::{Check, Error, null_as_default};
use crate::limits::CONVERSATIONS_PAGE_MAX;
use crate::types::{ChatId, ChatStatus, ChatType, Flag, Sequence, TimeMs, UserId};

/// Arguments of `conversations`; a filter that is absent filters nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversations {
    /// Whose.
    pub user_id: UserId,
    /// Most conversations in the answer; 50 if absent, at most 200.
    #[serde(default)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Only those with unread messages, or marked as unread.
    #[serde(default)]
    pub unread_only: Option<bool>,
    /// Only those of this type.
    #[serde(default, rename = "type")]
    pub chat_type: Option<ChatType>,
    /// 1: only hidden ones, 0: only others.
    #[serde(default)]
    pub hidden: Option<Flag>,
    /// Only those whose newest message is of this time or later.
    #[serde(default)]
    pub active_since: Option<TimeMs>,
}

impl Check for Conversations {
    fn check(&self) -> Result<(), Error> {
        check_cursor(self.cursor.as_deref())?;
        check_limit(self.limit, CONVERSATIONS_PAGE_MAX)
    }
}

/// Answer of `conversations`: pinned first, then newest message first, then by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationsReply {
    /// The conversations of this page.
    pub items: Vec<Conversation>,
    /// Where the next page starts; none on the last.
    pub next_cursor: Option<String>,
    /// Since the page before, what stands up to there has changed: conversations moved, came or
    /// went. Those that stood still are neither skipped nor repeated.
    pub moved: bool,
}

/// A row of a user's list, and its chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// The chat's id.
    pub id: ChatId,
    /// The same.
    pub chat_id: ChatId,
    /// Pinned.
    pub is_top: Flag,
    /// Without notifications.
    pub is_mute: Flag,
    /// Always 1 here.
    pub is_show: Flag,
    /// Hidden by the user.
    pub is_hide: Flag,
    /// Read position.
    pub max_read_seq: Sequence,
    /// When the user was last online in it.
    pub last_online_time: TimeMs,
    /// Who made the chat.
    pub creator_id: UserId,
    /// Single, group or official.
    #[serde(rename = "type")]
    pub chat_type: ChatType,
    /// Normal or disabled.
    pub status: ChatStatus,
    /// Whether its messages are encrypted.
    pub is_enc: Flag,
    /// The user's effective read floor.
    pub last_read_sequence: Sequence,
    /// The newest message's sequence.
    pub last_sequence: Sequence,
    /// The newest message's time.
    pub last_time: TimeMs,
    /// When the chat was made.
    pub created_at: TimeMs,
    /// Unread messages.
    pub unread: u64,
    /// Marked as unread by hand.
    pub marked_unread: Flag,
}

/// Arguments of `unread`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unread {
    /// Whose counts.
    #[serde(deserialize_with = "null_as_default")]
    pub user_ids: Vec<UserId>,
}

impl Check for Unread {
    fn check(&self) -> Result<(), Error> {
        check_ids("user_ids", self.user_ids.len())
    }
}

/// Answer of `unread`: one entry for each user, in the order asked, each once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnreadReply {
    /// The counts.
    pub items: Vec<UnreadItem>,
}

/// A user's counts. Hidden and deleted chats are in none of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnreadItem {
    /// Whose.
    pub user_id: UserId,
    /// Unread messages in chats that are not muted.
    pub messages: u64,
    /// Chats with unread messages or marked as unread, not muted.
    pub chats: u64,
    /// Unread messages in muted chats.
    pub muted_messages: u64,
    /// Muted chats with unread messages or marked as unread.
    pub muted_chats: u64,
}

/// Arguments of `explain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// Whose view.
    pub user_id: UserId,
    /// Of which chat.
    pub chat_id: ChatId,
}

impl Check for Explain {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Answer of `explain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainReply {
    /// Whether the chat is in the user's list.
    pub listed: bool,
    /// Why all is as it is, in words.
    pub reasons: Vec<String>,
    /// The newest message's sequence.
    pub last_sequence: Sequence,
    /// What does not count as unread, and why.
    pub floors: ExplainFloors,
    /// Unread messages.
    pub unread: u64,
}

/// Each floor: at or below it nothing is unread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainFloors {
    /// What was there before the user joined.
    pub join: Sequence,
    /// What the user deleted or cleared.
    pub deleted: Sequence,
    /// What the user has read.
    pub read: Sequence,
    /// The user's own newest message.
    pub sent: Sequence,
}
