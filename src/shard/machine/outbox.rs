//! Deliveries: an event of a chat reaches the rows of its users, on this shard or on others.
//!
//! Invariants:
//! - A chat delivers its events one at a time, in order, and at most one slice of an event is on
//!   its way. So rows get the events of a chat in order, and a giant chat takes small steps.
//! - When all rows have confirmed an event, `DeliveryDone` takes it out of the outbox, and only
//!   then the next event is sent. So after a crash only the last event can be delivered twice, and
//!   rows recognize it by its number.
//! - A caller that waits for deliveries gets its answer exactly once.

use hashbrown::HashMap;
use snapshot::{Planted, is_planted};

use super::Shard;
use super::prefetch::prefetch_rows;
use crate::limits::DELIVERY_SLICE;
use crate::shard::deliveries::Effect;
use crate::shard::events::{DeliveryDone, RowChanged};
use crate::shard::op::{Answer, Answered, Envelope, Message, Output, ReplyTo};
use crate::shard::row::Row;
use crate::types::{ChatId, Flag, ShardId, UserId};

/// Deliveries under way, and the answers that wait for them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// For each chat, the event that is being delivered.
    running: HashMap<ChatId, Running>,
    waiters: Waiters,
}

/// How far the delivery of one event has come.
#[derive(Debug)]
struct Running {
    event: u64,
    /// To how many rows the event was sent so far.
    sent: usize,
    /// How many messages of the present slice are not confirmed yet.
    unconfirmed: usize,
}

impl Outbox {
    /// Notes that a chat begins to deliver an event. Returns false if the chat is still delivering
    /// one.
    fn begin(&mut self, chat_id: &ChatId, event: u64) -> bool {
        let is_free = !self.running.contains_key(chat_id);
        if is_free {
            self.running.insert(chat_id.clone(), Running { event, sent: 0, unconfirmed: 0 });
        }
        is_free
    }

    /// Notes one confirmation. Returns true if it was the last one of the present slice.
    fn confirm(&mut self, chat_id: &ChatId, event: u64) -> bool {
        let Some(running) = self.running.get_mut(chat_id) else { return false };
        if running.event != event || running.unconfirmed == 0 {
            return false;
        }
        running.unconfirmed -= 1;
        running.unconfirmed == 0
    }

    /// Notes that a slice with so many rows is sent, in so many messages.
    fn note_slice(&mut self, chat_id: &ChatId, rows: usize, messages: usize) {
        if let Some(running) = self.running.get_mut(chat_id) {
            running.sent += rows;
            running.unconfirmed = messages;
        }
    }
}

/// Answers that wait until events are delivered.
#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    waiting: HashMap<u64, Waiter>,
    /// For each chat, the answers that wait for it: up to which event, and the answer's number in
    /// `waiting`.
    chats: HashMap<ChatId, Vec<(u64, u64)>>,
}

#[derive(Debug)]
struct Waiter {
    to: ReplyTo,
    /// How many chats the answer still waits for.
    chats: usize,
    answer: Answer,
}

impl Waiters {
    fn add(&mut self, to: ReplyTo, answer: Answer, chats: Vec<(ChatId, u64)>) {
        let key = self.next;
        self.next += 1;
        self.waiting.insert(key, Waiter { to, chats: chats.len(), answer });
        for (chat_id, event) in chats {
            self.chats.entry(chat_id).or_default().push((event, key));
        }
    }

    /// Notes that all events of a chat up to `event` are delivered. Sends the answers that waited
    /// only for this.
    fn finish(&mut self, chat_id: &ChatId, event: u64, out: &mut Output) {
        let Some(entries) = self.chats.get_mut(chat_id) else { return };
        let mut done = Vec::new();
        entries.retain(|&(until, key)| {
            if until <= event {
                done.push(key);
            }
            until > event
        });
        if entries.is_empty() {
            self.chats.remove(chat_id);
        }
        for key in done {
            let Some(waiter) = self.waiting.get_mut(&key) else { continue };
            waiter.chats -= 1;
            if waiter.chats == 0
                && let Some(waiter) = self.waiting.remove(&key)
            {
                out.answers.push(Answered {
                    to: waiter.to,
                    answer: waiter.answer,
                    after_log: true,
                });
            }
        }
    }
}

impl Shard {
    /// Keeps back an answer until the present events of these chats have reached all rows. If no
    /// chat has such an event, returns the answer at once.
    pub(in crate::shard) fn after_deliveries(
        &mut self,
        chat_ids: &[ChatId],
        to: ReplyTo,
        answer: Answer,
    ) -> Option<Answer> {
        let open: Vec<(ChatId, u64)> = chat_ids
            .iter()
            .filter_map(|chat_id| {
                let event = self.slots.find_chat(chat_id)?.outbox.last()?.event;
                Some((chat_id.clone(), event))
            })
            .collect();
        if open.is_empty() {
            return Some(answer);
        }
        self.outbox.waiters.add(to, answer, open);
        None
    }

    /// Begins to deliver the oldest event of a chat, unless the chat is already delivering one.
    pub(in crate::shard) fn deliver(&mut self, chat_id: &ChatId, out: &mut Output) {
        let Some(entry) = self.slots.find_chat(chat_id).and_then(|chat| chat.outbox.first()) else {
            return;
        };
        if self.outbox.begin(chat_id, entry.event) {
            self.send_slice(chat_id, out);
        }
    }

    /// Notes that a shard has confirmed its rows of a slice. After the last shard, the next slice
    /// is sent.
    pub(in crate::shard) fn delivered(&mut self, chat_id: &ChatId, event: u64, out: &mut Output) {
        if self.outbox.confirm(chat_id, event) {
            self.send_slice(chat_id, out);
        }
    }

    /// Sends the next slice of the event under way. If all rows have the event, ends the delivery.
    fn send_slice(&mut self, chat_id: &ChatId, out: &mut Output) {
        let (Some(running), Some(entry)) = (
            self.outbox.running.get(chat_id),
            self.slots.find_chat(chat_id).and_then(|chat| chat.outbox.first()),
        ) else {
            return;
        };
        let (event, slice) = (running.event, entry.deliveries.slice(running.sent, DELIVERY_SLICE));
        if slice.is_empty() {
            self.end_delivery(chat_id, event, out);
            return;
        }
        let sent = slice.len();
        let mut by_shard: Vec<(ShardId, Vec<(UserId, Effect)>)> = Vec::new();
        for (user_id, effect) in slice {
            let shard = self.slots.shard_of_user(&user_id);
            match by_shard.iter_mut().find(|(other, _)| *other == shard) {
                Some((_, rows)) => rows.push((user_id, effect)),
                None => by_shard.push((shard, vec![(user_id, effect)])),
            }
        }
        self.outbox.note_slice(chat_id, sent, by_shard.len());
        for (shard, rows) in by_shard {
            let message =
                Message::Deliver { from: self.slots.shard, chat_id: chat_id.clone(), event, rows };
            self.send(shard, message, out);
        }
    }

    fn end_delivery(&mut self, chat_id: &ChatId, event: u64, out: &mut Output) {
        self.outbox.running.remove(chat_id);
        let slot = self.slots.slot_of_chat(chat_id);
        self.commit(slot, DeliveryDone { chat_id: chat_id.clone(), event }, out);
        self.outbox.waiters.finish(chat_id, event, out);
        self.deliver(chat_id, out);
    }

    /// Applies an event of a chat to the rows that do not have it yet, and confirms it to the
    /// chat's shard.
    pub(in crate::shard) fn take_delivery(
        &mut self,
        from: ShardId,
        chat_id: ChatId,
        event: u64,
        rows: Vec<(UserId, Effect)>,
        out: &mut Output,
    ) {
        prefetch_rows(&self.slots, &chat_id, &rows);
        let hash = self.slots.hash_of(chat_id.as_str());
        for (user_id, effect) in rows {
            let row = self.slots.find_user(&user_id);
            let row = row.and_then(|user| user.rows.get(chat_id.as_str(), hash));
            if !changes(row, event, &effect) {
                continue;
            }
            let slot = self.slots.slot_of_user(&user_id);
            let event =
                RowChanged { user_id: user_id.clone(), chat_id: chat_id.clone(), event, effect };
            self.commit_of_user(slot, &user_id, event, out);
        }
        self.forget_some(out);
        self.send(from, Message::Delivered { chat_id, event }, out);
    }

    /// Puts a message into the output, with the number of the present snapshot. The receiver may be
    /// this shard.
    pub(in crate::shard) fn send(&self, shard: ShardId, message: Message, out: &mut Output) {
        out.messages.push((shard, Envelope { snapshot: self.walk.number(), message }));
    }
}

/// Whether an event changes a row. It does not if the row already has the event, or if its effect
/// would change nothing.
fn changes(row: Option<&Row>, event: u64, effect: &Effect) -> bool {
    let Some(row) = row else {
        return matches!(effect, Effect::Join { .. } | Effect::Import(_));
    };
    if row.state().event >= event && !is_planted(Planted::DeliveredTwice) {
        return false;
    }
    let facts = row.facts();
    match effect {
        Effect::Return => facts.is_show == Flag::NO,
        // A delete that would change nothing is a repeat: flags that the user has set since must
        // stay.
        Effect::Delete { to, back } => facts.deleted_to_seq < *to || facts.is_show != Flag(*back),
        Effect::Join { .. } | Effect::Remove | Effect::Import(_) | Effect::Erase => true,
    }
}
