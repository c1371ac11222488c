//! A message arrived; a user has read.

use super::{Core, Step};
use crate::command::membership::{Clear, ClearReply};
use crate::command::message::{Advance, AdvanceReply, MarkRead, MarkReadReply};
use crate::command::{Error, ErrorCode, Outcome, Reply};
use crate::limits::ADVANCE_AHEAD_MAX;
use crate::shard::event::{Advanced, Cleared, Read};
use crate::shard::op::{Message, Output, ReplyTo, RowAction};
use crate::shard::state::ChatHead;
use crate::types::{ChatId, ChatStatus, Flag, Sequence, UserId};

impl Core {
    pub(super) fn advance(&mut self, advance: Advance, out: &mut Output) -> Outcome {
        let chat = self.live_chat(&advance.chat_id)?;
        if chat.head.status == ChatStatus::Disabled {
            return Err(Error::new(ErrorCode::Disabled, "the chat is disabled"));
        }
        let stored = chat.head.last_sequence;
        let target = target(&chat.head, &advance)?;
        let given_time = self.time_or_now(advance.time)?;
        let sent = advance.sender_id.and_then(|sender| {
            let member = chat.members.get(sender.as_str(), self.hash_of(sender.as_str()))?;
            (member.sent_seq < target.sent).then_some((sender, target.sent))
        });
        let last_time = if target.last > stored { given_time } else { chat.head.last_time };
        if target.last > stored || sent.is_some() {
            let slot = self.slot_of_chat(&advance.chat_id);
            let event = Advanced {
                chat_id: advance.chat_id.clone(),
                to: target.last,
                time: last_time,
                sent,
            };
            self.commit(slot, event, out);
            self.deliver(&advance.chat_id, out);
        }
        Ok(Reply::Advance(AdvanceReply {
            first_sequence: target.first,
            last_sequence: target.last,
            last_time,
        }))
    }

    /// The chat checks, the row decides: its shard answers.
    pub(super) fn mark_read(&mut self, to: ReplyTo, read: MarkRead, out: &mut Output) -> Step {
        self.ask_row(to, read.user_id, read.chat_id, RowAction::Read(read.seq), out)
    }

    pub(super) fn clear(&mut self, to: ReplyTo, clear: Clear, out: &mut Output) -> Step {
        self.ask_row(to, clear.user_id, clear.chat_id, RowAction::Clear, out)
    }

    fn ask_row(
        &mut self,
        to: ReplyTo,
        user_id: UserId,
        chat_id: ChatId,
        action: RowAction,
        out: &mut Output,
    ) -> Step {
        let checked = self.live_chat(&chat_id).and_then(|chat| {
            let member = chat
                .members
                .get(user_id.as_str(), self.hash_of(user_id.as_str()))
                .ok_or_else(Error::no_membership)?;
            match action {
                RowAction::Read(seq) if seq > chat.head.last_sequence => {
                    Err(Error::invalid(format!(
                        "seq: {seq} is beyond the chat's last_sequence {}",
                        chat.head.last_sequence
                    )))
                }
                _ => Ok((chat.head.last_sequence, member.sent_seq)),
            }
        });
        let (last_sequence, sent_seq) = match checked {
            Ok(checked) => checked,
            Err(error) => return Step::Done(Err(error)),
        };
        let shard = self.slot_of_user(&user_id).shard(self.shards);
        let message = Message::Row { to, user_id, chat_id, action, last_sequence, sent_seq };
        self.send(shard, message, out);
        Step::Later
    }

    /// A user's change to a row, after the chat's word.
    pub(super) fn row_action(
        &mut self,
        user_id: UserId,
        chat_id: ChatId,
        action: RowAction,
        last_sequence: Sequence,
        sent_seq: Sequence,
        out: &mut Output,
    ) -> Outcome {
        let mut facts =
            self.find_row(&user_id, &chat_id).ok_or_else(Error::no_membership)?.facts.clone();
        let slot = self.slot_of_user(&user_id);
        match action {
            RowAction::Read(seq) => {
                if facts.max_read_seq < seq || facts.marked_unread == Flag::YES {
                    self.commit(slot, Read { user_id, chat_id, seq }, out);
                }
                facts.max_read_seq = facts.max_read_seq.max(seq);
                let unread = facts.floors(sent_seq).unread(last_sequence);
                Ok(Reply::MarkRead(MarkReadReply { max_read_seq: facts.max_read_seq, unread }))
            }
            RowAction::Clear => {
                let covered =
                    facts.deleted_to_seq >= last_sequence && facts.max_read_seq >= last_sequence;
                if !covered || facts.marked_unread == Flag::YES {
                    self.commit(slot, Cleared { user_id, chat_id, to: last_sequence }, out);
                }
                let deleted_to_seq = facts.deleted_to_seq.max(last_sequence);
                Ok(Reply::Clear(ClearReply { deleted_to_seq }))
            }
        }
    }
}

/// Where an `advance` leads.
struct Target {
    first: Sequence,
    last: Sequence,
    /// The sender's own newest message.
    sent: Sequence,
}

fn target(head: &ChatHead, advance: &Advance) -> Result<Target, Error> {
    let stored = head.last_sequence;
    if let Some(count) = advance.allocate {
        let last = stored.checked_add(count)?;
        return Ok(Target { first: stored.checked_add(1)?, last, sent: last });
    }
    let to = advance.to.ok_or_else(|| Error::invalid("advance needs `to` or `allocate`"))?;
    if to.get() > stored.get().saturating_add(ADVANCE_AHEAD_MAX) && advance.force != Some(true) {
        return Err(Error::invalid(format!(
            "to: {to} is more than {ADVANCE_AHEAD_MAX} ahead of {stored}; send force if it is meant"
        )));
    }
    let last = stored.max(to);
    Ok(Target { first: last, last, sent: to })
}
