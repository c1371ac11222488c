//! The lines of `export` and `import`: all that the node knows of a chat or a member, one JSON line
//! each.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[cfg(test)]
use super::test_values::Choices;
use super::{Check, Error, null_as_default};
use crate::limits::IMPORT_COUNTER_MAX;
use crate::types::{ChatId, ChatStatus, ChatType, Flag, Sequence, TimeMs, UserId};

/// One chat in an export, and one line of its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatLine {
    /// The chat's id.
    pub id: ChatId,
    /// The creator: a person, a group or a robot, not always a member.
    pub creator_id: UserId,
    /// The chat's type: single, group or official.
    #[serde(rename = "type")]
    pub chat_type: ChatType,
    /// The chat's status; normal if absent.
    #[serde(default)]
    pub status: Option<ChatStatus>,
    /// Whether the chat's messages are encrypted.
    #[serde(default, deserialize_with = "null_as_default")]
    pub is_enc: Flag,
    /// Sequence of the chat's newest message.
    #[serde(default, deserialize_with = "null_as_default")]
    pub last_sequence: Sequence,
    /// Time of the chat's newest message.
    #[serde(default, deserialize_with = "null_as_default")]
    pub last_time: TimeMs,
    /// When the chat was created.
    #[serde(default, deserialize_with = "null_as_default")]
    pub created_at: TimeMs,
    /// The chat's version; 1 if absent.
    #[serde(default)]
    pub version: Option<u64>,
    /// 1: the chat is dissolved and its id is never used again.
    #[serde(default, deserialize_with = "null_as_default")]
    pub dissolved: Flag,
    /// Digest of the `create` request, in 16 hex digits. It makes a repeated request recognizable.
    #[serde(default)]
    pub request_digest: Option<String>,
}

impl ChatLine {
    /// The digest as a number; 0 if the line has none.
    ///
    /// # Errors
    /// If the text is not 16 hex digits, as an export writes them.
    pub fn digest(&self) -> Result<u64, Error> {
        let Some(hex) = &self.request_digest else { return Ok(0) };
        let is_whole = hex.len() == 16 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digest = is_whole.then(|| u64::from_str_radix(hex, 16).ok()).flatten();
        digest.ok_or_else(|| {
            Error::invalid(format!("chat {}: request_digest: not 16 hex digits", self.id))
        })
    }
}

impl Check for ChatLine {
    fn check(&self) -> Result<(), Error> {
        check_counter(self.version, "version", || format!("chat {}", self.id))?;
        self.digest().map(|_| ())
    }
}

/// Rejects a counter above [`IMPORT_COUNTER_MAX`]. The node must still be able to count on from it.
fn check_counter(
    value: Option<u64>,
    field: &str,
    line: impl FnOnce() -> String,
) -> Result<(), Error> {
    match value {
        Some(value) if value > IMPORT_COUNTER_MAX => Err(Error::invalid(format!(
            "{}: {field}: at most 2^52, so that it can be counted up; this one is {value}",
            line()
        ))),
        _ => Ok(()),
    }
}

/// One membership in an export, and one line of its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberLine {
    /// The user who is the member.
    pub user_id: UserId,
    /// The chat that the user is a member of.
    pub chat_id: ChatId,
    /// The `id` of a list row; if present it must equal `chat_id`.
    #[serde(default)]
    pub id: Option<ChatId>,
    /// Whether the user pinned the chat.
    #[serde(default, deserialize_with = "null_as_default")]
    pub is_top: Flag,
    /// Whether the user muted the chat.
    #[serde(default, deserialize_with = "null_as_default")]
    pub is_mute: Flag,
    /// 0 means that the user deleted the chat; 1 if absent.
    #[serde(default)]
    pub is_show: Option<Flag>,
    /// Whether the user hid the chat.
    #[serde(default, deserialize_with = "null_as_default")]
    pub is_hide: Flag,
    /// The user's read position in the chat.
    #[serde(default, deserialize_with = "null_as_default")]
    pub max_read_seq: Sequence,
    /// When the user was last online in the chat.
    #[serde(default, deserialize_with = "null_as_default")]
    pub last_online_time: TimeMs,
    /// The join sequence: the first sequence that counts; 1 if absent.
    #[serde(default)]
    pub join_seq: Option<Sequence>,
    /// The watermark. If absent, a deleted row takes the chat's last sequence, another row 0.
    #[serde(default)]
    pub deleted_to_seq: Option<Sequence>,
    /// Sequence of the newest message that the user sent.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sent_seq: Sequence,
    /// Whether the user marked the chat as unread by hand.
    #[serde(default, deserialize_with = "null_as_default")]
    pub marked_unread: Flag,
    /// The place in the user's list: a larger order joined later. If absent, lines join as they
    /// arrive.
    #[serde(default)]
    pub join_order: Option<u64>,
    /// The version of the row; if absent, the next version of the user.
    #[serde(default)]
    pub version: Option<u64>,
    /// 1: the user is no longer a member; only `user_id`, `chat_id` and `version` count.
    #[serde(default, deserialize_with = "null_as_default")]
    pub removed: Flag,
}

impl Check for MemberLine {
    fn check(&self) -> Result<(), Error> {
        let line = || format!("member {} of {}", self.user_id, self.chat_id);
        if self.id.as_ref().is_some_and(|id| *id != self.chat_id) {
            return Err(Error::invalid(format!("{}: id and chat_id differ", line())));
        }
        check_counter(self.join_order, "join_order", line)?;
        check_counter(self.version, "version", line)
    }
}

#[cfg(test)]
draw! {
    ChatLine {
        id, creator_id, chat_type, status, is_enc, last_sequence, last_time, created_at,
        version = Choices::counter, dissolved, request_digest = Choices::digest,
    }
    MemberLine {
        user_id, chat_id, id = |_| None, is_top, is_mute, is_show, is_hide, max_read_seq,
        last_online_time, join_seq, deleted_to_seq, sent_seq, marked_unread,
        join_order = Choices::counter, version = Choices::counter, removed,
    }
}
