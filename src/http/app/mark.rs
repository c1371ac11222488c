//! The routes that change one row of the caller: read, flags, clear.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use serde::Deserialize;
use serde::de::IgnoredAny;
use utoipa::ToSchema;

use super::super::route::{Caller, Route};
use crate::command::clear::{self, ClearReply};
use crate::command::mark_read::{MarkRead, MarkReadReply};
use crate::command::set_flags::{SetFlags, SetFlagsReply};
use crate::command::{Command, ErrorCode, Kind, Reply};
use crate::types::{ChatId, Flag, Sequence};

/// The errors that every route changing one row has, besides those of all routes.
const OF_A_ROW: &[ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Conflict, ErrorCode::Gone];

/// The chat, and the sequence up to which it is read.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"chat_id": "s_a7be32fecc0b2015", "seq": 0})))]
pub(super) struct Read {
    /// The id of the chat.
    chat_id: ChatId,
    /// The caller has read up to this sequence. At most the chat's last sequence.
    seq: Sequence,
    /// The change is applied only if the row has this version; otherwise the answer is 409.
    #[serde(default)]
    if_version: Option<u64>,
    /// The app's router compares this field with the caller; here it is only accepted.
    #[serde(default, rename = "user_id")]
    #[schema(ignore)]
    _user_id: IgnoredAny,
}

impl Route for Read {
    const PATH: &'static str = "/chat/read";
    const KIND: Kind = Kind::MarkRead;
    const SUMMARY: &'static str = "Raise the caller's read position";
    const ABOUT: &'static str = "It never goes backward: the stored position comes back. A mark as unread goes. Beyond the chat's last sequence it is 400, and nothing is changed.";
    const ERRORS: &'static [ErrorCode] = OF_A_ROW;
    type Data = MarkReadReply;

    fn command(self, caller: Caller) -> Command {
        MarkRead {
            user_id: caller.user_id,
            chat_id: self.chat_id,
            seq: self.seq,
            idempotency_key: caller.idempotency_key,
            if_version: self.if_version,
        }
        .into()
    }

    fn data(reply: Reply) -> Option<Self::Data> {
        match reply {
            Reply::MarkRead(position) => Some(position),
            _ => None,
        }
    }
}

/// The chat, and the flags to set. Absent flags stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"chat_id": "s_a7be32fecc0b2015", "is_top": 1})))]
pub(super) struct Flags {
    /// The id of the chat.
    chat_id: ChatId,
    /// 1 pins the chat, 0 unpins it.
    #[serde(default)]
    is_top: Option<Flag>,
    /// 1 turns notifications off, 0 turns them on.
    #[serde(default)]
    is_mute: Option<Flag>,
    /// 1 hides the chat, 0 shows it.
    #[serde(default)]
    is_hide: Option<Flag>,
    /// 1 marks the chat as unread, 0 removes the mark. The read position does not move.
    #[serde(default)]
    marked_unread: Option<Flag>,
    /// The change is applied only if the row has this version; otherwise the answer is 409.
    #[serde(default)]
    if_version: Option<u64>,
    /// The app's router compares this field with the caller; here it is only accepted.
    #[serde(default, rename = "user_id")]
    #[schema(ignore)]
    _user_id: IgnoredAny,
}

impl Route for Flags {
    const PATH: &'static str = "/chat/flags";
    const KIND: Kind = Kind::SetFlags;
    const SUMMARY: &'static str = "Pin, mute, hide, mark as unread";
    const ABOUT: &'static str = "What is absent stays as it is. The row comes back as it is now.";
    const ERRORS: &'static [ErrorCode] = OF_A_ROW;
    type Data = SetFlagsReply;

    fn command(self, caller: Caller) -> Command {
        SetFlags {
            user_id: caller.user_id,
            chat_id: self.chat_id,
            is_top: self.is_top,
            is_mute: self.is_mute,
            is_hide: self.is_hide,
            marked_unread: self.marked_unread,
            idempotency_key: caller.idempotency_key,
            if_version: self.if_version,
        }
        .into()
    }

    fn data(reply: Reply) -> Option<Self::Data> {
        match reply {
            Reply::SetFlags(set) => Some(set),
            _ => None,
        }
    }
}

/// The chat whose history is hidden.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"chat_id": "s_a7be32fecc0b2015"})))]
pub(super) struct Clear {
    /// The id of the chat.
    chat_id: ChatId,
    /// The change is applied only if the row has this version; otherwise the answer is 409.
    #[serde(default)]
    if_version: Option<u64>,
    /// The app's router compares this field with the caller; here it is only accepted.
    #[serde(default, rename = "user_id")]
    #[schema(ignore)]
    _user_id: IgnoredAny,
}

impl Route for Clear {
    const PATH: &'static str = "/chat/clear";
    const KIND: Kind = Kind::Clear;
    const SUMMARY: &'static str = "Hide a chat's history from the caller";
    const ABOUT: &'static str = "For the caller alone. The row and its pin stay where they are.";
    const ERRORS: &'static [ErrorCode] = OF_A_ROW;
    type Data = ClearReply;

    fn command(self, caller: Caller) -> Command {
        clear::Clear {
            user_id: caller.user_id,
            chat_id: self.chat_id,
            idempotency_key: caller.idempotency_key,
            if_version: self.if_version,
        }
        .into()
    }

    fn data(reply: Reply) -> Option<Self::Data> {
        match reply {
            Reply::Clear(cleared) => Some(cleared),
            _ => None,
        }
    }
}
