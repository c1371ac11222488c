//! Chats and their members: commands for the backend, never for end users.

use serde::{Deserialize, Serialize};

use super::{Check, Error, null_as_default};
use crate::limits::{IDS_MAX, MEMBERS_PAGE_MAX, TEXT_BYTES_MAX, USERS_MAX};
use crate::types::{
    ChatId, ChatStatus, ChatType, Flag, IdempotencyKey, KeyHasher, Sequence, TimeMs, UserId,
};

/// Arguments of `create`: a chat and its first members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Create {
    /// A digest of the request without its id: 64 bits, never 0. It makes a repeated request
    /// recognizable. The order and repetition of members do not count.
    pub fn digest(&self) -> u64 {
        let mut users: Vec<&str> = self.user_ids.iter().map(UserId::as_str).collect();
        users.sort_unstable();
        users.dedup();
        // Ids have no control characters, so these separators make the text unambiguous.
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

/// Reply to `create`: the chat, new or known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateReply {
    /// The chat's id.
    pub id: ChatId,
    /// False if the same request had created the chat before.
    pub created: bool,
    /// The version that the chat has now.
    pub version: u64,
}

/// Arguments of `add_members`: a chat, and the users who join it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddMembers {
    /// The chat's id.
    pub chat_id: ChatId,
    /// The users who join. Users who are members already stay as they are.
    #[serde(deserialize_with = "null_as_default")]
    pub user_ids: Vec<UserId>,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the chat to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for AddMembers {
    fn check(&self) -> Result<(), Error> {
        check_users(&self.user_ids)
    }
}

/// Reply to `add_members`: how many joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddMembersReply {
    /// How many of the users are new members.
    pub added: u64,
    /// How many members the chat has now.
    pub members: u64,
}

/// Arguments of `remove_members`: a chat, and the users who leave it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveMembers {
    /// The chat's id.
    pub chat_id: ChatId,
    /// The users who leave. Users who are not members are ignored.
    #[serde(deserialize_with = "null_as_default")]
    pub user_ids: Vec<UserId>,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the chat to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for RemoveMembers {
    fn check(&self) -> Result<(), Error> {
        check_users(&self.user_ids)
    }
}

/// Reply to `remove_members`: how many left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoveMembersReply {
    /// How many of the users were members.
    pub removed: u64,
    /// How many members the chat has now.
    pub members: u64,
}

/// Arguments of `members`: a chat, and optionally a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// The chat's id.
    pub chat_id: ChatId,
    /// `next_cursor` of the previous page; `None` asks for the first page.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Most members in the reply; `MEMBERS_PAGE_MAX` if absent.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Check for Members {
    fn check(&self) -> Result<(), Error> {
        check_cursor(self.cursor.as_deref())?;
        check_limit(self.limit, MEMBERS_PAGE_MAX)
    }
}

/// One member of a chat, as `members` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberItem {
    /// The user who is the member.
    pub user_id: UserId,
    /// The join sequence: the first sequence that counts for the member.
    pub join_seq: Sequence,
}

/// Reply to `members`: one page, in join order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MembersReply {
    /// The members of this page.
    pub items: Vec<MemberItem>,
    /// The `cursor` of the next page; `None` on the last page.
    pub next_cursor: Option<String>,
}

/// Arguments of `set_status`: a chat and its new status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetStatus {
    /// The chat's id.
    pub chat_id: ChatId,
    /// The new status: 1 normal, 2 disabled.
    pub status: ChatStatus,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the chat to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for SetStatus {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Reply to `set_status`: the chat's version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetStatusReply {
    /// The version that the chat has now.
    pub version: u64,
}

/// Arguments of `dissolve`: the chat to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dissolve {
    /// The chat's id.
    pub chat_id: ChatId,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the chat to have this version; otherwise it fails with 409.
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

/// Rejects more than [`IDS_MAX`] ids in the argument `name`.
pub(super) fn check_ids(name: &str, count: usize) -> Result<(), Error> {
    if count > IDS_MAX {
        return Err(Error::too_large(format!(
            "{name}: at most {IDS_MAX} in one request, this one has {count}"
        )));
    }
    Ok(())
}

/// Rejects a page size that is not 1 to `max`.
pub(super) fn check_limit(limit: Option<u32>, max: usize) -> Result<(), Error> {
    match limit.map(usize::try_from) {
        None => Ok(()),
        Some(Ok(limit)) if (1..=max).contains(&limit) => Ok(()),
        Some(_) => Err(Error::invalid(format!("limit: must be 1 to {max}"))),
    }
}

/// Rejects a cursor of more than [`TEXT_BYTES_MAX`] bytes.
pub(super) fn check_cursor(cursor: Option<&str>) -> Result<(), Error> {
    check_text("cursor", cursor)
}

/// Rejects a text argument of more than [`TEXT_BYTES_MAX`] bytes.
pub(super) fn check_text(name: &str, text: Option<&str>) -> Result<(), Error> {
    if text.is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(Error::too_large(format!("{name}: at most {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}
