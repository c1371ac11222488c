//! Export and import: chats and members as they are, one JSON line each outside.

use serde::{Deserialize, Serialize};

use super::chat::{check_cursor, check_limit};
use super::{Check, Error, null_as_default};
use crate::limits::{EXPORT_LINES_MAX, IMPORT_COUNTER_MAX, IMPORT_LINES_MAX};
use crate::types::{ChatId, ChatStatus, ChatType, Flag, IdempotencyKey, Sequence, TimeMs, UserId};

/// A chat's line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatLine {
    /// The chat's id.
    pub id: ChatId,
    /// Who made it.
    pub creator_id: UserId,
    /// Single, group or official.
    #[serde(rename = "type")]
    pub chat_type: ChatType,
    /// Normal (the default) or disabled.
    #[serde(default)]
    pub status: Option<ChatStatus>,
    /// Whether its messages are encrypted.
    #[serde(default, deserialize_with = "null_as_default")]
    pub is_enc: Flag,
    /// The newest message's sequence.
    #[serde(default, deserialize_with = "null_as_default")]
    pub last_sequence: Sequence,
    /// The newest message's time.
    #[serde(default, deserialize_with = "null_as_default")]
    pub last_time: TimeMs,
    /// When it was made.
    #[serde(default, deserialize_with = "null_as_default")]
    pub created_at: TimeMs,
    /// The chat's version; 1 if absent.
    #[serde(default)]
    pub version: Option<u64>,
    /// 1: the chat is gone and its id never used again.
    #[serde(default, deserialize_with = "null_as_default")]
    pub dissolved: Flag,
    /// Digest of the `create` request that made it, so that the same request is known again.
    #[serde(default)]
    pub request_digest: Option<String>,
}

impl ChatLine {
    /// The number that the digest's text stands for; 0 without one.
    ///
    /// # Errors
    /// If the text is none that an export has.
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

/// A number that the node counts up must leave room for that.
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

/// A membership's line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberLine {
    /// Who.
    pub user_id: UserId,
    /// In which chat.
    pub chat_id: ChatId,
    /// The list row's `id`; if given it must be `chat_id`.
    #[serde(default)]
    pub id: Option<ChatId>,
    /// Pinned.
    #[serde(default, deserialize_with = "null_as_default")]
    pub is_top: Flag,
    /// Muted.
    #[serde(default, deserialize_with = "null_as_default")]
    pub is_mute: Flag,
    /// 0 means deleted; 1 if absent.
    #[serde(default)]
    pub is_show: Option<Flag>,
    /// Hidden.
    #[serde(default, deserialize_with = "null_as_default")]
    pub is_hide: Flag,
    /// Read position.
    #[serde(default, deserialize_with = "null_as_default")]
    pub max_read_seq: Sequence,
    /// When the user was last online in it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub last_online_time: TimeMs,
    /// First sequence that counts; 1 if absent.
    #[serde(default)]
    pub join_seq: Option<Sequence>,
    /// Delete watermark; if absent the chat's last sequence for a deleted row, else 0.
    #[serde(default)]
    pub deleted_to_seq: Option<Sequence>,
    /// The user's own newest message.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sent_seq: Sequence,
    /// Marked as unread by hand.
    #[serde(default, deserialize_with = "null_as_default")]
    pub marked_unread: Flag,
    /// Place in the user's list: larger is joined later. In order of arrival if absent.
    #[serde(default)]
    pub join_order: Option<u64>,
    /// The row's version in the user's change log; the user's next if absent.
    #[serde(default)]
    pub version: Option<u64>,
    /// 1: the user is no member any more; only `user_id`, `chat_id` and `version` count.
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

/// Arguments of `export`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Most lines in the answer.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Check for Export {
    fn check(&self) -> Result<(), Error> {
        check_cursor(self.cursor.as_deref())?;
        check_limit(self.limit, EXPORT_LINES_MAX)
    }
}

/// Answer of `export`: a chat's line comes before or with its members' lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportReply {
    /// Chats of this page.
    pub chats: Vec<ChatLine>,
    /// Members of this page.
    pub members: Vec<MemberLine>,
    /// Where the next page starts; none on the last.
    pub next_cursor: Option<String>,
}

/// Arguments of `import`: the chats are taken before the members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Chats.
    #[serde(default, deserialize_with = "null_as_default")]
    pub chats: Vec<ChatLine>,
    /// Members, of these chats or of chats that are there.
    #[serde(default, deserialize_with = "null_as_default")]
    pub members: Vec<MemberLine>,
    /// Take lines for chats and memberships that are there: the higher sequence of both stays.
    #[serde(default)]
    pub merge: Option<bool>,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Import {
    /// Chats and members together.
    pub fn lines(&self) -> usize {
        self.chats.len().saturating_add(self.members.len())
    }
}

impl Check for Import {
    fn check(&self) -> Result<(), Error> {
        let lines = self.lines();
        if lines > IMPORT_LINES_MAX {
            return Err(Error::too_large(format!(
                "at most {IMPORT_LINES_MAX} lines in one request, this one has {lines}"
            )));
        }
        self.chats.iter().try_for_each(Check::check)?;
        self.members.iter().try_for_each(Check::check)
    }
}

/// Answer of `import`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImportReply {
    /// Chats taken.
    pub chats: u64,
    /// Members taken.
    pub members: u64,
}
