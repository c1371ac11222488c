//! `Read`: a user has read a chat up to a sequence.

use serde::Deserialize;

use super::{Applier, Decision, EncodeError, Fields, Logged, blank, encode_id};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::shard::decode::BadRecord;
use crate::types::{AsKey, ChatId, Flag, Hashed, Sequence, UserId};

/// A user has read a chat up to a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Read<User = UserId, Chat = ChatId> {
    /// Owner of the row.
    pub user_id: User,
    /// The chat of the row.
    pub chat_id: Chat,
    /// The new read position. Applying the event never lowers the position of the row.
    pub seq: Sequence,
}

/// A [`Read`] that borrows its ids, like [`AdvancedRef`](super::AdvancedRef).
pub type ReadRef<'a> = Read<Hashed<'a>, Hashed<'a>>;

impl<User: AsKey, Chat: AsKey> Fields for Read<User, Chat> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        rmp::encode::write_array_len(out, 3)?;
        encode_id(out, &self.user_id)?;
        encode_id(out, &self.chat_id)?;
        rmp::encode::write_uint(out, self.seq.get())?;
        Ok(())
    }
}

impl<User: AsKey, Chat: AsKey> Decision for Read<User, Chat> {
    const CODE: u8 = 33;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let hasher = applier.hasher;
        let (user_id, chat_id) = (self.user_id.as_key(hasher), self.chat_id.as_key(hasher));
        applier.change_row(user_id, chat_id, |facts| {
            facts.max_read_seq = facts.max_read_seq.max(self.seq);
            facts.marked_unread = Flag::NO;
        })
    }
}

impl Logged for Read {
    fn key(&self) -> Option<&str> {
        Some(self.user_id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        let Self { user_id, chat_id, seq } = self;
        let (user_id, chat_id) = (Some(user_id), Some(chat_id));
        Some(WatchEvent { user_id, chat_id, seq: Some(seq), ..blank(WatchOp::Read) })
    }
}
