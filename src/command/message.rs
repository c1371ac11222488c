//! A message arrived; a user has read.

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
    /// The chat.
    pub chat_id: ChatId,
    /// The sequence of a message that was stored; an older one changes no sequence.
    #[serde(default)]
    pub to: Option<Sequence>,
    /// Hand out this many next sequences, each exactly once.
    #[serde(default)]
    pub allocate: Option<u64>,
    /// The newest message's time; the server's if absent.
    #[serde(default)]
    pub time: Option<TimeMs>,
    /// Who sent it; their own messages are not unread to them.
    #[serde(default)]
    pub sender_id: Option<UserId>,
    /// Allow `to` more than 1 000 000 ahead.
    #[serde(default)]
    pub force: Option<bool>,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// Only if this is the chat's version; else 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

/// An `advance` without an idempotency key, whose ids are read where they lie; the fields are those of
/// [`Advance`].
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
    /// The request but for its idempotency key.
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

/// Answer of `advance`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdvanceReply {
    /// First sequence handed out; with `to` the same as `last_sequence`.
    pub first_sequence: Sequence,
    /// Last sequence handed out; with `to` the stored one.
    pub last_sequence: Sequence,
    /// Time of the newest sequence.
    pub last_time: TimeMs,
}

/// A `mark_read` without an idempotency key, whose ids are read where they lie; the fields are those of [`MarkRead`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of `MarkRead`")]
pub struct MarkReadRef<'a> {
    pub user_id: Hashed<&'a str>,
    pub chat_id: Hashed<&'a str>,
    pub seq: Sequence,
}

/// Arguments of `mark_read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkRead {
    /// Who has read.
    pub user_id: UserId,
    /// In which chat.
    pub chat_id: ChatId,
    /// Up to which sequence; at most the chat's last.
    pub seq: Sequence,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// Only if this is the row's version; else 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for MarkRead {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Answer of `mark_read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarkReadReply {
    /// The stored read position, which never goes backward.
    pub max_read_seq: Sequence,
    /// What is still unread.
    pub unread: u64,
}

/// Arguments of `mark_read_many`: each item is as a `mark_read` of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkReadMany {
    /// Who has read.
    pub user_id: UserId,
    /// In which chats, and up to where; each chat once.
    #[serde(deserialize_with = "null_as_default")]
    pub items: Vec<ReadItem>,
    /// A repeat of the same request with this key gets the first answer and applies nothing.
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
    /// Which chat.
    pub chat_id: ChatId,
    /// Up to which sequence; at most the chat's last.
    pub seq: Sequence,
}

/// Answer of `mark_read_many`: one result for each item, in the order asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarkReadManyReply {
    /// The results.
    pub items: Vec<ReadResult>,
}

/// What came of one item. One that is refused changes nothing and keeps no other from being taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadResult {
    /// The chat.
    pub chat_id: ChatId,
    /// 200, or the status that a `mark_read` of it would have.
    pub status: u16,
    /// The stored read position; absent if it was refused.
    pub max_read_seq: Option<Sequence>,
    /// What is still unread; absent if it was refused.
    pub unread: Option<u64>,
}
