//! The routes behind an app's screens: conversations, changes, unread counts.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Missing;
use super::super::route::{Caller, Route};
use crate::command::conversations::{self, ConversationsReply};
use crate::command::sync::{self, SyncReply};
use crate::command::unread;
use crate::command::{Command, Kind, Reply};
use crate::types::{ChatType, Flag, TimeMs};

/// Bytes of a typical conversation as JSON; sizes the buffer of an answer.
const CONVERSATION_BYTES: usize = 448;
/// Bytes of a typical change as JSON; sizes the buffer of an answer.
const CHANGE_BYTES: usize = 240;

/// Selects a page and filters it. An absent filter filters nothing.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"limit": 20})))]
pub(super) struct Conversations {
    /// The largest number of conversations in the answer.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    #[serde(default)]
    cursor: Option<String>,
    /// If true, only conversations with unread messages, or marked as unread.
    #[serde(default)]
    unread_only: Option<bool>,
    /// Only conversations of this type.
    #[serde(default, rename = "type")]
    chat_type: Option<ChatType>,
    /// 1 selects only hidden conversations, 0 only others.
    #[serde(default)]
    hidden: Option<Flag>,
    /// Only conversations whose newest message is of this time or later.
    #[serde(default)]
    active_since: Option<TimeMs>,
    /// The app's router compares this field with the caller; here it is only accepted.
    #[serde(default, rename = "user_id")]
    #[schema(ignore)]
    _user_id: IgnoredAny,
}

impl Route for Conversations {
    const PATH: &'static str = "/chat/conversations";
    const KIND: Kind = Kind::Conversations;
    const MISSING: Missing = Missing::Empty;
    const SUMMARY: &'static str = "A page of the caller's conversations";
    const ABOUT: &'static str = "Rows with their chats and unread counts: pinned first, then newest message first, then by id. A cursor neither skips nor repeats a chat that did not move; `moved` says that some did.";
    type Data = ConversationsReply;

    fn command(self, caller: Caller) -> Command {
        conversations::Conversations {
            user_id: caller.user_id,
            limit: self.limit,
            cursor: self.cursor,
            unread_only: self.unread_only,
            chat_type: self.chat_type,
            hidden: self.hidden,
            active_since: self.active_since,
        }
        .into()
    }

    fn data(reply: Reply) -> Option<Self::Data> {
        match reply {
            Reply::Conversations(page) => Some(page),
            _ => None,
        }
    }

    fn bytes_expected(data: &Self::Data) -> usize {
        128 + data.items.len() * CONVERSATION_BYTES
    }
}

/// The point from which changes are wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({})))]
pub(super) struct Sync {
    /// The `log` and `version` of the previous answer. Without it, the answer has all rows.
    #[serde(default)]
    since: Option<Since>,
    /// The largest number of changes in the answer.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<u32>,
    /// The app's router compares this field with the caller; here it is only accepted.
    #[serde(default, rename = "user_id")]
    #[schema(ignore)]
    _user_id: IgnoredAny,
}

/// A point in the log of the caller's changes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    /// The name of the log, exactly as a previous answer gave it.
    log: String,
    /// The version up to which the caller has all changes.
    version: u64,
}

impl Route for Sync {
    const PATH: &'static str = "/chat/sync";
    const KIND: Kind = Kind::Sync;
    const MISSING: Missing = Missing::Empty;
    const SUMMARY: &'static str = "What changed in the caller's list";
    const ABOUT: &'static str = "Each changed chat once, oldest change first. With `reset` all rows come again, from the start. Ask again at once while there is `more`.";
    type Data = SyncReply;

    fn command(self, caller: Caller) -> Command {
        let since = self.since.map(|Since { log, version }| sync::Since { log, version });
        sync::Sync { user_id: caller.user_id, since, limit: self.limit }.into()
    }

    fn data(reply: Reply) -> Option<Self::Data> {
        match reply {
            Reply::Sync(changes) => Some(changes),
            _ => None,
        }
    }

    fn bytes_expected(data: &Self::Data) -> usize {
        128 + data.items.len() * CHANGE_BYTES
    }
}

/// The request has no fields.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({})))]
pub(super) struct Unread {
    /// The app's router compares this field with the caller; here it is only accepted.
    #[serde(default, rename = "user_id")]
    #[schema(ignore)]
    _user_id: IgnoredAny,
}

/// The caller's unread counts. Hidden and deleted chats do not count.
#[derive(Serialize, ToSchema)]
pub(super) struct Counts {
    /// Unread messages in chats that are not muted.
    messages: u64,
    /// Chats that are not muted, and have unread messages or are marked as unread.
    chats: u64,
    /// Unread messages in muted chats.
    muted_messages: u64,
    /// Muted chats with unread messages or marked as unread.
    muted_chats: u64,
}

impl Route for Unread {
    const PATH: &'static str = "/chat/unread";
    const KIND: Kind = Kind::Unread;
    const MISSING: Missing = Missing::Empty;
    const SUMMARY: &'static str = "The caller's unread counts";
    const ABOUT: &'static str = "Over all chats, muted ones apart.";
    type Data = Counts;

    fn command(self, caller: Caller) -> Command {
        unread::Unread { user_ids: vec![caller.user_id] }.into()
    }

    fn data(reply: Reply) -> Option<Counts> {
        match reply {
            Reply::Unread(counts) => counts.items.first().map(|of_caller| Counts {
                messages: of_caller.messages,
                chats: of_caller.chats,
                muted_messages: of_caller.muted_messages,
                muted_chats: of_caller.muted_chats,
            }),
            _ => None,
        }
    }
}
