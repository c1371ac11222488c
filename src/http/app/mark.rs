//! What the caller does to one row: read, flags, clear.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use serde::Deserialize;
use serde::de::IgnoredAny;
use utoipa::ToSchema;

use super::super::route::{Caller, Route};
use super::core_routes::Row;
use crate::command::membership::{self, ClearReply, SetFlags, SetFlagsReply};
use crate::command::message::{MarkRead, MarkReadReply};
use crate::command::{Command, ErrorCode, Kind, Reply};
use crate::types::{ChatId, Flag, Sequence};

/// What a change of one row may fail with.
const OF_A_ROW: &[ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Conflict, ErrorCode::Gone];

/// Which chat, and up to where.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"chat_id": "s_a7be32fecc0b2015", "seq": 0})))]
pub(super) struct Read {
    /// The chat.
    chat_id: ChatId,
    /// Up to which sequence the caller has read; at most the chat's last.
    seq: Sequence,
    /// Only if this is the row's version; else 409.
    #[serde(default)]
    if_version: Option<u64>,
    /// The app's router compares it with the caller.
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
    type Shape = ReadPosition;

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

/// Which chat, and what to set: what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"chat_id": "s_a7be32fecc0b2015", "is_top": 1})))]
pub(super) struct Flags {
    /// The chat.
    chat_id: ChatId,
    /// Pin.
    #[serde(default)]
    is_top: Option<Flag>,
    /// Mute.
    #[serde(default)]
    is_mute: Option<Flag>,
    /// Hide.
    #[serde(default)]
    is_hide: Option<Flag>,
    /// Mark as unread, without moving the read position.
    #[serde(default)]
    marked_unread: Option<Flag>,
    /// Only if this is the row's version; else 409.
    #[serde(default)]
    if_version: Option<u64>,
    /// The app's router compares it with the caller.
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
    type Shape = FlagsSet;

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

/// Which chat.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"chat_id": "s_a7be32fecc0b2015"})))]
pub(super) struct Clear {
    /// The chat.
    chat_id: ChatId,
    /// Only if this is the row's version; else 409.
    #[serde(default)]
    if_version: Option<u64>,
    /// The app's router compares it with the caller.
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
    type Shape = Cleared;

    fn command(self, caller: Caller) -> Command {
        membership::Clear {
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

// What the replies look like. These are never made: a test holds them to what is really sent.

/// Where the caller stands in a chat.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct ReadPosition {
    /// The stored read position.
    max_read_seq: Sequence,
    /// What is still unread.
    unread: u64,
}

/// The row after its flags were set.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct FlagsSet {
    /// The row as it is now.
    row: Row,
    /// The row's version, for `if_version`.
    version: u64,
}

/// What of a chat's history is gone.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct Cleared {
    /// What is at or below it is gone for the caller.
    deleted_to_seq: Sequence,
}
