//! The three core routes: a user's list, chats by id, delete.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::body::Missing;
use super::super::encoding::Encoding;
use super::super::envelope::success_written;
use super::super::long::{self, Parts};
use super::super::openapi::Nothing;
use super::super::route::{Caller, Route};
use super::super::rows::{self, JsonList};
use crate::command::delete;
use crate::command::detail::{self, DetailReply};
use crate::command::list::{List, ListReply};
use crate::command::list_writer::write_list;
use crate::command::{Call, Command, ErrorCode, Kind, Reply, null_as_default};
use crate::types::{ChatId, Sequence};

/// Bytes of a typical chat as JSON; sizes the buffer of an answer.
const CHAT_BYTES: usize = 256;

/// Selects a page. Without these fields, the answer is the whole list.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({}), json!({"limit": 50})))]
pub(super) struct MineList {
    /// The largest number of rows in the answer.
    #[serde(default)]
    #[schema(minimum = 1)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
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

    fn fast_path(
        &self,
        store: &impl Call,
        caller: &Caller,
        encoding: Encoding,
    ) -> Option<Response> {
        if self.is_page() {
            return None;
        }
        let written = store.read_list(caller.user_id.as_str(), |rows| {
            let bytes = rows::bytes_of(rows.len());
            let is_short = long::fits_worker(bytes, encoding);
            is_short.then(|| {
                success_written(bytes, |out| {
                    write_list(rows, &mut JsonList::new(out, false));
                    Ok(())
                })
            })
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
        rows::parts(list, is_page)
    }

    fn bytes_expected(list: &ListReply) -> usize {
        rows::bytes_of(list.items.len())
    }
}

/// The chats to look up.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"ids": ["s_a7be32fecc0b2015"]})))]
pub(super) struct Detail {
    /// The ids of the chats. Duplicates are ignored. Null means an empty list.
    #[serde(deserialize_with = "null_as_default")]
    #[schema(max_items = 1000, nullable, required)]
    ids: Vec<ChatId>,
}

impl Route for Detail {
    const PATH: &'static str = "/chat/detail";
    const KIND: Kind = Kind::Detail;
    const SUMMARY: &'static str = "Chats by id";
    const ABOUT: &'static str = "In the order asked. Left out: unknown chats, dissolved ones, and those that the caller is no member of.";
    type Data = DetailReply;

    fn command(self, caller: Caller) -> Command {
        detail::Detail { ids: self.ids, user_id: Some(caller.user_id) }.into()
    }

    fn data(reply: Reply) -> Option<Self::Data> {
        match reply {
            Reply::Detail(chats) => Some(chats),
            _ => None,
        }
    }

    fn bytes_expected(data: &Self::Data) -> usize {
        64 + data.items.len() * CHAT_BYTES
    }
}

/// The chats to delete, and up to which message.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"ids": ["s_a7be32fecc0b2015"]})))]
pub(super) struct Delete {
    /// The ids of the chats. Ids for which the caller has no chat are ignored. Null means an empty
    /// list.
    #[serde(deserialize_with = "null_as_default")]
    #[schema(max_items = 1000, nullable, required)]
    ids: Vec<ChatId>,
    /// The newest sequence that the caller saw. If absent, each chat's last sequence.
    #[serde(default)]
    up_to: Option<Sequence>,
}

impl Route for Delete {
    const PATH: &'static str = "/chat/delete";
    const KIND: Kind = Kind::Delete;
    const SUMMARY: &'static str = "Take chats off the caller's list";
    const ABOUT: &'static str = "For the caller alone: history, pin and mark go, and the rows with them, until the chat's next message. Repeating it changes nothing.";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Conflict];
    type Data = Nothing;

    fn command(self, caller: Caller) -> Command {
        delete::Delete {
            user_id: caller.user_id,
            ids: self.ids,
            up_to: self.up_to,
            idempotency_key: caller.idempotency_key,
        }
        .into()
    }

    fn data(reply: Reply) -> Option<Nothing> {
        match reply {
            Reply::Delete(()) => Some(Nothing),
            _ => None,
        }
    }
}
