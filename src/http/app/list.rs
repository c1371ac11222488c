//! What the caller's screens are made of: conversations, changes, unread counts.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Missing;
use super::super::route::{Caller, Route};
use crate::command::change::{self, SyncOp, SyncReply};
use crate::command::conversation::{self, ConversationsReply};
use crate::command::{Command, Kind, Reply};
use crate::types::{ChatId, ChatStatus, ChatType, Flag, Sequence, TimeMs, UserId};

/// A common conversation's JSON.
const CONVERSATION_BYTES: usize = 448;
/// The same for a change.
const CHANGE_BYTES: usize = 240;

/// Which page, and what of it; a filter that is absent filters nothing.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"limit": 20})))]
pub(super) struct Conversations {
    /// Most conversations in the answer.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// True: only those with unread messages, or marked as unread.
    #[serde(default)]
    unread_only: Option<bool>,
    /// Only those of this type.
    #[serde(default, rename = "type")]
    chat_type: Option<ChatType>,
    /// 1: only hidden ones, 0: only others.
    #[serde(default)]
    hidden: Option<Flag>,
    /// Only those whose newest message is of this time or later.
    #[serde(default)]
    active_since: Option<TimeMs>,
    /// The app's router compares it with the caller.
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
    type Shape = ConversationsPage;

    fn command(self, caller: Caller) -> Command {
        conversation::Conversations {
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

/// Since when.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({})))]
pub(super) struct Sync {
    /// `log` and `version` of the answer before; without it all rows come.
    #[serde(default)]
    since: Option<Since>,
    /// Most changes in the answer.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<u32>,
    /// The app's router compares it with the caller.
    #[serde(default, rename = "user_id")]
    #[schema(ignore)]
    _user_id: IgnoredAny,
}

/// A point in the caller's change log.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    /// Which log; hand it back as it came.
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
    type Shape = Changes;

    fn command(self, caller: Caller) -> Command {
        let since = self.since.map(|Since { log, version }| change::Since { log, version });
        change::Sync { user_id: caller.user_id, since, limit: self.limit }.into()
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

/// No fields.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({})))]
pub(super) struct Unread {
    /// The app's router compares it with the caller.
    #[serde(default, rename = "user_id")]
    #[schema(ignore)]
    _user_id: IgnoredAny,
}

/// The caller's counts. Hidden and deleted chats are in none of them.
#[derive(Serialize, ToSchema)]
pub(super) struct Counts {
    /// Unread messages in chats that are not muted.
    messages: u64,
    /// Chats with unread messages or marked as unread, not muted.
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
    type Shape = Counts;

    fn command(self, caller: Caller) -> Command {
        conversation::Unread { user_ids: vec![caller.user_id] }.into()
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

// What the replies look like. These are never made: a test holds them to what is really sent.

/// A page of conversations.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct ConversationsPage {
    /// The conversations of this page.
    items: Vec<Conversation>,
    /// Where the next page starts; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
    /// Since the page before, conversations up to there moved, came or went. Those that stood
    /// still are neither skipped nor repeated.
    moved: bool,
}

/// A row of the caller's list, and its chat.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct Conversation {
    /// The chat's id.
    id: ChatId,
    /// The same.
    chat_id: ChatId,
    /// Pinned.
    is_top: Flag,
    /// Without notifications.
    is_mute: Flag,
    /// Always 1 here.
    is_show: Flag,
    /// Hidden by the user.
    is_hide: Flag,
    /// Read position.
    max_read_seq: Sequence,
    /// When the user was last online in it.
    last_online_time: TimeMs,
    /// Who made the chat: a person, a group or a robot.
    creator_id: UserId,
    /// Single, group or official.
    #[schema(rename = "type")]
    chat_type: ChatType,
    /// Normal or disabled.
    status: ChatStatus,
    /// Whether its messages are encrypted.
    is_enc: Flag,
    /// The caller's effective read floor.
    last_read_sequence: Sequence,
    /// The newest message's sequence.
    last_sequence: Sequence,
    /// The newest message's time.
    last_time: TimeMs,
    /// When the chat was made.
    created_at: TimeMs,
    /// Unread messages.
    unread: u64,
    /// Marked as unread by hand.
    marked_unread: Flag,
}

/// Changes of the caller's list.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct Changes {
    /// For the next `since`.
    log: String,
    /// For the next `since`.
    version: u64,
    /// Forget all rows before taking these: `since` was too old, or of another log.
    reset: bool,
    /// Why, if so; else null.
    #[schema(required)]
    reason: Option<String>,
    /// There is more: ask again at once.
    more: bool,
    /// The changes.
    items: Vec<Change>,
}

/// A changed row. One that is gone has only its ids, and zeros; one that was deleted has its other
/// fields too.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct Change {
    /// What became of it.
    op: SyncOp,
    /// The chat's id.
    id: ChatId,
    /// The same.
    chat_id: ChatId,
    /// Pinned.
    is_top: Flag,
    /// Without notifications.
    is_mute: Flag,
    /// 1 for an upsert, 0 for a remove.
    is_show: Flag,
    /// Hidden by the user.
    is_hide: Flag,
    /// Read position.
    max_read_seq: Sequence,
    /// When the user was last online in it.
    last_online_time: TimeMs,
    /// Marked as unread by hand.
    marked_unread: Flag,
    /// The version of this change.
    version: u64,
}
