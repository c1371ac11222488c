//! A shard's state machine: no clock, no sockets, no files, no async, no randomness.
//!
//! In go an [`Op`], a [`Message`] of another shard, or the time; out come records, messages and
//! answers ([`Output`]). So the same code runs in production, in replay and in a simulation.
//!
//! Each family of commands has its own file beside this one; all of them end in
//! `Core::commit`, the one point where an event becomes a record and is applied.
//!
//! Invariants:
//! - An event is written into the output before anything that depends on it.
//! - A slot's sequence rises by one with each event.
//! - While an image is being taken, a slot is captured before its first change.

mod chats;
mod image;
mod messages;
mod outbox;
mod rows;
mod transfer;

use std::collections::HashMap;

use image::ImageWalk;
pub use image::SlotCapture;
use outbox::{Running, Waiters};

use super::apply::{Applier, Counts};
use super::event::{self, BadRecord, Event};
use super::op::{Answer, Answered, Envelope, Message, Op, Output, ReplyTo};
use super::state::{Chat, SlotState, User};
use crate::command::node::ShardStats;
use crate::command::{Class, Command, Error, Outcome};
use crate::limits::{SLOTS, TIME_AHEAD_MS_MAX};
use crate::types::{ChatId, KeyHasher, ShardCount, ShardId, Slot, TimeMs, UserId};

/// What of a command's result is known now.
enum Step {
    /// The outcome.
    Done(Outcome),
    /// An answer that is only a part.
    Part(Answer),
    /// It is answered later, or by another shard.
    Later,
}

impl From<Outcome> for Step {
    fn from(outcome: Outcome) -> Self {
        Self::Done(outcome)
    }
}

/// See the module's documentation.
pub struct Core {
    shard: ShardId,
    shards: ShardCount,
    hasher: KeyHasher,
    /// The slots of this shard; slot `s` is at `s / shards`.
    slots: Vec<SlotState>,
    counts: Counts,
    now: TimeMs,
    /// Why writes are refused, if they are.
    refusal: Option<Error>,
    running: HashMap<ChatId, Running>,
    waiters: Waiters,
    image: ImageWalk,
    commands: u64,
}

impl Core {
    /// An empty shard of a node of `shards`.
    pub fn new(shard: ShardId, shards: ShardCount, hasher: KeyHasher) -> Self {
        let own = Slot::all().filter(|slot| slot.shard(shards) == shard).count();
        Self {
            shard,
            shards,
            hasher,
            slots: std::iter::repeat_with(SlotState::default).take(own).collect(),
            counts: Counts::default(),
            now: TimeMs::ZERO,
            refusal: None,
            running: HashMap::new(),
            waiters: Waiters::default(),
            image: ImageWalk::default(),
            commands: 0,
        }
    }

    /// The shard's number.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Tells the time; commands without a time of their own use it. It never goes back.
    pub fn tick(&mut self, now: TimeMs) {
        self.now = self.now.max(now);
    }

    /// Refuses writes with this error until it is lifted; nothing is applied meanwhile.
    pub fn refuse_writes(&mut self, why: Option<Error>) {
        self.refusal = why;
    }

    /// Applies a record of the log that is newer than the slot.
    ///
    /// # Errors
    /// If the record cannot be read, does not fit, or leaves a gap: damage.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), BadRecord> {
        let (slot, seq, event) = event::decode(record)?;
        let have = self.slot(slot)?.seq;
        if seq <= have {
            return Ok(());
        }
        if seq != have + 1 {
            return Err(BadRecord(format!(
                "slot {}: record {seq} follows record {have}",
                slot.get()
            )));
        }
        self.apply(slot, event)
    }

    /// Begins to work after recovery: deliveries that a stop left open go out again.
    pub fn start(&mut self, out: &mut Output) {
        let open: Vec<ChatId> = self
            .slots
            .iter()
            .flat_map(SlotState::chats)
            .filter(|chat| !chat.outbox.is_empty())
            .map(|chat| chat.head.id.clone())
            .collect();
        for chat_id in open {
            self.deliver(&chat_id, out);
        }
    }

    /// Runs an op. Its answer is in `out`, now or after later steps.
    pub fn request(&mut self, to: ReplyTo, op: Op, out: &mut Output) {
        self.commands += 1;
        let writes = op_class(&op) == Class::Write;
        if writes && let Some(why) = &self.refusal {
            let answer = Answer::Done(Err(why.clone()));
            out.answers.push(Answered { to, answer, after_log: false });
            return;
        }
        let answer = match self.run(to, op, out) {
            Step::Done(outcome) => Answer::Done(outcome),
            Step::Part(answer) => answer,
            Step::Later => return,
        };
        // A refusal promises nothing.
        let after_log = writes && !matches!(answer, Answer::Done(Err(_)));
        out.answers.push(Answered { to, answer, after_log });
    }

    /// Takes a message of another shard, or of this one.
    pub fn message(&mut self, envelope: Envelope, out: &mut Output) {
        self.begin_image(envelope.image);
        match envelope.message {
            Message::Deliver { from, chat_id, event, rows } => {
                self.take_delivery(from, chat_id, event, rows, out);
            }
            Message::Delivered { chat_id, event } => self.delivered(&chat_id, event, out),
            Message::Row { to, user_id, chat_id, action, last_sequence, sent_seq } => {
                let outcome =
                    self.row_action(user_id, chat_id, action, last_sequence, sent_seq, out);
                let answer = Answer::Done(outcome);
                out.answers.push(Answered { to, answer, after_log: true });
            }
        }
    }

    fn run(&mut self, to: ReplyTo, op: Op, out: &mut Output) -> Step {
        match op {
            Op::Run(command) => self.run_command(to, command, out),
            Op::Create { create, id_from } => self.create(to, create, id_from, out),
            Op::Details { ids, user_id } => Step::Part(self.details(&ids, user_id.as_ref())),
            Op::Facts { user_id, ids } => Step::Part(self.facts(&user_id, &ids)),
            Op::Delete(delete) => self.delete(to, delete, out),
            Op::ExportPage { slot, after, limit } => {
                Step::Part(self.export_page(slot, after, limit))
            }
            Op::ExportRows(pairs) => Step::Part(self.export_rows(&pairs)),
            Op::CheckImport(import) => Step::Part(self.check_import(&import)),
            Op::Import(import) => self.import(to, &import, out),
            Op::Stats => Step::Part(Answer::Stats(self.stats())),
        }
    }

    fn run_command(&mut self, to: ReplyTo, command: Command, out: &mut Output) -> Step {
        match command {
            Command::List(list) => self.list(&list).into(),
            Command::Members(members) => self.members(&members).into(),
            Command::AddMembers(add) => self.add_members(to, add, out),
            Command::RemoveMembers(remove) => self.remove_members(to, remove, out),
            Command::SetStatus(set) => self.set_status(set, out).into(),
            Command::Dissolve(dissolve) => self.dissolve(to, dissolve, out),
            Command::Advance(advance) => self.advance(advance, out).into(),
            Command::MarkRead(read) => self.mark_read(to, read, out),
            Command::Clear(clear) => self.clear(to, clear, out),
            Command::SetFlags(set) => self.set_flags(set, out).into(),
            Command::Touch(touch) => self.touch(touch, out).into(),
            other => Step::Done(Err(Error::invalid(format!(
                "{} is not run by a shard",
                other.kind().name()
            )))),
        }
    }

    /// The shard's counts.
    pub fn stats(&self) -> ShardStats {
        ShardStats {
            shard: self.shard.0,
            chats: self.counts.chats,
            dissolved: self.counts.dissolved,
            users: self.counts.users,
            memberships: self.counts.memberships,
            outbox: self.counts.outbox,
            commands: self.commands,
            connections: 0,
        }
    }

    /// Makes an event a record and applies it: the one point where anything changes.
    fn commit(&mut self, slot: Slot, event: impl Into<Event>, out: &mut Output) {
        let event = event.into();
        self.capture_before_change(slot);
        let seq = self.slot(slot).map_or(0, |state| state.seq) + 1;
        let mut encoded = Ok(());
        let framed =
            out.records.push_with(|bytes| encoded = event::encode(slot, seq, &event, bytes));
        let applied = framed
            .map_err(|error| BadRecord(error.to_string()))
            .and(encoded)
            .and_then(|()| self.apply(slot, event));
        // An event that was decided on this very state always fits it.
        assert!(applied.is_ok(), "a decided event was refused: {applied:?}");
    }

    fn apply(&mut self, slot: Slot, event: Event) -> Result<(), BadRecord> {
        let index = self.slot_index(slot)?;
        let Some(state) = self.slots.get_mut(index) else { return Err(not_here(slot)) };
        state.seq += 1;
        Applier { slot: state, counts: &mut self.counts, hasher: self.hasher }.apply(event)
    }

    fn slot_index(&self, slot: Slot) -> Result<usize, BadRecord> {
        if slot.shard(self.shards) != self.shard {
            return Err(not_here(slot));
        }
        Ok(usize::from(slot.get() / self.shards.get()))
    }

    fn slot(&self, slot: Slot) -> Result<&SlotState, BadRecord> {
        self.slot_index(slot).and_then(|index| self.slots.get(index).ok_or_else(|| not_here(slot)))
    }

    fn slot_of_chat(&self, id: &ChatId) -> Slot {
        self.hasher.slot(id.as_str())
    }

    fn slot_of_user(&self, id: &UserId) -> Slot {
        self.hasher.slot(id.as_str())
    }

    /// The chat, dissolved or not.
    fn find_chat(&self, id: &ChatId) -> Option<&Chat> {
        let hash = self.hasher.hash(id.as_str());
        self.slot(KeyHasher::slot_of_hash(hash)).ok()?.chat(id, hash)
    }

    /// The chat for a command that needs it alive.
    fn live_chat(&self, id: &ChatId) -> Result<&Chat, Error> {
        let chat = self.find_chat(id).ok_or_else(Error::no_chat)?;
        if chat.head.dissolved { Err(Error::gone()) } else { Ok(chat) }
    }

    fn find_user(&self, id: &UserId) -> Option<&User> {
        let hash = self.hasher.hash(id.as_str());
        self.slot(KeyHasher::slot_of_hash(hash)).ok()?.user(id, hash)
    }

    fn hash_of(&self, key: &str) -> u64 {
        self.hasher.hash(key)
    }

    /// The command's time, or the server's.
    fn time_or_now(&self, time: Option<TimeMs>) -> Result<TimeMs, Error> {
        match time {
            Some(time) if time > self.now.saturating_add(TIME_AHEAD_MS_MAX) => {
                Err(Error::invalid("time: more than a day ahead of the server's"))
            }
            Some(time) => Ok(time),
            None => Ok(self.now),
        }
    }
}

fn op_class(op: &Op) -> Class {
    match op {
        Op::Run(command) => command.class(),
        // A check is refused when the import would be.
        Op::Create { .. } | Op::Delete(_) | Op::CheckImport(_) | Op::Import(_) => Class::Write,
        Op::Details { .. }
        | Op::Facts { .. }
        | Op::ExportPage { .. }
        | Op::ExportRows(_)
        | Op::Stats => Class::Read,
    }
}

fn not_here(slot: Slot) -> BadRecord {
    BadRecord(format!("slot {} of {SLOTS} is not on this shard", slot.get()))
}
