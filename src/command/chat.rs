//! Chats and their members: commands of the backend, never of end users.

use serde::{Deserialize, Serialize};

use super::{Check, Error, null_as_default};
use crate::limits::{IDS_MAX, MEMBERS_PAGE_MAX, TEXT_BYTES_MAX, USERS_MAX};
use crate::types::{
    ChatId, ChatStatus, ChatType, Flag, IdempotencyKey, KeyHasher, Sequence, TimeMs, UserId,
};

/// Arguments of `create`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// The chat's id; without it a single chat's is derived from its users, others' from the
    /// idempotency key, or at random.
    #[serde(default)]
    pub id: Option<ChatId>,
    /// Single, group or official.
    #[serde(rename = "type")]
    pub chat_type: ChatType,
    /// Who made it: a person, a group or a robot; a member only if in `user_ids`.
    pub creator_id: UserId,
    /// Whether its messages are encrypted.
    #[serde(default)]
    pub is_enc: Option<Flag>,
    /// Creation time; the server's if absent.
    #[serde(default)]
    pub created_at: Option<TimeMs>,
    /// The first members; exactly two for a single chat.
    #[serde(deserialize_with = "null_as_default")]
    pub user_ids: Vec<UserId>,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Create {
    /// A digest of the request without its id (64 bits, never 0), so that the same request is known
    /// when it comes again. The members' order and repetition do not count.
    pub fn digest(&self) -> u64 {
        let mut users: Vec<&str> = self.user_ids.iter().map(UserId::as_str).collect();
        users.sort_unstable();
        users.dedup();
        // Ids hold no control characters, so that these separators make the text unambiguous.
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

/// Answer of `create`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateReply {
    /// The chat's id.
    pub id: ChatId,
    /// False if the same chat was there already.
    pub created: bool,
    /// The chat's version.
    pub version: u64,
}

/// Arguments of `add_members`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddMembers {
    /// The chat.
    pub chat_id: ChatId,
    /// Who joins; those who are members already stay as they are.
    #[serde(deserialize_with = "null_as_default")]
    pub user_ids: Vec<UserId>,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// Only if this is the chat's version; else 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for AddMembers {
    fn check(&self) -> Result<(), Error> {
        check_users(&self.user_ids)
    }
}

/// Answer of `add_members`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddMembersReply {
    /// How many joined.
    pub added: u64,
    /// How many members the chat has now.
    pub members: u64,
}

/// Arguments of `remove_members`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveMembers {
    /// The chat.
    pub chat_id: ChatId,
    /// Who leaves; those who are no members are ignored.
    #[serde(deserialize_with = "null_as_default")]
    pub user_ids: Vec<UserId>,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// Only if this is the chat's version; else 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for RemoveMembers {
    fn check(&self) -> Result<(), Error> {
        check_users(&self.user_ids)
    }
}

/// Answer of `remove_members`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoveMembersReply {
    /// How many left.
    pub removed: u64,
    /// How many members the chat has now.
    pub members: u64,
}

/// Arguments of `members`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// The chat.
    pub chat_id: ChatId,
    /// `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Most members in the answer.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Check for Members {
    fn check(&self) -> Result<(), Error> {
        check_cursor(self.cursor.as_deref())?;
        check_limit(self.limit, MEMBERS_PAGE_MAX)
    }
}

/// One member of a chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberItem {
    /// Who.
    pub user_id: UserId,
    /// The first sequence that counts for them.
    pub join_seq: Sequence,
}

/// Answer of `members`: in join order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MembersReply {
    /// The members of this page.
    pub items: Vec<MemberItem>,
    /// Where the next page starts; none on the last.
    pub next_cursor: Option<String>,
}

/// Arguments of `set_status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetStatus {
    /// The chat.
    pub chat_id: ChatId,
    /// 1 normal, 2 disabled.
    pub status: ChatStatus,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// Only if this is the chat's version; else 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for SetStatus {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Answer of `set_status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetStatusReply {
    /// The chat's version.
    pub version: u64,
}

/// Arguments of `dissolve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dissolve {
    /// The chat.
    pub chat_id: ChatId,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// Only if this is the chat's version; else 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for Dissolve {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn check_users(user_ids: &[UserId]) -> Result<(), Error> {
    if user_ids.len() > USERS_MAX {
        return Err(Error::too_large(format!(
            "user_ids: at most {USERS_MAX} in one request, this one has {}; send several",
            user_ids.len()
        )));
    }
    Ok(())
}

/// At most [`IDS_MAX`] ids.
pub(super) fn check_ids(name: &str, count: usize) -> Result<(), Error> {
    if count > IDS_MAX {
        return Err(Error::too_large(format!(
            "{name}: at most {IDS_MAX} in one request, this one has {count}"
        )));
    }
    Ok(())
}

/// A page holds 1 to `max` entries.
pub(super) fn check_limit(limit: Option<u32>, max: usize) -> Result<(), Error> {
    match limit.map(usize::try_from) {
        None => Ok(()),
        Some(Ok(limit)) if (1..=max).contains(&limit) => Ok(()),
        Some(_) => Err(Error::invalid(format!("limit: must be 1 to {max}"))),
    }
}

/// A cursor is short.
pub(super) fn check_cursor(cursor: Option<&str>) -> Result<(), Error> {
    check_text("cursor", cursor)
}

/// A text argument is at most [`TEXT_BYTES_MAX`] bytes.
pub(super) fn check_text(name: &str, text: Option<&str>) -> Result<(), Error> {
    if text.is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(Error::too_large(format!("{name}: at most {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}
