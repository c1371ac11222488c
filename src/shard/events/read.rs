//! `Read`: a user has read a chat up to a sequence.

use serde::{Deserialize, Serialize};

use super::{Applier, Decision, EncodeError, Logged, blank, encode_id};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::shard::decode::BadRecord;
use crate::types::{ChatId, Flag, Hashed, KeyHasher, Sequence, UserId};

/// A user has read a chat up to a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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

impl Read {
    /// Borrows the event, with the hashes of its ids.
    pub fn as_ref(&self, hasher: KeyHasher) -> ReadRef<'_> {
        let Self { user_id, chat_id, seq } = self;
        let (user_id, chat_id) = (hasher.hashed(user_id.as_str()), hasher.hashed(chat_id.as_str()));
        ReadRef { user_id, chat_id, seq: *seq }
    }
}

impl Decision for Read {
    const CODE: u8 = 33;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        self.as_ref(applier.hasher).apply(applier)
    }
}

impl Decision for ReadRef<'_> {
    const CODE: u8 = <Read>::CODE;

    fn encode_fields(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        rmp::encode::write_array_len(out, 3)?;
        encode_id(out, self.user_id)?;
        encode_id(out, self.chat_id)?;
        rmp::encode::write_uint(out, self.seq.get())?;
        Ok(())
    }

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        applier.change_row(self.user_id, self.chat_id, |facts| {
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
