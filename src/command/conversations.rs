//! `conversations`: a user's rows joined with their chats, newest message first, in pages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::{check_cursor, check_limit};
use super::items::{Items, bytes_of};
use super::schema::Bound;
use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::limits::{CONVERSATIONS_PAGE, CONVERSATIONS_PAGE_MAX};
use crate::types::{ChatId, ChatStatus, ChatType, Flag, Sequence, TimeMs, UserId};

/// Arguments of `conversations`. An absent filter lets everything through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Conversations {
    /// The user whose conversations are listed.
    pub user_id: UserId,
    /// Most conversations in the reply; 50 if absent, at most 200.
    #[serde(default)]
    pub limit: Option<u32>,
    /// `next_cursor` of the previous page; if absent, the first page comes.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Only conversations with unread messages or with an unread mark.
    #[serde(default)]
    pub unread_only: Option<bool>,
    /// Only conversations of this type.
    #[serde(default, rename = "type")]
    pub chat_type: Option<ChatType>,
    /// 1: only hidden conversations; 0: only the others.
    #[serde(default)]
    pub hidden: Option<Flag>,
    /// Only conversations whose newest message is of this time or later.
    #[serde(default)]
    pub active_since: Option<TimeMs>,
}

impl Check for Conversations {
    fn check(&self) -> Result<(), Error> {
        check_cursor(self.cursor.as_deref())?;
        check_limit(self.limit, CONVERSATIONS_PAGE_MAX)
    }
}

impl Arguments for Conversations {
    type Reply = ConversationsReply;
    const EXAMPLE: Option<&str> = Some(r#"{"user_id": "USER", "limit": 20}"#);
    const BOUNDS: &[Bound] = &[Bound::page("limit", CONVERSATIONS_PAGE_MAX, CONVERSATIONS_PAGE)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        // The router first asks for the user's rows, and then for their chats.
        keys.user(&self.user_id, Use::Read, By::Detour);
    }
}

/// Reply to `conversations`: pinned first, then newest message first, then by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ConversationsPage)]
pub struct ConversationsReply {
    /// The conversations of this page.
    pub items: Vec<Conversation>,
    /// The `cursor` of the next page; null on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// True if conversations before this page moved, came or went since the previous page. All
    /// others are neither skipped nor repeated.
    pub moved: bool,
}

impl Items for ConversationsReply {
    fn count(&self) -> usize {
        self.items.len()
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.items, |row| row.id.as_str())
    }
}

/// A row of a user's list, joined with its chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Conversation {
    /// The chat's id.
    pub id: ChatId,
    /// The chat's id again, under the API's second name for it.
    pub chat_id: ChatId,
    /// Whether the user pinned the chat.
    pub is_top: Flag,
    /// Whether the user muted the chat: no notifications.
    pub is_mute: Flag,
    /// Always 1, because deleted rows are not conversations.
    pub is_show: Flag,
    /// Whether the user hid the chat.
    pub is_hide: Flag,
    /// The user's read position in the chat.
    pub max_read_seq: Sequence,
    /// When the user was last online in the chat.
    pub last_online_time: TimeMs,
    /// The creator: a person, a group or a robot, not always a member.
    pub creator_id: UserId,
    /// The chat's type: single, group or official.
    #[serde(rename = "type")]
    pub chat_type: ChatType,
    /// The chat's status: normal or disabled.
    pub status: ChatStatus,
    /// Whether the chat's messages are encrypted.
    pub is_enc: Flag,
    /// The user's floor, but at most `last_sequence`; `unread` counts the messages above it.
    pub last_read_sequence: Sequence,
    /// Sequence of the chat's newest message.
    pub last_sequence: Sequence,
    /// Time of the chat's newest message.
    pub last_time: TimeMs,
    /// When the chat was created.
    pub created_at: TimeMs,
    /// How many messages of the chat are unread for the user.
    pub unread: u64,
    /// Whether the user marked the chat as unread by hand.
    pub marked_unread: Flag,
}

#[cfg(test)]
draw! {
    Conversations { user_id, limit, cursor, unread_only, chat_type, hidden, active_since }
    ConversationsReply { items, next_cursor, moved }
    Conversation {
        id, chat_id, is_top, is_mute, is_show, is_hide, max_read_seq, last_online_time, creator_id,
        chat_type, status, is_enc, last_read_sequence, last_sequence, last_time, created_at, unread,
        marked_unread,
    }
}
