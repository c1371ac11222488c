//! `list`: a user's rows, and the form in which several commands show a row.

use std::borrow::Cow;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::check::check_cursor;
use super::items::{Items, bytes_of};
use super::schema::Bound;
use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::types::{ChatId, Flag, Sequence, TimeMs, UserId};

/// Arguments of `list`: a user, and optionally a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// The user whose rows are listed.
    pub user_id: UserId,
    /// Most rows in the reply; all rows if absent.
    #[serde(default)]
    pub limit: Option<u32>,
    /// `next_cursor` of the previous page; if absent, the first page comes.
    #[serde(default)]
    pub cursor: Option<String>,
}

impl Check for List {
    fn check(&self) -> Result<(), Error> {
        check_cursor(self.cursor.as_deref())?;
        if self.limit == Some(0) {
            return Err(Error::invalid("limit: must be at least 1"));
        }
        Ok(())
    }
}

impl Arguments for List {
    type Reply = ListReply;
    const EXAMPLE: Option<&str> = Some(r#"{"user_id": "USER"}"#);
    const BOUNDS: &[Bound] = &[Bound::integer("limit", 1, u32::MAX as u64)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        keys.user(&self.user_id, Use::Read, By::Arrival);
    }
}

/// Reply to `list`: the rows of one page, or all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Rows)]
pub struct ListReply {
    /// The rows in list order: pinned first, then newest-joined first.
    pub items: Vec<ListRow>,
    /// The `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

impl Items for ListReply {
    fn count(&self) -> usize {
        self.items.len()
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.items, |row| row.chat_id.as_str())
    }
}

/// One row of a user's list. JSON has the fields of the API, where `id` and `chat_id` both are the
/// chat's id. The wire form is an array of seven fields that has the id once.
#[derive(Debug, Clone, PartialEq)]
pub struct ListRow<Id = ChatId> {
    /// The chat's id.
    pub chat_id: Id,
    /// Whether the user pinned the chat.
    pub is_top: Flag,
    /// Whether the user muted the chat: no notifications.
    pub is_mute: Flag,
    /// 0 after the user deleted the chat, until its next message; else 1.
    pub is_show: Flag,
    /// Whether the user hid the chat.
    pub is_hide: Flag,
    /// The user's read position in the chat.
    pub max_read_seq: Sequence,
    /// When the user was last online in the chat.
    pub last_online_time: TimeMs,
}

/// A row whose id is borrowed from the shard that keeps it.
pub type ListRowRef<'a> = ListRow<&'a ChatId>;

impl<Id> ListRow<Id> {
    /// Copies the row, with its id replaced by `chat_id`.
    pub fn with_id<To>(&self, chat_id: To) -> ListRow<To> {
        let Self { is_top, is_mute, is_show, is_hide, max_read_seq, last_online_time, .. } = *self;
        ListRow { chat_id, is_top, is_mute, is_show, is_hide, max_read_seq, last_online_time }
    }
}

const LIST_ROW_FIELDS: &[&str] = &[
    "id",
    "chat_id",
    "is_top",
    "is_mute",
    "is_show",
    "is_hide",
    "max_read_seq",
    "last_online_time",
];

/// One row of a user's list.
// The form of a [`ListRow`] in JSON, as it is read and described.
#[derive(Deserialize, ToSchema)]
#[schema(as = Row)]
struct ListRowJson {
    /// The chat's id.
    #[serde(default, rename = "id")]
    #[schema(required, value_type = ChatId)]
    _id: de::IgnoredAny,
    /// The chat's id again, under the API's second name for it.
    chat_id: ChatId,
    /// Whether the user pinned the chat.
    is_top: Flag,
    /// Whether the user muted the chat: no notifications.
    is_mute: Flag,
    /// 0 after the user deleted the chat, until its next message; else 1.
    is_show: Flag,
    /// Whether the user hid the chat.
    is_hide: Flag,
    /// The user's read position in the chat.
    max_read_seq: Sequence,
    /// When the user was last online in the chat.
    last_online_time: TimeMs,
}

impl PartialSchema for ListRow {
    fn schema() -> RefOr<Schema> {
        ListRowJson::schema()
    }
}

impl ToSchema for ListRow {
    fn name() -> Cow<'static, str> {
        ListRowJson::name()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ListRowJson::schemas(schemas);
    }
}

impl Serialize for ListRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let with_id = serializer.is_human_readable();
        let mut row = serializer.serialize_struct("ListRow", 7 + usize::from(with_id))?;
        if with_id {
            row.serialize_field("id", &self.chat_id)?;
        }
        row.serialize_field("chat_id", &self.chat_id)?;
        row.serialize_field("is_top", &self.is_top)?;
        row.serialize_field("is_mute", &self.is_mute)?;
        row.serialize_field("is_show", &self.is_show)?;
        row.serialize_field("is_hide", &self.is_hide)?;
        row.serialize_field("max_read_seq", &self.max_read_seq)?;
        row.serialize_field("last_online_time", &self.last_online_time)?;
        row.end()
    }
}

impl<'de> Deserialize<'de> for ListRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("ListRow", LIST_ROW_FIELDS, ListRowVisitor)
    }
}

struct ListRowVisitor;

impl<'de> Visitor<'de> for ListRowVisitor {
    type Value = ListRow;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a row of a user's list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ListRow, A::Error> {
        fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
            seq: &mut A,
            position: usize,
        ) -> Result<T, A::Error> {
            seq.next_element()?.ok_or_else(|| de::Error::invalid_length(position, &"seven fields"))
        }
        let row = ListRow {
            chat_id: next(&mut seq, 0)?,
            is_top: next(&mut seq, 1)?,
            is_mute: next(&mut seq, 2)?,
            is_show: next(&mut seq, 3)?,
            is_hide: next(&mut seq, 4)?,
            max_read_seq: next(&mut seq, 5)?,
            last_online_time: next(&mut seq, 6)?,
        };
        // A newer server may have added fields; a client of this version skips them.
        while seq.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(row)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ListRow, A::Error> {
        let row = ListRowJson::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let ListRowJson {
            chat_id,
            is_top,
            is_mute,
            is_show,
            is_hide,
            max_read_seq,
            last_online_time,
            ..
        } = row;
        Ok(ListRow { chat_id, is_top, is_mute, is_show, is_hide, max_read_seq, last_online_time })
    }
}

#[cfg(test)]
draw! {
    List { user_id, limit, cursor }
    ListReply { items, next_cursor }
    ListRow { chat_id, is_top, is_mute, is_show, is_hide, max_read_seq, last_online_time }
}
