//! `mark_read`: a user's read position rises.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::types::{ChatId, Hashed, IdempotencyKey, Sequence, UserId};

/// Arguments of `mark_read`: a user, a chat, and the new read position.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkRead<User = UserId, Chat = ChatId, Key = IdempotencyKey> {
    /// The user who has read.
    pub user_id: User,
    /// The chat that the user has read.
    pub chat_id: Chat,
    /// The new read position, at most the chat's last sequence. If it is not above the stored one,
    /// nothing changes.
    pub seq: Sequence,
    /// Makes a retry safe: the same request with this key gets the first reply.
    #[serde(default = "Option::default")]
    pub idempotency_key: Option<Key>,
    /// The command needs the row to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

/// A [`MarkRead`] that borrows its ids, and has no idempotency key.
pub type MarkReadRef<'a> = MarkRead<Hashed<'a>, Hashed<'a>, Infallible>;

impl Check for MarkRead {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Arguments for MarkRead {
    type Reply = MarkReadReply;
    const EXAMPLE: Option<&str> = Some(r#"{"user_id": "USER", "chat_id": "GROUP", "seq": 118}"#);

    fn touch(&self, keys: &mut impl NamedKeys) {
        let is_plain = self.idempotency_key.is_none() && self.if_version.is_none();
        let used = if is_plain { Use::Mark } else { Use::Write };
        keys.user(&self.user_id, used, By::Detour);
        keys.chat(&self.chat_id, Use::Read, By::Arrival);
    }
}

/// Reply to `mark_read`: the read position and the number of messages that are still unread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ReadPosition)]
pub struct MarkReadReply {
    /// The stored read position, which never falls.
    pub max_read_seq: Sequence,
    /// How many messages are still unread.
    pub unread: u64,
}

#[cfg(test)]
draw! {
    MarkRead { user_id, chat_id, seq, idempotency_key, if_version }
    MarkReadReply { max_read_seq, unread }
}
