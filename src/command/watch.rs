//! `watch`: all changes of the node as they happen, as a stream of replies.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::check_text;
#[cfg(test)]
use super::test_values::{Choices, Draw};
use super::{Arguments, Check, Error, NamedKeys};
use crate::types::{ChatId, ChatStatus, Flag, Sequence, TimeMs, UserId};

/// Arguments of `watch`: where the stream begins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
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

impl Arguments for Watch {
    type Reply = WatchEvent;
    const EXAMPLE: Option<&str> = Some(r#"{}"#);

    fn touch(&self, _: &mut impl NamedKeys) {}
}

macro_rules! watch_ops {
    ($($(#[doc = $about:literal])+ $(#[serde($other:ident)])? $variant:ident),+ $(,)?) => {
        /// The kind of a change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum WatchOp { $($(#[doc = $about])+ $(#[serde($other)])? $variant),+ }

        impl WatchOp {
            /// Every kind of change.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// What happened, in words.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),+)),+ }
            }
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

/// One change in the stream of a `watch`. A field is absent if changes of this kind do not have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
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

#[cfg(test)]
draw! {
    Watch { from }
    WatchEvent {
        offset, user_id, chat_id, op, last_sequence, last_time, seq, is_top, is_mute, is_hide,
        marked_unread, status,
    }
}

#[cfg(test)]
impl Draw for WatchOp {
    fn draw(choices: &mut Choices<'_>) -> Self {
        choices.one_of(Self::ALL)
    }
}
