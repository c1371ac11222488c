//! `mark_read`: a user's read position rises.

use serde::{Deserialize, Serialize};

use super::{Check, Error};
use crate::types::{ChatId, Hashed, IdempotencyKey, Sequence, UserId};

/// A `mark_read` without an idempotency key, whose ids are borrowed from the request's buffer. The
/// fields are those of [`MarkRead`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of `MarkRead`")]
pub struct MarkReadRef<'a> {
    pub user_id: Hashed<'a>,
    pub chat_id: Hashed<'a>,
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
