//! `mark_read_many`: read positions of several chats rise.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::check::check_ids;
use super::{Check, Error, null_as_default};
use crate::types::{ChatId, IdempotencyKey, Sequence, UserId};

/// Arguments of `mark_read_many`. Each item works like a `mark_read` of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkReadMany {
    /// The user who has read.
    pub user_id: UserId,
    /// The chats and their read positions; each chat at most once.
    #[serde(deserialize_with = "null_as_default")]
    pub items: Vec<ReadItem>,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
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

/// One chat of `mark_read_many`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadItem {
    /// The chat that the user has read.
    pub chat_id: ChatId,
    /// The new read position, at most the chat's last sequence.
    pub seq: Sequence,
}

/// Reply to `mark_read_many`: one result per item, in the order of the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarkReadManyReply {
    /// The results of all items, refused ones included.
    pub items: Vec<ReadResult>,
}

/// The result of one item. A refused item changes nothing and does not stop the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
