//! Changes of rows since a version (`sync`), and of the whole node as they happen (`watch`).

use serde::{Deserialize, Serialize};

use super::chat::{check_limit, check_text};
use super::{Check, Error};
use crate::limits::SYNC_PAGE_MAX;
use crate::types::{ChatId, ChatStatus, Flag, Sequence, TimeMs, UserId};

/// Arguments of `sync`: a user, and the point up to which the caller knows the user's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// The user whose rows are synchronized.
    pub user_id: UserId,
    /// `log` and `version` of the previous reply. Without it all rows come, like after a reset.
    #[serde(default)]
    pub since: Option<Since>,
    /// Most changes in the reply; `SYNC_PAGE_MAX` if absent.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Check for Sync {
    fn check(&self) -> Result<(), Error> {
        check_text("since.log", self.since.as_ref().map(|since| since.log.as_str()))?;
        check_limit(self.limit, SYNC_PAGE_MAX)
    }
}

/// The point up to which a client knows the changes of a user's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// The incarnation of the log that the version belongs to; opaque.
    pub log: String,
    /// The version up to which the caller has all changes.
    pub version: u64,
}

/// Reply to `sync`: each changed chat once, oldest change first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncReply {
    /// The `log` of the next `since`.
    pub log: String,
    /// The `version` of the next `since`.
    pub version: u64,
    /// The client must forget all rows before it applies these. `since` was too old, or of another
    /// log.
    pub reset: bool,
    /// Why the client must forget its rows; `None` without `reset`.
    pub reason: Option<String>,
    /// More changes follow: the client sends the next `sync` now.
    pub more: bool,
    /// The changed rows of this reply.
    pub items: Vec<SyncItem>,
}

/// What happened to a row since the version of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncOp {
    /// The row is in the list, with the fields of the item.
    Upsert,
    /// The row left the list: the user deleted the chat, or is no longer a member.
    Remove,
}

/// One changed row. After the end of a membership only its id is set; a deleted row has all fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// Arguments of `watch`: where the stream begins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The offset of the last change that the caller has seen. Without it the stream begins now.
    #[serde(default)]
    pub from: Option<String>,
}

impl Check for Watch {
    fn check(&self) -> Result<(), Error> {
        check_text("from", self.from.as_deref())
    }
}

macro_rules! watch_ops {
    ($($(#[$doc:meta])* $variant:ident),+ $(,)?) => {
        /// The kind of a change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum WatchOp { $($(#[$doc])* $variant),+ }

        impl WatchOp {
            /// Every kind of change.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }
    };
}

watch_ops! {
    /// No change for a while, though the offset may have moved. A stream also begins with one.
    Heartbeat,
    /// A chat was created or imported.
    Create,
    /// A chat's sequence rose; `user_id` is the sender, if known.
    Advance,
    /// A chat was enabled or disabled.
    Status,
    /// A chat was dissolved, for good.
    Dissolve,
    /// A user became a member.
    Join,
    /// A user is no longer a member.
    Leave,
    /// A user deleted a chat.
    Delete,
    /// A message brought a deleted chat back to a user.
    Return,
    /// A user's row was imported.
    Import,
    /// A user's read position rose.
    Read,
    /// A user set flags of a row.
    Flags,
    /// A user cleared a chat's history.
    Clear,
    /// Every trace of a user was removed.
    Erase,
    /// The node learned late of a message that the user sent. All messages up to it count as read
    /// for the user; the chat's sequence stays.
    Sent,
    /// A change of a newer server that this version has no name for.
    #[serde(other)]
    Other,
}

/// One change of a `watch` stream. Fields that do not belong to the op are absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchEvent {
    /// The position behind this change, for a later `from`; opaque.
    pub offset: String,
    /// The user whom the change concerns.
    pub user_id: Option<UserId>,
    /// The chat that the change concerns.
    pub chat_id: Option<ChatId>,
    /// The kind of the change, which decides which fields are present.
    pub op: WatchOp,
    /// The chat's newest sequence.
    pub last_sequence: Option<Sequence>,
    /// The time of that sequence.
    pub last_time: Option<TimeMs>,
    /// The sequence of the op: read position, watermark, newest sent message, or join sequence.
    pub seq: Option<Sequence>,
    /// The new pin flag, if the change set it.
    pub is_top: Option<Flag>,
    /// The new mute flag, if the change set it.
    pub is_mute: Option<Flag>,
    /// The new hide flag, if the change set it.
    pub is_hide: Option<Flag>,
    /// The new unread mark, if the change set it.
    pub marked_unread: Option<Flag>,
    /// The chat's new status, if the change set it.
    pub status: Option<ChatStatus>,
}

/// Arguments of `cancel`: the watch to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The request id of the `watch`, which must be of this connection.
    pub request_id: u64,
}

impl Check for Cancel {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}
