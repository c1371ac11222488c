//! The API's three: a user's list, chats by id, delete.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Missing;
use super::super::encoding::Encoding;
use super::super::envelope::success_written;
use super::super::long::{self, Parts};
use super::super::openapi::Nothing;
use super::super::route::{Caller, Route};
use super::super::rows;
use crate::command::membership::{self, ChatItem, List, ListReply};
use crate::command::{Call, Command, ErrorCode, Kind, Reply, null_as_default};
use crate::types::{ChatId, ChatStatus, ChatType, Flag, Sequence, TimeMs, UserId};

/// A common chat's JSON.
const CHAT_BYTES: usize = 256;

/// Chats by id: the items alone.
#[derive(Serialize)]
pub(super) struct Items<T> {
    items: Vec<T>,
}

/// Which page; without these fields it is all of the list.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({}), json!({"limit": 50})))]
pub(super) struct MineList {
    /// Most rows in the answer.
    #[serde(default)]
    #[schema(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

impl Route for MineList {
    const PATH: &'static str = "/chat/mine-list";
    const KIND: Kind = Kind::List;
    const MISSING: Missing = Missing::Empty;
    const SUMMARY: &'static str = "The caller's list";
    const ABOUT: &'static str = "Pinned rows first, then newest-joined first. Hidden rows are in it, deleted ones are not. Without `limit` and `cursor` all rows come, up to 16 MiB of JSON: a longer list is 413, and has to be asked for in pages. With one of them the answer has `next_cursor`.";
    type Data = ListReply;
    type Shape = Rows;

    fn at_once(&self, store: &impl Call, caller: &Caller, encoding: Encoding) -> Option<Response> {
        if self.is_page() {
            return None;
        }
        let written = store.list_here(caller.user_id.as_str(), |rows| {
            let bytes = rows::bytes_of(rows.len());
            let is_here = long::is_written_here(bytes, encoding);
            is_here.then(|| success_written(bytes, |out| rows::write(rows, out)))
        });
        written.flatten()
    }

    fn is_page(&self) -> bool {
        self.limit.is_some() || self.cursor.is_some()
    }

    fn command(self, caller: Caller) -> Command {
        List { user_id: caller.user_id, limit: self.limit, cursor: self.cursor }.into()
    }

    fn data(reply: Reply) -> Option<ListReply> {
        match reply {
            Reply::List(list) => Some(list),
            _ => None,
        }
    }

    fn parts(list: ListReply, is_page: bool) -> impl Parts {
        let mut list = if is_page { rows::List::page(list) } else { rows::List::whole(list) };
        move |out: &mut Vec<u8>| list.write_part(out)
    }

    fn bytes_expected(list: &ListReply) -> usize {
        rows::bytes_of(list.items.len())
    }
}

/// Which chats.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"ids": ["s_a7be32fecc0b2015"]})))]
pub(super) struct Detail {
    /// Their ids; each counts once. Null is an empty list.
    #[serde(deserialize_with = "null_as_default")]
    #[schema(max_items = 1000, nullable, required)]
    ids: Vec<ChatId>,
}

impl Route for Detail {
    const PATH: &'static str = "/chat/detail";
    const KIND: Kind = Kind::Detail;
    const SUMMARY: &'static str = "Chats by id";
    const ABOUT: &'static str = "In the order asked. Left out: unknown chats, dissolved ones, and those that the caller is no member of.";
    type Data = Items<ChatItem>;
    type Shape = Chats;

    fn command(self, caller: Caller) -> Command {
        membership::Detail { ids: self.ids, user_id: Some(caller.user_id) }.into()
    }

    fn data(reply: Reply) -> Option<Self::Data> {
        match reply {
            Reply::Detail(detail) => Some(Items { items: detail.items }),
            _ => None,
        }
    }

    fn bytes_expected(data: &Self::Data) -> usize {
        64 + data.items.len() * CHAT_BYTES
    }
}

/// Which chats, and up to where.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"ids": ["s_a7be32fecc0b2015"]})))]
pub(super) struct Delete {
    /// Their ids. Those that the caller has no chat for are ignored. Null is an empty list.
    #[serde(deserialize_with = "null_as_default")]
    #[schema(max_items = 1000, nullable, required)]
    ids: Vec<ChatId>,
    /// The newest sequence that the caller saw; each chat's last one if absent.
    #[serde(default)]
    up_to: Option<Sequence>,
}

impl Route for Delete {
    const PATH: &'static str = "/chat/delete";
    const KIND: Kind = Kind::Delete;
    const SUMMARY: &'static str = "Take chats off the caller's list";
    const ABOUT: &'static str = "For the caller alone: history, pin and mark go, and the rows with them, until the chat's next message. Repeating it changes nothing.";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Conflict];
    type Data = ();
    type Shape = Nothing;

    fn command(self, caller: Caller) -> Command {
        membership::Delete {
            user_id: caller.user_id,
            ids: self.ids,
            up_to: self.up_to,
            idempotency_key: caller.idempotency_key,
        }
        .into()
    }

    fn data(reply: Reply) -> Option<()> {
        match reply {
            Reply::Delete(()) => Some(()),
            _ => None,
        }
    }
}

// What the replies look like. These are never made: a test holds them to what is really sent.

/// The caller's rows.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct Rows {
    /// The rows: all of them, or a page.
    items: Vec<Row>,
    /// Where the next page starts; null on the last. Not there where all rows are.
    next_cursor: Option<String>,
}

/// One row of the caller's list.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct Row {
    /// The chat's id.
    id: ChatId,
    /// The same.
    chat_id: ChatId,
    /// Pinned.
    is_top: Flag,
    /// Without notifications.
    is_mute: Flag,
    /// 0 once deleted, until the next message.
    is_show: Flag,
    /// Hidden by the user.
    is_hide: Flag,
    /// Read position.
    max_read_seq: Sequence,
    /// When the user was last online in it.
    last_online_time: TimeMs,
}

/// Chats.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct Chats {
    /// Those that are there.
    items: Vec<Chat>,
}

/// One chat.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct Chat {
    /// The chat's id.
    id: ChatId,
    /// Who made it: a person, a group or a robot.
    creator_id: UserId,
    /// Single, group or official.
    #[schema(rename = "type")]
    chat_type: ChatType,
    /// Normal or disabled.
    status: ChatStatus,
    /// Whether its messages are encrypted.
    is_enc: Flag,
    /// The caller's effective read floor: `last_sequence` less this is what is unread.
    last_read_sequence: Sequence,
    /// The newest message's sequence.
    last_sequence: Sequence,
    /// The newest message's time.
    last_time: TimeMs,
    /// When the chat was made.
    created_at: TimeMs,
}
