//! `sync`: a user's changed rows since a version.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::{check_limit, check_text};
use super::items::{Items, bytes_of};
use super::schema::Bound;
#[cfg(test)]
use super::test_values::{Choices, Draw};
use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::limits::SYNC_PAGE_MAX;
use crate::types::{ChatId, Flag, Sequence, TimeMs, UserId};

/// Arguments of `sync`: a user, and the point up to which the caller knows the user's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// The user whose rows are synchronized.
    pub user_id: UserId,
    /// `log` and `version` of the previous reply. Without it all rows come, like after a reset.
    #[serde(default)]
    pub since: Option<Since>,
    /// Most changes in the reply.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Check for Sync {
    fn check(&self) -> Result<(), Error> {
        check_text("since.log", self.since.as_ref().map(|since| since.log.as_str()))?;
        check_limit(self.limit, SYNC_PAGE_MAX)
    }
}

impl Arguments for Sync {
    type Reply = SyncReply;
    const EXAMPLE: Option<&str> = Some(r#"{"user_id": "USER"}"#);
    const BOUNDS: &[Bound] = &[Bound::page("limit", SYNC_PAGE_MAX, SYNC_PAGE_MAX)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        keys.user(&self.user_id, Use::Read, By::Arrival);
    }
}

/// The point up to which a client knows the changes of a user's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// The incarnation of the log that the version belongs to; opaque.
    pub log: String,
    /// The version up to which the caller has all changes.
    pub version: u64,
}

/// Reply to `sync`: each changed chat once, oldest change first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Changes)]
pub struct SyncReply {
    /// The `log` of the next `since`.
    pub log: String,
    /// The `version` of the next `since`.
    pub version: u64,
    /// If true, the client must forget all rows before it applies these: its `since` was too old,
    /// or named another log.
    pub reset: bool,
    /// Why the client must forget its rows; null without `reset`.
    #[schema(required)]
    pub reason: Option<String>,
    /// More changes follow: the client sends the next `sync` now.
    pub more: bool,
    /// The changed rows of this reply.
    pub items: Vec<SyncItem>,
}

impl Items for SyncReply {
    fn count(&self) -> usize {
        self.items.len()
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.items, |item| item.id.as_str())
    }
}

/// Whether a changed row is in the list now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncOp {
    /// The row is in the list, with the fields of the item.
    Upsert,
    /// The row left the list: the user deleted the chat, or is no longer a member.
    Remove,
}

/// One changed row. If the membership ended, only the id is set. If the user deleted the chat, all
/// fields are set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Change)]
pub struct SyncItem {
    /// Whether the row is in the list or left it.
    pub op: SyncOp,
    /// The chat's id.
    pub id: ChatId,
    /// The chat's id again, under the API's second name for it.
    pub chat_id: ChatId,
    /// Whether the user pinned the chat.
    pub is_top: Flag,
    /// Whether the user muted the chat: no notifications.
    pub is_mute: Flag,
    /// 1 for an upsert, 0 for a remove.
    pub is_show: Flag,
    /// Whether the user hid the chat.
    pub is_hide: Flag,
    /// The user's read position in the chat.
    pub max_read_seq: Sequence,
    /// When the user was last online in the chat.
    pub last_online_time: TimeMs,
    /// Whether the user marked the chat as unread by hand.
    pub marked_unread: Flag,
    /// The version that the row got by this change.
    pub version: u64,
}

#[cfg(test)]
draw! {
    Sync { user_id, since, limit }
    Since { log, version }
    SyncReply { log, version, reset, reason, more, items }
    SyncItem {
        op, id, chat_id, is_top, is_mute, is_show, is_hide, max_read_seq, last_online_time,
        marked_unread, version,
    }
}

#[cfg(test)]
impl Draw for SyncOp {
    fn draw(choices: &mut Choices<'_>) -> Self {
        choices.one_of(&[Self::Upsert, Self::Remove])
    }
}
