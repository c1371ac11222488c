//! `Advanced`: a message arrived, or sequences were allocated.

use std::sync::Arc;

use rmp::Marker;
use serde::Deserialize;

use super::applier::misfit;
use super::{Applier, Decision, EncodeError, Fields, Logged, blank, encode_id};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::shard::decode::BadRecord;
use crate::shard::deliveries::{Deliveries, Effect};
use crate::shard::state::NewestBy;
use crate::types::{AsKey, ChatId, Hashed, Sequence, TimeMs, UserId};

/// A message arrived, or sequences were allocated.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Advanced<Chat = ChatId, User = UserId> {
    /// The chat that advanced.
    pub chat_id: Chat,
    /// The chat's last sequence after the event. It is 0 if the event raises only the sender's sent
    /// sequence.
    pub to: Sequence,
    /// When the newest message of the chat arrived.
    pub time: TimeMs,
    /// The sender, with the sequence of the newest message that this member sent.
    pub sent: Option<(User, Sequence)>,
}

/// An [`Advanced`] that borrows its ids. `advance` is so frequent that a shard decides, logs and
/// applies it without copying ids.
pub type AdvancedRef<'a> = Advanced<Hashed<'a>, Hashed<'a>>;

impl<Chat: AsKey, User: AsKey> Fields for Advanced<Chat, User> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        rmp::encode::write_array_len(out, 4)?;
        encode_id(out, &self.chat_id)?;
        rmp::encode::write_uint(out, self.to.get())?;
        rmp::encode::write_uint(out, self.time.get())?;
        match &self.sent {
            None => out.push(Marker::Null.to_u8()),
            Some((sender, seq)) => {
                rmp::encode::write_array_len(out, 2)?;
                encode_id(out, sender)?;
                rmp::encode::write_uint(out, seq.get())?;
            }
        }
        Ok(())
    }
}

impl<Chat: AsKey, User: AsKey> Decision for Advanced<Chat, User> {
    const CODE: u8 = 4;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let hasher = applier.hasher;
        let chat_id = self.chat_id.as_key(hasher);
        let chat = applier.slot.chat_mut(chat_id.id, chat_id.hash);
        let chat = chat.ok_or_else(|| misfit("chat", &chat_id))?;
        let mut sent = None;
        if let Some((sender, sent_seq)) = &self.sent
            && let Hashed { id, hash } = sender.as_key(hasher)
            && let Some(member) = chat.members.get_mut(id, hash)
        {
            let sent_seq = member.facts().sent_seq.max(*sent_seq);
            member.update(|member| member.sent_seq = sent_seq);
            sent = Some((hash, sent_seq));
        }
        let is_newer = self.to > chat.head.last_sequence;
        if is_newer {
            chat.newest_by = NewestBy::Nobody;
            chat.head.last_sequence = self.to;
            chat.head.last_time = self.time;
        }
        if let Some((hash, sent_seq)) = sent {
            chat.note_sent(hash, sent_seq);
        }
        if is_newer && let Some(deleters) = chat.deleters.take() {
            chat.head.returns += 1;
            chat.post(Deliveries::Same(Effect::Return, Arc::unwrap_or_clone(deleters)));
            applier.slot.counts.outbox += 1;
        }
        Ok(())
    }
}

impl Logged for Advanced {
    fn key(&self) -> Option<&str> {
        Some(self.chat_id.as_str())
    }

    /// A message older than the newest one raises only the sent sequence of its sender. For such a
    /// message, old builds wrote the chat's last sequence into `to`; today it is 0. In both cases
    /// `to` differs from the sender's sequence, and `watch` reports only that sequence.
    fn watched(self) -> Option<WatchEvent> {
        let Self { chat_id, to, time, sent } = self;
        Some(match sent {
            Some((user_id, seq)) if to != seq => WatchEvent {
                user_id: Some(user_id),
                chat_id: Some(chat_id),
                seq: Some(seq),
                ..blank(WatchOp::Sent)
            },
            sent => WatchEvent {
                chat_id: Some(chat_id),
                user_id: sent.map(|(user_id, _)| user_id),
                last_sequence: Some(to),
                last_time: Some(time),
                ..blank(WatchOp::Advance)
            },
        })
    }
}
