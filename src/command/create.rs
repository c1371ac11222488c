//! `create`: a new chat with its first members.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::check_users;
use super::schema::Bound;
use super::{Arguments, By, Check, Error, NamedKeys, Use, null_as_default};
use crate::limits::USERS_MAX;
use crate::types::{ChatId, ChatType, Flag, IdempotencyKey, KeyHasher, TimeMs, UserId};

/// Arguments of `create`: a chat and its first members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// The chat's id. If absent, a single chat derives it from its users. Other chats derive it
    /// from the idempotency key, or draw it at random.
    #[serde(default)]
    pub id: Option<ChatId>,
    /// The chat's type: single, group or official.
    #[serde(rename = "type")]
    pub chat_type: ChatType,
    /// The creator: a person, a group or a robot; a member only if in `user_ids`.
    pub creator_id: UserId,
    /// Whether the chat's messages are encrypted.
    #[serde(default)]
    pub is_enc: Option<Flag>,
    /// The time of creation; the server's time if absent.
    #[serde(default)]
    pub created_at: Option<TimeMs>,
    /// The first members; exactly two for a single chat.
    #[serde(deserialize_with = "null_as_default")]
    pub user_ids: Vec<UserId>,
    /// Makes a retry safe: the same request with this key gets the first reply.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Create {
    /// A digest of the request without its id: 64 bits, never 0. An equal digest shows that a
    /// request was repeated. Order and repetition of members make no difference.
    pub fn digest(&self) -> u64 {
        let mut users: Vec<&str> = self.user_ids.iter().map(UserId::as_str).collect();
        users.sort_unstable();
        users.dedup();
        // Ids have no control characters, so a separator is never a part of one.
        let text = format!(
            "{}\n{}\n{}\n{}\n{}",
            self.chat_type,
            self.creator_id,
            self.is_enc.unwrap_or(Flag::NO),
            self.created_at.map_or(String::new(), |at| at.to_string()),
            users.join("\n"),
        );
        KeyHasher::new(0).hash(&text).max(1)
    }
}

impl Check for Create {
    fn check(&self) -> Result<(), Error> {
        check_users(&self.user_ids)?;
        if self.chat_type == ChatType::Single {
            match self.user_ids.as_slice() {
                [first, second] if first != second => {}
                _ => return Err(Error::invalid("user_ids: a single chat has exactly two users")),
            }
        }
        Ok(())
    }
}

impl Arguments for Create {
    type Reply = CreateReply;
    const EXAMPLE: Option<&str> =
        Some(r#"{"id": "g_new", "type": 2, "creator_id": "alice", "user_ids": ["alice", "bob"]}"#);
    const BOUNDS: &[Bound] = &[Bound::list("user_ids", USERS_MAX)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        // The chat changes on arrival. Deliveries then change the rows of these users.
        keys.chats(&self.id, Use::Write, By::Arrival);
        keys.users(&self.user_ids, Use::Write, By::Detour);
    }
}

/// Reply to `create`: the id and version of the chat, which is new or known already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreateReply {
    /// The chat's id.
    pub id: ChatId,
    /// False if the same request had created the chat before.
    pub created: bool,
    /// The version that the chat has now.
    pub version: u64,
}

#[cfg(test)]
draw! {
    Create { id, chat_type, creator_id, is_enc, created_at, user_ids, idempotency_key }
    CreateReply { id, created, version }
}
