//! A user's own rows: list, detail and delete of the app's API, and the other commands about a row.

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use super::chat::{check_cursor, check_ids};
use super::{Check, Error, null_as_default};
use crate::types::{ChatId, ChatStatus, ChatType, Flag, IdempotencyKey, Sequence, TimeMs, UserId};

/// Arguments of `list`: a user, and optionally a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// The user whose rows are listed.
    pub user_id: UserId,
    /// Most rows in the reply; all rows if absent.
    #[serde(default)]
    pub limit: Option<u32>,
    /// `next_cursor` of the previous page; `None` asks for the first page.
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

/// Reply to `list`: the rows of one page, or all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListReply {
    /// The rows in list order: pinned first, then newest-joined first.
    pub items: Vec<ListRow>,
    /// The `cursor` of the next page; `None` on the last page.
    pub next_cursor: Option<String>,
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
    /// A copy of the row with its id in another form.
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
        #[derive(Deserialize)]
        struct Named {
            chat_id: ChatId,
            is_top: Flag,
            is_mute: Flag,
            is_show: Flag,
            is_hide: Flag,
            max_read_seq: Sequence,
            last_online_time: TimeMs,
        }
        let named = Named::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(ListRow {
            chat_id: named.chat_id,
            is_top: named.is_top,
            is_mute: named.is_mute,
            is_show: named.is_show,
            is_hide: named.is_hide,
            max_read_seq: named.max_read_seq,
            last_online_time: named.last_online_time,
        })
    }
}

/// Arguments of `detail`: chats, and optionally the user who looks at them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// The chats, at most `IDS_MAX`.
    #[serde(deserialize_with = "null_as_default")]
    pub ids: Vec<ChatId>,
    /// The user who looks. With it the reply has `last_read_sequence` and leaves out chats that the
    /// user is not a member of.
    #[serde(default)]
    pub user_id: Option<UserId>,
}

impl Check for Detail {
    fn check(&self) -> Result<(), Error> {
        check_ids("ids", self.ids.len())
    }
}

/// Reply to `detail`: the chats that were found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetailReply {
    /// The chats that exist and are not dissolved, in the order of the request, each once.
    pub items: Vec<ChatItem>,
}

/// One chat, as `detail` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatItem<Chat = ChatId, User = UserId> {
    /// The chat's id.
    pub id: Chat,
    /// The creator: a person, a group or a robot, not always a member.
    pub creator_id: User,
    /// The chat's type: single, group or official.
    #[serde(rename = "type")]
    pub chat_type: ChatType,
    /// The chat's status: normal or disabled.
    pub status: ChatStatus,
    /// Whether the chat's messages are encrypted.
    pub is_enc: Flag,
    /// The floor of the user who looks, but at most `last_sequence`; 0 without a user.
    pub last_read_sequence: Sequence,
    /// Sequence of the chat's newest message.
    pub last_sequence: Sequence,
    /// Time of the chat's newest message.
    pub last_time: TimeMs,
    /// When the chat was created.
    pub created_at: TimeMs,
}

/// A chat whose ids are borrowed from the shard that keeps it.
pub type ChatItemRef<'a> = ChatItem<&'a ChatId, &'a str>;

impl<Chat, User> ChatItem<Chat, User> {
    /// A copy of the chat with its ids in another form.
    pub fn with_ids<C, U>(&self, id: C, creator_id: U) -> ChatItem<C, U> {
        let Self {
            chat_type, status, is_enc, last_read_sequence, last_sequence, last_time, ..
        } = *self;
        ChatItem {
            id,
            creator_id,
            chat_type,
            status,
            is_enc,
            last_read_sequence,
            last_sequence,
            last_time,
            created_at: self.created_at,
        }
    }
}

/// Arguments of `delete`: a user, and the chats to remove from the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// The user whose list loses the chats.
    pub user_id: UserId,
    /// The chats to remove, at most `IDS_MAX`. Those that the user does not have are ignored.
    #[serde(deserialize_with = "null_as_default")]
    pub ids: Vec<ChatId>,
    /// The newest sequence that the user saw; if absent, the last sequence of each chat.
    #[serde(default)]
    pub up_to: Option<Sequence>,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Check for Delete {
    fn check(&self) -> Result<(), Error> {
        check_ids("ids", self.ids.len())
    }
}

/// Arguments of `set_flags`. An absent flag keeps its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetFlags {
    /// The user whose row changes.
    pub user_id: UserId,
    /// The chat of the row.
    pub chat_id: ChatId,
    /// Pins the row (1) or unpins it (0).
    #[serde(default)]
    pub is_top: Option<Flag>,
    /// Mutes the row (1) or unmutes it (0).
    #[serde(default)]
    pub is_mute: Option<Flag>,
    /// Hides the row (1) or shows it (0).
    #[serde(default)]
    pub is_hide: Option<Flag>,
    /// Marks the chat as unread (1) or takes the mark away (0); the read position stays.
    #[serde(default)]
    pub marked_unread: Option<Flag>,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the row to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for SetFlags {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Reply to `set_flags`: the row after the change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetFlagsReply {
    /// The row with its new flags.
    pub row: ListRow,
    /// The row's version after the change.
    pub version: u64,
}

/// Arguments of `touch`: a user who is online, in some chats or in all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Touch {
    /// The user who is online.
    pub user_id: UserId,
    /// The chats in which the user is online; all of the user's chats if absent.
    #[serde(default)]
    pub chat_ids: Option<Vec<ChatId>>,
    /// The time at which the user is online; the server's time if absent. An older time changes
    /// nothing.
    #[serde(default)]
    pub time: Option<TimeMs>,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Check for Touch {
    fn check(&self) -> Result<(), Error> {
        check_ids("chat_ids", self.chat_ids.as_ref().map_or(0, Vec::len))
    }
}

/// Reply to `touch`: how many rows it reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TouchReply {
    /// How many of the named rows the user has.
    pub touched: u64,
}

/// Arguments of `clear`: the row whose history becomes invisible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clear {
    /// The user whose row changes.
    pub user_id: UserId,
    /// The chat of the row.
    pub chat_id: ChatId,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the row to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for Clear {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Reply to `clear`: the new watermark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClearReply {
    /// The watermark: the user sees no message at or below it.
    pub deleted_to_seq: Sequence,
}

/// Arguments of `erase_user`: the user to erase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseUser {
    /// The user, of whom no trace remains.
    pub user_id: UserId,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Check for EraseUser {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Reply to `erase_user`: how much was removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EraseUserReply {
    /// How many memberships were removed.
    pub memberships: u64,
}
