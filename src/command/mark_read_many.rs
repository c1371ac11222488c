//! `mark_read_many`: read positions of several chats rise.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::check_ids;
use super::items::{Items, bytes_of};
use super::schema::Bound;
#[cfg(test)]
use super::test_values::{Choices, Draw};
use super::{Arguments, By, Check, Error, NamedKeys, Use, null_as_default};
use crate::limits::IDS_MAX;
use crate::types::{ChatId, IdempotencyKey, Sequence, UserId};

/// Arguments of `mark_read_many`. Each item works like a `mark_read` of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkReadMany {
    /// The user who has read.
    pub user_id: UserId,
    /// The chats and their read positions; each chat at most once.
    #[serde(deserialize_with = "null_as_default")]
    pub items: Vec<ReadItem>,
    /// Makes a retry safe: the same request with this key gets the first reply.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Check for MarkReadMany {
    fn check(&self) -> Result<(), Error> {
        check_ids("items", self.items.len())?;
        let mut seen = HashSet::with_capacity(self.items.len());
        match self.items.iter().find(|item| !seen.insert(&item.chat_id)) {
            Some(twice) => Err(Error::invalid(format!("items: chat {} twice", twice.chat_id))),
            None => Ok(()),
        }
    }
}

impl Arguments for MarkReadMany {
    type Reply = MarkReadManyReply;
    const EXAMPLE: Option<&str> =
        Some(r#"{"user_id": "USER", "items": [{"chat_id": "GROUP", "seq": 119}]}"#);
    const BOUNDS: &[Bound] = &[Bound::list("items", IDS_MAX)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        // With an idempotency key, the rows are asked in a second step, after all chats.
        let (used, by) = match self.idempotency_key {
            None => (Use::Mark, By::Arrival),
            Some(_) => (Use::Write, By::Detour),
        };
        keys.user(&self.user_id, used, By::Detour);
        keys.chats(self.items.iter().map(|item| &item.chat_id), Use::Read, by);
    }
}

/// One chat of `mark_read_many`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadItem {
    /// The chat that the user has read.
    pub chat_id: ChatId,
    /// The new read position, at most the chat's last sequence.
    pub seq: Sequence,
}

/// Reply to `mark_read_many`: one result per item, in the order of the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MarkReadManyReply {
    /// The results of all items, refused ones included.
    pub items: Vec<ReadResult>,
}

impl Items for MarkReadManyReply {
    fn count(&self) -> usize {
        self.items.len()
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.items, |item| item.chat_id.as_str())
    }
}

/// The result of one item. A refused item changes nothing and does not stop the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReadResult {
    /// The chat's id.
    pub chat_id: ChatId,
    /// 200, or the status that a `mark_read` of this item would have.
    pub status: u16,
    /// The stored read position; absent if the item was refused.
    pub max_read_seq: Option<Sequence>,
    /// How many messages are still unread; absent if the item was refused.
    pub unread: Option<u64>,
}

#[cfg(test)]
draw! {
    ReadItem { chat_id, seq }
    MarkReadManyReply { items }
    ReadResult { chat_id, status, max_read_seq, unread }
}

#[cfg(test)]
impl Draw for MarkReadMany {
    fn draw(choices: &mut Choices<'_>) -> Self {
        let mut items: Vec<ReadItem> = choices.draw();
        // Each item gets another chat, even when all further choices are 0.
        for (number, item) in items.iter_mut().enumerate() {
            item.chat_id = ChatId::new(&format!("{number}{}", item.chat_id)).unwrap();
        }
        Self { user_id: choices.draw(), items, idempotency_key: choices.draw() }
    }
}
