//! Changes: a user's own since a version, and the whole node's as they happen.

use serde::{Deserialize, Serialize};

use super::chat::{check_limit, check_text};
use super::{Check, Error};
use crate::limits::SYNC_PAGE_MAX;
use crate::types::{ChatId, ChatStatus, Flag, Sequence, TimeMs, UserId};

/// Arguments of `sync`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// Whose changes.
    pub user_id: UserId,
    /// `log` and `version` of the answer before; without it all rows come, as after a reset.
    #[serde(default)]
    pub since: Option<Since>,
    /// Most changes in the answer.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Check for Sync {
    fn check(&self) -> Result<(), Error> {
        check_text("since.log", self.since.as_ref().map(|since| since.log.as_str()))?;
        check_limit(self.limit, SYNC_PAGE_MAX)
    }
}

/// A point in a user's change log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// Which log; opaque.
    pub log: String,
    /// The version up to which the caller has all changes.
    pub version: u64,
}

/// Answer of `sync`: each changed chat once, oldest change first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncReply {
    /// For the next `since`.
    pub log: String,
    /// For the next `since`.
    pub version: u64,
    /// Forget all rows before taking these: `since` was too old, or of another log.
    pub reset: bool,
    /// Why, if so.
    pub reason: Option<String>,
    /// There is more: ask again at once.
    pub more: bool,
    /// The changes.
    pub items: Vec<SyncItem>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncOp {
    /// It is in the list, as told.
    Upsert,
    /// It is not in the list: deleted, or the user is no member any more.
    Remove,
}

/// A changed row. One that is gone has only its id; one that was deleted has its other fields too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncItem {
    /// What became of it.
    pub op: SyncOp,
    /// The chat's id.
    pub id: ChatId,
    /// The same.
    pub chat_id: ChatId,
    /// Pinned.
    pub is_top: Flag,
    /// Without notifications.
    pub is_mute: Flag,
    /// 1 for an upsert, 0 for a remove.
    pub is_show: Flag,
    /// Hidden by the user.
    pub is_hide: Flag,
    /// Read position.
    pub max_read_seq: Sequence,
    /// When the user was last online in it.
    pub last_online_time: TimeMs,
    /// Marked as unread by hand.
    pub marked_unread: Flag,
    /// The version of this change.
    pub version: u64,
}

/// Arguments of `watch`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The offset of the last change that was seen; from now on without it.
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
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum WatchOp { $($(#[$doc])* $variant),+ }

        impl WatchOp {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }
    };
}

watch_ops! {
    /// Nothing for a while; the offset may have moved all the same. It is the first thing told too.
    Heartbeat,
    /// A chat was made, or imported.
    Create,
    /// A chat's sequence rose; `user_id` is the sender, if known.
    Advance,
    /// A chat was enabled or disabled.
    Status,
    /// A chat ended for good.
    Dissolve,
    /// A user became a member.
    Join,
    /// A user is no member any more.
    Leave,
    /// A user deleted a chat.
    Delete,
    /// A message brought a deleted chat back to a user.
    Return,
    /// A user's row was imported.
    Import,
    /// A user has read.
    Read,
    /// A user set flags.
    Flags,
    /// A user cleared a chat's history.
    Clear,
    /// A user was erased.
    Erase,
    /// A user's own message became known late: all up to it is read for them; the chat's sequence stays.
    Sent,
    /// Something that a newer server tells and this version has no name for.
    #[serde(other)]
    Other,
}

/// One change, as `watch` tells it. What does not belong to the op is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchEvent {
    /// Where to go on behind it; opaque.
    pub offset: String,
    /// The user whom it concerns.
    pub user_id: Option<UserId>,
    /// The chat.
    pub chat_id: Option<ChatId>,
    /// What happened.
    pub op: WatchOp,
    /// The chat's newest sequence.
    pub last_sequence: Option<Sequence>,
    /// Its time.
    pub last_time: Option<TimeMs>,
    /// Read position, watermark, own newest message, or the sequence that a member joined at.
    pub seq: Option<Sequence>,
    /// Pin, if it was set.
    pub is_top: Option<Flag>,
    /// Mute, if it was set.
    pub is_mute: Option<Flag>,
    /// Hide, if it was set.
    pub is_hide: Option<Flag>,
    /// Mark, if it was set.
    pub marked_unread: Option<Flag>,
    /// The chat's status, if it was set.
    pub status: Option<ChatStatus>,
}

/// Arguments of `cancel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The `watch` of this connection that ends.
    pub request_id: u64,
}

impl Check for Cancel {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}
