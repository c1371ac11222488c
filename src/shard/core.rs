//! A shard's state machine: no clock, no sockets, no files, no async, no randomness.
//!
//! Inputs are an [`Op`], a [`Message`] of a shard, or the time. Outputs are records, messages and
//! answers ([`Output`]). So the same code runs in production, in replay and in a simulation.
//!
//! The operations are in [`super::ops`], one file per family. All writes end in `Core::commit`, the
//! one point where an event becomes a record and is applied. What the core keeps besides the slots
//! has a type of its own, with its invariants, in a file below:
//!
//! - [`slots`]: the slots, and what they hold, found by keys
//! - [`outbox`]: deliveries under way, and the answers that wait for them
//! - [`idempotency`]: first answers, and their eviction
//! - [`forgetting`]: the bound of what is remembered of users
//! - [`capture`]: the walk over the slots for a snapshot
//!
//! Invariants:
//! - An event is written into the output before anything that depends on it.
//! - While a snapshot of one instant is being captured, a slot is captured before its first change.

mod capture;
mod forgetting;
mod idempotency;
mod outbox;
mod reads;
mod slots;

use capture::CaptureWalk;
pub use capture::SlotCapture;
use forgetting::Fading;
use idempotency::Answers;
pub(super) use idempotency::{Keyed, Remembered};
use outbox::Outbox;
pub(super) use slots::{Slots, check_version};

use super::decode::{BadRecord, hash_in};
use super::events::{self, Decision};
use super::op::{Answer, Answered, Envelope, Message, Op, Output, ReplyTo};
use super::ops::{
    Step, chats, conversations, deletes, details, erase, export, import, members, messages, places,
    read_positions, rows, sync, verify,
};
pub use super::prefetch::PrefetchKeys;
use super::state::SlotState;
use crate::command::stats::ShardStats;
use crate::command::{Class, Error, Reply, ShardCommand};
use crate::limits::TIME_AHEAD_MS_MAX;
use crate::types::{ChatId, KeyHasher, ShardCount, ShardId, Slot, TimeMs};

/// The two times that a shard works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The server's time, for commands that bring none. It falls when the wall clock is set back.
    pub now: TimeMs,
    /// The time by which idempotency keys age. It follows elapsed time and never falls.
    pub keys: TimeMs,
}

impl From<TimeMs> for Moment {
    /// One time for both, where nobody sets the clock.
    fn from(time: TimeMs) -> Self {
        Self { now: time, keys: time }
    }
}

/// A shard's state machine; its rules are in the documentation of the module.
pub struct Core {
    slots: Slots,
    time: Moment,
    /// Identifies the log that the versions in clients' hands come from; see
    /// [`Self::set_incarnation`].
    incarnation: u64,
    /// The error with which writes are refused; None if they are accepted.
    refusal: Option<Error>,
    /// The error with which new chats and members are refused; None if they are accepted.
    growth_refusal: Option<Error>,
    outbox: Outbox,
    answers: Answers,
    fading: Fading,
    walk: CaptureWalk,
    /// The newest dissolved chat of the snapshot that is being restored; its next block may hold
    /// more of it.
    restored: Option<ChatId>,
    /// Records are empty and only count; see [`Self::leave_records_empty`].
    leaves_records_empty: bool,
    commands: u64,
}

/// What its owner does with a core.
impl Core {
    /// Creates an empty shard of a node that has `shards` shards.
    pub fn new(shard: ShardId, shards: ShardCount, hasher: KeyHasher) -> Self {
        Self {
            slots: Slots::new(shard, shards, hasher),
            time: TimeMs::ZERO.into(),
            incarnation: 0,
            refusal: None,
            growth_refusal: None,
            outbox: Outbox::default(),
            answers: Answers::default(),
            fading: Fading::new(shards.get()),
            walk: CaptureWalk::default(),
            restored: None,
            leaves_records_empty: false,
            commands: 0,
        }
    }

    /// The shard's own number.
    pub fn shard(&self) -> ShardId {
        self.slots.shard
    }

    /// Sets the time. Commands without a time of their own use it, and old answers are evicted by
    /// it.
    pub fn tick(&mut self, time: impl Into<Moment>) {
        self.time = time.into();
        self.answers.evict_expired(&mut self.slots, self.time.keys);
    }

    /// The newest time of a message in any chat; zero if there is none. Reads all chats.
    pub fn newest_message(&self) -> TimeMs {
        let chats = self.slots.states().iter().flat_map(SlotState::chats);
        chats.map(|chat| chat.head.last_time).max().unwrap_or_default()
    }

    /// Sets the incarnation of the log that versions belong to. It changes when a start may have
    /// lost changes that clients know.
    pub fn set_incarnation(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
    }

    /// Allows the slots of a snapshot to be of different instants. The caller promises a log:
    /// replay brings each slot of a snapshot to the same end.
    pub fn spread_images(&mut self) {
        self.walk.spread();
    }

    /// Leaves the records of all further events empty, because no log takes them. They still count,
    /// because their number names snapshots.
    pub fn leave_records_empty(&mut self) {
        self.leaves_records_empty = true;
    }

    /// Drops a part of the delivered events, and ids of users that no chat names any more, if there
    /// are many. Returns true if there is more to do.
    pub fn sweep_some(&mut self) -> bool {
        self.slots.interner.drop_some() | self.slots.interner.sweep_some()
    }

    /// Refuses writes with this error, and applies nothing, until a call with None lifts it.
    pub fn refuse_writes(&mut self, why: Option<Error>) {
        self.refusal = why;
    }

    /// Refuses new chats and members with this error until a call with None lifts it. Everything
    /// else continues, also changes that add a little for a while: keys of repeats, removals,
    /// deleters of a chat.
    pub fn refuse_growth(&mut self, why: Option<Error>) {
        self.growth_refusal = why;
    }

    /// Applies a record of the log, unless the slot already has it.
    ///
    /// # Errors
    /// If the record cannot be read, does not fit, or leaves a gap: damage.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), BadRecord> {
        let (slot, seq, event) = events::decode(record)?;
        let have = self.slots.slot(slot)?.seq;
        if let Some(key) = event.key() {
            hash_in(slot, key, self.slots.hasher)?;
        }
        if seq <= have {
            return Ok(());
        }
        if seq != have + 1 {
            return Err(BadRecord(format!(
                "slot {}: record {seq} follows record {have}",
                slot.get()
            )));
        }
        self.slots.apply(slot, |applier| event.apply(applier))?;
        // Replay has no turns in which memory could be given back, so none may gather.
        while self.slots.interner.drop_some() {}
        Ok(())
    }

    /// Begins to work after recovery, and sends the deliveries again that a stop left open.
    pub fn start(&mut self, out: &mut Output) {
        self.answers.gather(&self.slots);
        self.fading.gather(&mut self.slots);
        let open: Vec<ChatId> = self
            .slots
            .states()
            .iter()
            .flat_map(SlotState::chats)
            .filter(|chat| !chat.outbox.is_empty())
            .map(|chat| chat.head.id.clone())
            .collect();
        for chat_id in open {
            self.deliver(&chat_id, out);
        }
    }

    /// Runs an operation. Its answer is put into `out` in this step or in a later one.
    pub fn request(&mut self, to: ReplyTo, op: Op, out: &mut Output) {
        self.commands += 1;
        let writes = op_class(&op) == Class::Write;
        if writes && let Some(why) = &self.refusal {
            let answer = Answer::Done(Err(why.clone()));
            out.answers.push(Answered { to, answer, after_log: false });
            return;
        }
        // A crash must not take back what clients keep, so `sync` waits for the log like a write.
        // An answer that only leads to further operations promises nothing yet: their records
        // follow its own.
        let leads_on = matches!(op, Op::Claim(_) | Op::CheckReads(..) | Op::CheckDelete(_));
        let promises = (writes && !leads_on) || matches!(op, Op::Run(ShardCommand::Sync(_)));
        let keyed = self.keyed(&op);
        let step = match keyed.as_ref().and_then(|keyed| self.first_answer(keyed)) {
            Some(step) => step,
            None => {
                let step = self.run(to, op, out);
                self.keep_answer(keyed, &step, out);
                step
            }
        };
        let answer = match step {
            Step::Done(outcome) => Answer::Done(outcome),
            Step::Part(answer) => answer,
            Step::AfterDeliveries(chat_ids, reply) => {
                let answer = Answer::Done(Ok(reply));
                match self.after_deliveries(&chat_ids, to, answer) {
                    Some(answer) => answer,
                    None => return,
                }
            }
            Step::Later => return,
        };
        // A refusal promises nothing.
        let after_log = promises && !matches!(answer, Answer::Done(Err(_)));
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
            Message::Row { to, user_id, request, key } => {
                let answer = Answer::Done(read_positions::row_request(
                    self,
                    &user_id,
                    request,
                    key.as_ref(),
                    out,
                ));
                out.answers.push(Answered { to, answer, after_log: true });
            }
            Message::Rows { to, user_id, requests } => {
                let answer = Answer::MarkReadMany(read_positions::row_requests(
                    self, &user_id, requests, out,
                ));
                out.answers.push(Answered { to, answer, after_log: true });
            }
        }
    }

    /// Counts of the shard, summed over its slots.
    pub fn stats(&self) -> ShardStats {
        let shard = self.slots.shard.0;
        let mut stats = ShardStats { shard, commands: self.commands, ..ShardStats::default() };
        for slot in self.slots.states() {
            stats.chats += slot.counts.chats;
            stats.dissolved += slot.counts.dissolved;
            stats.users += slot.counts.users;
            stats.memberships += slot.counts.memberships;
            stats.outbox += slot.counts.outbox;
        }
        stats
    }

    fn run(&mut self, to: ReplyTo, op: Op, out: &mut Output) -> Step {
        let slots = &self.slots;
        match op {
            Op::Run(command) => self.run_command(to, command, out),
            Op::Claim(claiming) => self.claim(&claiming, out),
            Op::Create { create, id_from, .. } => chats::create(self, create, id_from, out),
            Op::Details { ids, user_id } => details::details(slots, &ids, user_id.as_ref()).into(),
            Op::Facts { user_id, ids } => details::facts(slots, &user_id, &ids).into(),
            Op::CheckDelete(delete) => deletes::check_delete(slots, &delete).into(),
            Op::Delete(delete, claim) => deletes::delete(self, delete, claim, out),
            Op::ExportPage { slot, after, limit } => {
                export::export_page(slots, slot, after, limit).into()
            }
            Op::ExportRows(pairs) => export::export_rows(slots, &pairs).into(),
            Op::CheckImport(import) => import::check_import(self, &import).into(),
            Op::Places(arrivals) => places::places(slots, &arrivals).into(),
            Op::Import(import, places) => import::import(self, &import, &places, out),
            Op::ImportGone(removals) => import::import_gone(self, removals, out).into(),
            Op::ListOn(page) => rows::continue_list(*page),
            Op::Rows(user_ids) => rows::rows(slots, user_ids).into(),
            Op::Conversations(listing, part) => {
                conversations::conversations(slots, &listing, &part).into()
            }
            Op::Unread(rows, refs) => conversations::unread(slots, &rows, &refs).into(),
            Op::SetFlags(set) => rows::set_flags(self, set, out).into(),
            Op::MarkReadMany(many) => read_positions::mark_read_many(self, to, many, out),
            Op::CheckReads(user_id, items) => {
                read_positions::check_reads(slots, &user_id, items).into()
            }
            Op::ReadRows(user_id, requests, key) => {
                read_positions::read_rows(self, &user_id, requests, &key, out).into()
            }
            Op::ExplainChat(explain) => details::explain_chat(slots, &explain).into(),
            Op::EraseBegin(erase) => erase::erase_begin(self, erase, out),
            Op::EraseMember(user_id, ids) => erase::erase_member(self, to, &user_id, &ids, out),
            Op::EraseSweep(user_id, from) => erase::erase_sweep(self, &user_id, from, out),
            Op::EraseEnd(erase, memberships) => erase::erase_end(self, erase, memberships, out),
            Op::VerifySlots(from) => verify::verify_slots(slots, from).into(),
            Op::VerifyMembers(id, after) => verify::verify_members(slots, &id, after).into(),
            Op::VerifyRowsOf(id, after) => verify::verify_rows_of(slots, &id, after).into(),
            Op::VerifyChats(pairs) => verify::verify_chats(slots, &pairs).into(),
            Op::VerifyRows(pairs) => verify::verify_rows(slots, &pairs).into(),
            Op::Stats => Answer::Stats(self.stats()).into(),
        }
    }

    fn run_command(&mut self, to: ReplyTo, command: ShardCommand, out: &mut Output) -> Step {
        match command {
            ShardCommand::List(list) => rows::list(&self.slots, &list),
            ShardCommand::Members(members) => members::members(&self.slots, &members).into(),
            ShardCommand::AddMembers(add) => members::add_members(self, add, out),
            ShardCommand::RemoveMembers(remove) => members::remove_members(self, remove, out),
            ShardCommand::SetStatus(set) => chats::set_status(self, set, out).into(),
            ShardCommand::Dissolve(dissolve) => chats::dissolve(self, dissolve, out),
            ShardCommand::Advance(advance) => {
                let advance = advance.as_ref(self.slots.hasher);
                messages::advance(self, advance, out).map(Reply::Advance).into()
            }
            ShardCommand::MarkRead(read) => read_positions::mark_read(self, to, read, out),
            ShardCommand::Clear(clear) => read_positions::clear(self, to, clear, out),
            ShardCommand::Touch(touch) => rows::touch(self, touch, out).into(),
            ShardCommand::Sync(sync) => sync::sync(&self.slots, self.incarnation, &sync).into(),
        }
    }
}

/// What operations do with a core.
impl Core {
    /// The slots, to look things up.
    #[inline]
    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The two times of this step.
    pub(super) fn time(&self) -> Moment {
        self.time
    }

    /// The command's time, or the server's if the command has none.
    pub(super) fn time_or_now(&self, time: Option<TimeMs>) -> Result<TimeMs, Error> {
        match time {
            Some(time) if time > self.time.now.saturating_add(TIME_AHEAD_MS_MAX) => {
                Err(Error::invalid("time: more than a day ahead of the server's"))
            }
            Some(time) => Ok(time),
            None => Ok(self.time.now),
        }
    }

    /// Fails if writes are refused.
    pub(super) fn accepts_writes(&self) -> Result<(), Error> {
        match &self.refusal {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    /// Fails if no chat or member may be added.
    pub(super) fn room(&self) -> Result<(), Error> {
        self.growth_refusal.clone().map_or(Ok(()), Err)
    }

    /// Counts a command that was answered outside [`Self::request`], by reading in place.
    pub fn count_command(&mut self) {
        self.commands += 1;
    }

    /// Makes an event a record and applies it: the one point where state changes.
    pub(super) fn commit<E: Decision>(&mut self, slot: Slot, event: E, out: &mut Output) {
        let recorded =
            self.record(slot, out, |seq, bytes| events::encode(slot, seq, &event, bytes));
        assert_fits(recorded.and_then(|()| self.slots.apply(slot, |applier| event.apply(applier))));
    }

    /// Writes the next record of a slot into the output.
    fn record(
        &mut self,
        slot: Slot,
        out: &mut Output,
        encode: impl FnOnce(u64, &mut Vec<u8>) -> Result<(), BadRecord>,
    ) -> Result<(), BadRecord> {
        self.walk.before_change(slot, &self.slots);
        let seq = self.slots.slot(slot).map_or(0, |state| state.seq) + 1;
        let mut encoded = Ok(());
        let framed = match self.leaves_records_empty {
            true => out.records.push(&[]),
            false => out.records.push_with(|bytes| encoded = encode(seq, bytes)),
        };
        framed.map_err(|error| BadRecord(error.to_string())).and(encoded)
    }
}

/// Asserts that an event fits: an event that was decided on this very state always does.
fn assert_fits(applied: Result<(), BadRecord>) {
    assert!(applied.is_ok(), "a decided event was refused: {applied:?}");
}

fn op_class(op: &Op) -> Class {
    match op {
        Op::Run(command) => command.kind().class(),
        // A check is refused whenever its change would be.
        Op::Claim(_)
        | Op::Create { .. }
        | Op::CheckDelete(_)
        | Op::Delete(..)
        | Op::CheckImport(_)
        | Op::Import(..)
        | Op::ImportGone(_)
        | Op::SetFlags(_)
        | Op::MarkReadMany(_)
        | Op::CheckReads(..)
        | Op::ReadRows(..)
        | Op::EraseBegin(_)
        | Op::EraseMember(..)
        | Op::EraseSweep(..)
        | Op::EraseEnd(..) => Class::Write,
        Op::Details { .. }
        | Op::Facts { .. }
        | Op::Places(_)
        | Op::ExportPage { .. }
        | Op::ExportRows(_)
        | Op::ListOn(_)
        | Op::Rows(_)
        | Op::Conversations(..)
        | Op::Unread(..)
        | Op::ExplainChat(_)
        | Op::VerifySlots(_)
        | Op::VerifyMembers(..)
        | Op::VerifyRowsOf(..)
        | Op::VerifyChats(_)
        | Op::VerifyRows(_)
        | Op::Stats => Class::Read,
    }
}
