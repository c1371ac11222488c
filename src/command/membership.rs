//! A user's own rows: the three commands of the API, and what else a user does to a row.

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use super::chat::{check_cursor, check_ids};
use super::{Check, Error, null_as_default};
use crate::types::{ChatId, ChatStatus, ChatType, Flag, IdempotencyKey, Sequence, TimeMs, UserId};

/// Arguments of `list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Whose rows.
    pub user_id: UserId,
    /// Most rows in the answer; all without it.
    #[serde(default)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
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

/// Answer of `list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListReply {
    /// The rows, pinned first, then newest-joined first.
    pub items: Vec<ListRow>,
    /// Where the next page starts; none on the last.
    pub next_cursor: Option<String>,
}

/// One row of a user's list. JSON has the fields of the API, `id` and `chat_id` both being the
/// chat's id; the wire form is an array of seven that holds the id once.
#[derive(Debug, Clone, PartialEq)]
pub struct ListRow<Id = ChatId> {
    /// The chat's id.
    pub chat_id: Id,
    /// Pinned.
    pub is_top: Flag,
    /// Without notifications.
    pub is_mute: Flag,
    /// 0 once deleted, until the next message.
    pub is_show: Flag,
    /// Hidden by the user.
    pub is_hide: Flag,
    /// Read position.
    pub max_read_seq: Sequence,
    /// When the user was last online in it.
    pub last_online_time: TimeMs,
}

/// A row whose id is read where the row is kept.
pub type ListRowRef<'a> = ListRow<&'a ChatId>;

impl<Id> ListRow<Id> {
    /// The same row with its id in another form.
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
        // A newer server may have added fields; a client of this version passes over them.
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

/// Arguments of `detail`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// Which chats.
    #[serde(deserialize_with = "null_as_default")]
    pub ids: Vec<ChatId>,
    /// For whom: fills `last_read_sequence` and leaves out chats they are no member of.
    #[serde(default)]
    pub user_id: Option<UserId>,
}

impl Check for Detail {
    fn check(&self) -> Result<(), Error> {
        check_ids("ids", self.ids.len())
    }
}

/// Answer of `detail`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetailReply {
    /// The chats that are there, in the order asked, each once.
    pub items: Vec<ChatItem>,
}

/// One chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatItem<Chat = ChatId, User = UserId> {
    /// The chat's id.
    pub id: Chat,
    /// Who made it.
    pub creator_id: User,
    /// Single, group or official.
    #[serde(rename = "type")]
    pub chat_type: ChatType,
    /// Normal or disabled.
    pub status: ChatStatus,
    /// Whether its messages are encrypted.
    pub is_enc: Flag,
    /// The asking user's effective read floor; 0 without a user.
    pub last_read_sequence: Sequence,
    /// The newest message's sequence.
    pub last_sequence: Sequence,
    /// The newest message's time.
    pub last_time: TimeMs,
    /// When the chat was made.
    pub created_at: TimeMs,
}

/// A chat whose ids are read where it is kept.
pub type ChatItemRef<'a> = ChatItem<&'a ChatId, &'a str>;

impl<Chat, User> ChatItem<Chat, User> {
    /// The same chat with its ids in another form.
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

/// Arguments of `delete`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// Whose list.
    pub user_id: UserId,
    /// Which chats; those the user has not are ignored.
    #[serde(deserialize_with = "null_as_default")]
    pub ids: Vec<ChatId>,
    /// The newest sequence that the user saw; each chat's last one if absent.
    #[serde(default)]
    pub up_to: Option<Sequence>,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Check for Delete {
    fn check(&self) -> Result<(), Error> {
        check_ids("ids", self.ids.len())
    }
}

/// Arguments of `set_flags`: what is absent stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetFlags {
    /// Whose row.
    pub user_id: UserId,
    /// Of which chat.
    pub chat_id: ChatId,
    /// Pin.
    #[serde(default)]
    pub is_top: Option<Flag>,
    /// Mute.
    #[serde(default)]
    pub is_mute: Option<Flag>,
    /// Hide.
    #[serde(default)]
    pub is_hide: Option<Flag>,
    /// Mark as unread, without moving the read position.
    #[serde(default)]
    pub marked_unread: Option<Flag>,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// Only if this is the row's version; else 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for SetFlags {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Answer of `set_flags`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetFlagsReply {
    /// The row as it is now.
    pub row: ListRow,
    /// The row's version.
    pub version: u64,
}

/// Arguments of `touch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Touch {
    /// Who is online.
    pub user_id: UserId,
    /// In which chats; all of the user's if absent.
    #[serde(default)]
    pub chat_ids: Option<Vec<ChatId>>,
    /// When; the server's time if absent. An older time changes nothing.
    #[serde(default)]
    pub time: Option<TimeMs>,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Check for Touch {
    fn check(&self) -> Result<(), Error> {
        check_ids("chat_ids", self.chat_ids.as_ref().map_or(0, Vec::len))
    }
}

/// Answer of `touch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TouchReply {
    /// How many of the named rows the user has.
    pub touched: u64,
}

/// Arguments of `clear`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clear {
    /// Whose row.
    pub user_id: UserId,
    /// Of which chat.
    pub chat_id: ChatId,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// Only if this is the row's version; else 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for Clear {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Answer of `clear`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClearReply {
    /// What is at or below it is gone for the user.
    pub deleted_to_seq: Sequence,
}

/// Arguments of `erase_user`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseUser {
    /// Whose every trace goes.
    pub user_id: UserId,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Check for EraseUser {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Answer of `erase_user`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EraseUserReply {
    /// How many memberships went.
    pub memberships: u64,
}
