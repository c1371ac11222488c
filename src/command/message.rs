//! Messages: a chat's sequence rises, and a user's read position follows.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::chat::check_ids;
use super::{Check, Error, null_as_default};
use crate::limits::ADVANCE_AHEAD_MAX;
use crate::types::{ChatId, Hashed, IdempotencyKey, KeyHasher, Sequence, TimeMs, UserId};

/// Arguments of `advance`: exactly one of `to` and `allocate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    /// The chat's id.
    pub chat_id: ChatId,
    /// The sequence of a message that the backend stored. An older one leaves the sequence as it
    /// is.
    #[serde(default)]
    pub to: Option<Sequence>,
    /// How many next sequences to hand out; each is handed out exactly once.
    #[serde(default)]
    pub allocate: Option<u64>,
    /// The time of the newest message; the server's time if absent.
    #[serde(default)]
    pub time: Option<TimeMs>,
    /// The sender, for whom the message does not count as unread.
    #[serde(default)]
    pub sender_id: Option<UserId>,
    /// Allows `to` to be more than 1 000 000 ahead of the chat's sequence.
    #[serde(default)]
    pub force: Option<bool>,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the chat to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

/// An `advance` without an idempotency key, whose ids are borrowed from the request's buffer. The
/// fields are those of [`Advance`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of `Advance`")]
pub struct AdvanceRef<'a> {
    pub chat_id: Hashed<&'a str>,
    pub to: Option<Sequence>,
    pub allocate: Option<u64>,
    pub time: Option<TimeMs>,
    pub sender_id: Option<Hashed<&'a str>>,
    pub force: Option<bool>,
    pub if_version: Option<u64>,
}

impl Advance {
    /// Borrows the request with its ids hashed, without its idempotency key.
    pub fn as_ref(&self, hasher: KeyHasher) -> AdvanceRef<'_> {
        AdvanceRef {
            chat_id: hasher.hashed(self.chat_id.as_str()),
            to: self.to,
            allocate: self.allocate,
            time: self.time,
            sender_id: self.sender_id.as_ref().map(|sender_id| hasher.hashed(sender_id.as_str())),
            force: self.force,
            if_version: self.if_version,
        }
    }
}

impl Check for Advance {
    fn check(&self) -> Result<(), Error> {
        check_target(self.to, self.allocate)
    }
}

impl Check for AdvanceRef<'_> {
    fn check(&self) -> Result<(), Error> {
        check_target(self.to, self.allocate)
    }
}

fn check_target(to: Option<Sequence>, allocate: Option<u64>) -> Result<(), Error> {
    match (to, allocate) {
        (Some(_), None) => Ok(()),
        (None, Some(count)) if (1..=ADVANCE_AHEAD_MAX).contains(&count) => Ok(()),
        (None, Some(_)) => {
            Err(Error::invalid(format!("allocate: must be 1 to {ADVANCE_AHEAD_MAX}")))
        }
        _ => Err(Error::invalid("advance needs either `to` or `allocate`, not both")),
    }
}

/// Reply to `advance`: the sequences that it handed out, or the chat's sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdvanceReply {
    /// The first sequence handed out; with `to` it equals `last_sequence`.
    pub first_sequence: Sequence,
    /// The last sequence handed out; with `to` the chat's last sequence.
    pub last_sequence: Sequence,
    /// The time of the chat's newest message.
    pub last_time: TimeMs,
}

/// A `mark_read` without an idempotency key, whose ids are borrowed from the request's buffer. The
/// fields are those of [`MarkRead`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of `MarkRead`")]
pub struct MarkReadRef<'a> {
    pub user_id: Hashed<&'a str>,
    pub chat_id: Hashed<&'a str>,
    pub seq: Sequence,
}

/// Arguments of `mark_read`: a user, a chat, and the new read position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkRead {
    /// The user who has read.
    pub user_id: UserId,
    /// The chat that the user has read.
    pub chat_id: ChatId,
    /// The new read position, at most the chat's last sequence. A lower one than the stored changes
    /// nothing.
    pub seq: Sequence,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the row to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for MarkRead {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Reply to `mark_read`: the read position and what remains unread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarkReadReply {
    /// The stored read position, which never falls.
    pub max_read_seq: Sequence,
    /// How many messages are still unread.
    pub unread: u64,
}

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
