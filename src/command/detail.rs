//! `detail`: chats by their ids, and the form in which several commands show a chat.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::check_ids;
use super::items::{Items, bytes_of};
use super::schema::Bound;
use super::{Arguments, By, Check, Error, NamedKeys, Use, null_as_default};
use crate::limits::IDS_MAX;
use crate::types::{ChatId, ChatStatus, ChatType, Flag, Sequence, TimeMs, UserId};

/// Arguments of `detail`: chats, and optionally the user who looks at them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// The chats.
    #[serde(deserialize_with = "null_as_default")]
    pub ids: Vec<ChatId>,
    /// The user who looks. With it the reply has `last_read_sequence` and leaves out chats that the
    /// user is not a member of.
    #[serde(default)]
    pub user_id: Option<UserId>,
}

impl Check for Detail {
    fn check(&self) -> Result<(), Error> {
        check_ids("ids", self.ids.len())
    }
}

impl Arguments for Detail {
    type Reply = DetailReply;
    const EXAMPLE: Option<&str> = Some(r#"{"ids": ["GROUP"], "user_id": "USER"}"#);
    const BOUNDS: &[Bound] = &[Bound::list("ids", IDS_MAX)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        // The router asks all shards in one step, and none of them waits for another.
        keys.users(&self.user_id, Use::Read, By::Arrival);
        keys.chats(&self.ids, Use::Read, By::Arrival);
    }
}

/// Reply to `detail`: the chats that were found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Chats)]
pub struct DetailReply {
    /// The chats that exist and are not dissolved, in the order of the request, each once.
    pub items: Vec<ChatItem>,
}

impl Items for DetailReply {
    fn count(&self) -> usize {
        self.items.len()
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.items, |chat| chat.id.as_str())
    }
}

/// One chat, as `detail` shows it; the types of its ids can differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Chat)]
pub struct ChatItem<Chat = ChatId, User = UserId> {
    /// The chat's id.
    #[schema(value_type = ChatId)]
    pub id: Chat,
    /// The creator: a person, a group or a robot, not always a member.
    #[schema(value_type = UserId)]
    pub creator_id: User,
    /// The chat's type: single, group or official.
    #[serde(rename = "type")]
    pub chat_type: ChatType,
    /// The chat's status: normal or disabled.
    pub status: ChatStatus,
    /// Whether the chat's messages are encrypted.
    pub is_enc: Flag,
    /// The floor of the user who looks, but at most `last_sequence`; 0 without a user.
    pub last_read_sequence: Sequence,
    /// Sequence of the chat's newest message.
    pub last_sequence: Sequence,
    /// Time of the chat's newest message.
    pub last_time: TimeMs,
    /// When the chat was created.
    pub created_at: TimeMs,
}

/// A chat whose ids are borrowed from the shard that keeps it.
pub type ChatItemRef<'a> = ChatItem<&'a ChatId, &'a str>;

impl<Chat, User> ChatItem<Chat, User> {
    /// Copies the chat, with its ids replaced by `id` and `creator_id`.
    pub fn with_ids<C, U>(&self, id: C, creator_id: U) -> ChatItem<C, U> {
        let Self {
            chat_type, status, is_enc, last_read_sequence, last_sequence, last_time, ..
        } = *self;
        ChatItem {
            id,
            creator_id,
            chat_type,
            status,
            is_enc,
            last_read_sequence,
            last_sequence,
            last_time,
            created_at: self.created_at,
        }
    }
}

#[cfg(test)]
draw! {
    Detail { ids, user_id }
    DetailReply { items }
    ChatItem {
        id, creator_id, chat_type, status, is_enc, last_read_sequence, last_sequence, last_time,
        created_at,
    }
}
