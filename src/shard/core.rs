//! A shard's state machine: no clock, no sockets, no files, no async, no randomness.
//!
//! Inputs are an [`Op`], a [`Message`] of a shard, or the time. Outputs are records, messages and
//! answers ([`Output`]). So the same code runs in production, in replay and in a simulation.
//!
//! Each family of commands has its own file in `core/`. All of them end in `Core::commit`, the one
//! point where an event becomes a record and is applied.
//!
//! Invariants:
//! - An event is written into the output before anything that depends on it.
//! - A slot's sequence rises by one with each event.
//! - While a snapshot of one instant is being captured, a slot is captured before its first change.

mod capture;
mod changes;
mod chats;
mod erase;
mod forgetting;
mod idempotency;
mod listing;
mod messages;
mod outbox;
mod places;
mod prefetch;
mod reads;
mod rows;
mod transfer;
mod verify;

use hashbrown::HashMap;

use capture::ImageWalk;
pub use capture::SlotCapture;
use forgetting::Fading;
use idempotency::Answers;
use outbox::{Running, Waiters};
pub use prefetch::PrefetchKeys;
pub use reads::ListRows;

use super::decode::{BadRecord, hash_in};
use super::events::{self, Applier, Decision};
use super::interner::Interner;
use super::op::{Answer, Answered, Envelope, Message, Op, Output, ReplyTo};
use super::state::{Chat, SlotState, User};
use crate::command::stats::ShardStats;
use crate::command::{Class, Command, Error, ErrorCode, Outcome, Reply};
use crate::limits::{SLOTS, TIME_AHEAD_MS_MAX};
use crate::types::{ChatId, Hashed, KeyHasher, ShardCount, ShardId, Slot, TimeMs, UserId};

/// The part of a command's result that one step knows.
enum Step {
    /// The outcome of the command.
    Done(Outcome),
    /// An answer that the router joins with others, or continues from.
    Part(Answer),
    /// The reply. It waits until all events that these chats have decided so far have reached their
    /// rows.
    AfterDeliveries(Vec<ChatId>, Reply),
    /// A later step or another shard answers.
    Later,
}

impl From<Outcome> for Step {
    fn from(outcome: Outcome) -> Self {
        Self::Done(outcome)
    }
}

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
    shard: ShardId,
    shards: ShardCount,
    hasher: KeyHasher,
    /// The slots of this shard; slot `s` is at `s / shards`.
    slots: Vec<SlotState>,
    /// Ids of the users that the shard's chats name.
    interner: Interner,
    time: Moment,
    /// Identifies the log that the versions in clients' hands come from; see
    /// [`Self::set_incarnation`].
    incarnation: u64,
    /// The error with which writes are refused; None if they are accepted.
    refusal: Option<Error>,
    /// The error with which new chats and members are refused; None if they are accepted.
    growth_refusal: Option<Error>,
    running: HashMap<ChatId, Running>,
    waiters: Waiters,
    answers: Answers,
    fading: Fading,
    image: ImageWalk,
    /// The newest dissolved chat of the snapshot that is being restored; its next block may hold
    /// more of it.
    restored: Option<ChatId>,
    /// Slots of a snapshot may be of different instants; see [`Self::spread_images`].
    spreads_images: bool,
    /// Records are empty and only count; see [`Self::leave_records_empty`].
    leaves_records_empty: bool,
    commands: u64,
}

impl Core {
    /// Creates an empty shard of a node that has `shards` shards.
    pub fn new(shard: ShardId, shards: ShardCount, hasher: KeyHasher) -> Self {
        let own = Slot::all().filter(|slot| slot.shard(shards) == shard).count();
        Self {
            shard,
            shards,
            hasher,
            slots: std::iter::repeat_with(SlotState::default).take(own).collect(),
            interner: Interner::new(hasher),
            time: TimeMs::ZERO.into(),
            incarnation: 0,
            refusal: None,
            growth_refusal: None,
            running: HashMap::new(),
            waiters: Waiters::default(),
            answers: Answers::default(),
            fading: Fading::new(shards.get()),
            image: ImageWalk::default(),
            restored: None,
            spreads_images: false,
            leaves_records_empty: false,
            commands: 0,
        }
    }

    /// The shard's own number.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Sets the time. Commands without a time of their own use it, and old answers are evicted by
    /// it.
    pub fn tick(&mut self, time: impl Into<Moment>) {
        self.time = time.into();
        self.let_go_over();
    }

    /// The newest time of a message in any chat; zero if there is none. Reads all chats.
    pub fn newest_message(&self) -> TimeMs {
        let chats = self.slots.iter().flat_map(SlotState::chats);
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
        self.spreads_images = true;
    }

    /// Leaves the records of all further events empty, because no log takes them. They still count,
    /// because their number names snapshots.
    pub fn leave_records_empty(&mut self) {
        self.leaves_records_empty = true;
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

    /// Fails if no chat or member may be added.
    fn room(&self) -> Result<(), Error> {
        self.growth_refusal.clone().map_or(Ok(()), Err)
    }

    /// Applies a record of the log, unless the slot already has it.
    ///
    /// # Errors
    /// If the record cannot be read, does not fit, or leaves a gap: damage.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), BadRecord> {
        let (slot, seq, event) = events::decode(record)?;
        let have = self.slot(slot)?.seq;
        if let Some(key) = event.key() {
            hash_in(slot, key, self.hasher)?;
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
        self.apply(slot, |applier| event.apply(applier))?;
        // Replay has no turns in which memory could be given back, so none may gather.
        while self.interner.drop_some() {}
        Ok(())
    }

    /// Begins to work after recovery, and sends the deliveries again that a stop left open.
    pub fn start(&mut self, out: &mut Output) {
        self.gather_answers();
        self.gather_fading();
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
        let promises = match &op {
            Op::Claim(_) | Op::CheckReads(..) | Op::CheckDelete(_) => false,
            Op::Run(Command::Sync(_)) => true,
            _ => writes,
        };
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
                let answer = Answer::Done(self.row_request(&user_id, request, key.as_ref(), out));
                out.answers.push(Answered { to, answer, after_log: true });
            }
            Message::Rows { to, user_id, requests } => {
                let answer = Answer::MarkReadMany(self.row_requests(&user_id, requests, out));
                out.answers.push(Answered { to, answer, after_log: true });
            }
        }
    }

    fn run(&mut self, to: ReplyTo, op: Op, out: &mut Output) -> Step {
        match op {
            Op::Run(command) => self.run_command(to, command, out),
            Op::Claim(claiming) => self.claim(&claiming, out),
            Op::Create { create, id_from, .. } => self.create(create, id_from, out),
            Op::Details { ids, user_id } => Step::Part(self.details(&ids, user_id.as_ref())),
            Op::Facts { user_id, ids } => Step::Part(self.facts(&user_id, &ids)),
            Op::CheckDelete(delete) => Step::Part(self.check_delete(&delete)),
            Op::Delete(delete, claim) => self.delete(delete, claim, out),
            Op::ExportPage { slot, after, limit } => {
                Step::Part(self.export_page(slot, after, limit))
            }
            Op::ExportRows(pairs) => Step::Part(self.export_rows(&pairs)),
            Op::CheckImport(import) => Step::Part(self.check_import(&import)),
            Op::Places(arrivals) => Step::Part(self.places(&arrivals)),
            Op::Import(import, places) => self.import(&import, &places, out),
            Op::ImportGone(removals) => self.import_gone(removals, out).into(),
            Op::ListOn(page) => rows::go_on(*page),
            Op::Rows(user_ids) => Step::Part(self.rows(user_ids)),
            Op::Conversations(listing, part) => Step::Part(self.conversations(&listing, &part)),
            Op::Unread(rows, refs) => Step::Part(self.unread(&rows, &refs)),
            Op::MarkReadMany(many) => self.mark_read_many(to, many, out),
            Op::CheckReads(user_id, items) => Step::Part(self.check_reads(&user_id, items)),
            Op::ReadRows(user_id, requests, key) => {
                self.read_rows(&user_id, requests, &key, out).into()
            }
            Op::ExplainChat(explain) => Step::Part(self.explain_chat(&explain)),
            Op::EraseBegin(erase) => self.erase_begin(erase, out),
            Op::EraseMember(user_id, ids) => self.erase_member(to, &user_id, &ids, out),
            Op::EraseSweep(user_id, from) => self.erase_sweep(&user_id, from, out),
            Op::EraseEnd(erase, memberships) => self.erase_end(erase, memberships, out),
            Op::VerifySlots(from) => Step::Part(self.verify_slots(from)),
            Op::VerifyMembers(id, after) => Step::Part(self.verify_members(&id, after)),
            Op::VerifyRowsOf(id, after) => Step::Part(self.verify_rows_of(&id, after)),
            Op::VerifyChats(pairs) => Step::Part(self.verify_chats(&pairs)),
            Op::VerifyRows(pairs) => Step::Part(self.verify_rows(&pairs)),
            Op::Stats => Step::Part(Answer::Stats(self.stats())),
        }
    }

    fn run_command(&mut self, to: ReplyTo, command: Command, out: &mut Output) -> Step {
        match command {
            Command::List(list) => self.list(&list),
            Command::Members(members) => self.members(&members).into(),
            Command::AddMembers(add) => self.add_members(add, out),
            Command::RemoveMembers(remove) => self.remove_members(remove, out),
            Command::SetStatus(set) => self.set_status(set, out).into(),
            Command::Dissolve(dissolve) => self.dissolve(dissolve, out),
            Command::Advance(advance) => {
                Step::Done(self.advance(advance.as_ref(self.hasher), out).map(Reply::Advance))
            }
            Command::MarkRead(read) => self.mark_read(to, read, out),
            Command::Clear(clear) => self.clear(to, clear, out),
            Command::SetFlags(set) => self.set_flags(set, out).into(),
            Command::Touch(touch) => self.touch(touch, out).into(),
            Command::Sync(sync) => self.sync(&sync).into(),
            other => Step::Done(Err(Error::invalid(format!(
                "{} is not run by a shard",
                other.kind().name()
            )))),
        }
    }

    /// Counts a command that was answered outside [`Self::request`], by reading in place.
    pub fn count_command(&mut self) {
        self.commands += 1;
    }

    /// Counts of the shard, summed over its slots.
    pub fn stats(&self) -> ShardStats {
        let mut stats =
            ShardStats { shard: self.shard.0, commands: self.commands, ..ShardStats::default() };
        for slot in &self.slots {
            stats.chats += slot.counts.chats;
            stats.dissolved += slot.counts.dissolved;
            stats.users += slot.counts.users;
            stats.memberships += slot.counts.memberships;
            stats.outbox += slot.counts.outbox;
        }
        stats
    }

    /// Makes an event a record and applies it: the one point where state changes.
    fn commit<E: Decision>(&mut self, slot: Slot, event: E, out: &mut Output) {
        let recorded =
            self.record(slot, out, |seq, bytes| events::encode(slot, seq, &event, bytes));
        assert_fits(recorded.and_then(|()| self.apply(slot, |applier| event.apply(applier))));
    }

    /// Writes the next record of a slot into the output.
    fn record(
        &mut self,
        slot: Slot,
        out: &mut Output,
        encode: impl FnOnce(u64, &mut Vec<u8>) -> Result<(), BadRecord>,
    ) -> Result<(), BadRecord> {
        self.capture_before_change(slot);
        let seq = self.slot(slot).map_or(0, |state| state.seq) + 1;
        let mut encoded = Ok(());
        let framed = match self.leaves_records_empty {
            true => out.records.push(&[]),
            false => out.records.push_with(|bytes| encoded = encode(seq, bytes)),
        };
        framed.map_err(|error| BadRecord(error.to_string())).and(encoded)
    }

    fn apply(
        &mut self,
        slot: Slot,
        apply: impl FnOnce(&mut Applier<'_>) -> Result<(), BadRecord>,
    ) -> Result<(), BadRecord> {
        let index = self.slot_index(slot)?;
        let Some(state) = self.slots.get_mut(index) else { return Err(not_here(slot)) };
        state.seq += 1;
        apply(&mut Applier { slot: state, interner: &mut self.interner, hasher: self.hasher })
    }

    /// The slot at `index` among those of this shard.
    fn own_slot(&self, index: usize) -> Option<Slot> {
        let first = index.checked_mul(usize::from(self.shards.get()))?;
        Slot::new(u16::try_from(first.checked_add(self.shard.index())?).ok()?)
    }

    /// The index of a slot among those of this shard; None if another shard owns it.
    fn index_here(&self, slot: Slot) -> Option<usize> {
        let is_here = slot.shard(self.shards) == self.shard;
        is_here.then(|| usize::from(slot.get() / self.shards.get()))
    }

    fn slot_index(&self, slot: Slot) -> Result<usize, BadRecord> {
        self.index_here(slot).ok_or_else(|| not_here(slot))
    }

    fn slot(&self, slot: Slot) -> Result<&SlotState, BadRecord> {
        self.slots.get(self.slot_index(slot)?).ok_or_else(|| not_here(slot))
    }

    /// The slot of a key with this hash; None if another shard owns it.
    fn slot_here(&self, hash: u64) -> Option<&SlotState> {
        self.slots.get(self.index_here(KeyHasher::slot_of_hash(hash))?)
    }

    fn slot_of_chat(&self, id: &ChatId) -> Slot {
        self.hasher.slot(id.as_str())
    }

    fn slot_of_user(&self, id: &UserId) -> Slot {
        self.hasher.slot(id.as_str())
    }

    /// The chat with this id. A dissolved chat is found only as long as it has something to
    /// deliver.
    fn find_chat(&self, id: &ChatId) -> Option<&Chat> {
        self.chat_at(id.as_str(), self.hash_of(id.as_str()))
    }

    /// Like [`Self::find_chat`]; `hash` is that of the id.
    fn chat_at(&self, id: impl AsRef<[u8]>, hash: u64) -> Option<&Chat> {
        self.slot_here(hash)?.chat(id, hash)
    }

    /// Like [`Self::chat_at`], with a `candidate` from [`SlotState::chat_candidate`], which is most
    /// likely the chat.
    fn chat_by<'a>(
        &'a self,
        candidate: Option<&'a Chat>,
        id: impl AsRef<[u8]>,
        hash: u64,
    ) -> Option<&'a Chat> {
        match candidate? {
            chat if chat.head.id.as_str().as_bytes() == id.as_ref() => Some(chat),
            _ => self.chat_at(id, hash),
        }
    }

    /// The chat, for a command that needs it alive.
    fn live_chat(&self, id: &ChatId) -> Result<&Chat, Error> {
        let hash = self.hash_of(id.as_str());
        self.alive(self.chat_at(id.as_str(), hash), self.hasher.hashed(id.as_str()))
    }

    /// Checks the chat that was found under an id, for a command that needs it alive.
    fn alive<'a>(&self, chat: Option<&'a Chat>, id: Hashed<&str>) -> Result<&'a Chat, Error> {
        match chat {
            Some(chat) if !chat.head.dissolved => Ok(chat),
            Some(_) => Err(Error::gone()),
            None if self.is_retired(id) => Err(Error::gone()),
            None => Err(Error::no_chat()),
        }
    }

    /// Whether the chat was dissolved and only its id is left.
    fn is_retired(&self, id: Hashed<&str>) -> bool {
        self.slot_here(id.hash).is_some_and(|slot| slot.retired.contains(id.id, id.hash))
    }

    fn find_user(&self, id: &UserId) -> Option<&User> {
        let hash = self.hash_of(id.as_str());
        self.slot_here(hash)?.user(id.as_str(), hash)
    }

    fn hash_of(&self, key: impl AsRef<[u8]>) -> u64 {
        self.hasher.hash(key)
    }

    /// The command's time, or the server's if the command has none.
    fn time_or_now(&self, time: Option<TimeMs>) -> Result<TimeMs, Error> {
        match time {
            Some(time) if time > self.time.now.saturating_add(TIME_AHEAD_MS_MAX) => {
                Err(Error::invalid("time: more than a day ahead of the server's"))
            }
            Some(time) => Ok(time),
            None => Ok(self.time.now),
        }
    }
}

/// Asserts that an event fits: an event that was decided on this very state always does.
fn assert_fits(applied: Result<(), BadRecord>) {
    assert!(applied.is_ok(), "a decided event was refused: {applied:?}");
}

fn op_class(op: &Op) -> Class {
    match op {
        Op::Run(command) => command.class(),
        // A check is refused whenever its change would be.
        Op::Claim(_)
        | Op::Create { .. }
        | Op::CheckDelete(_)
        | Op::Delete(..)
        | Op::CheckImport(_)
        | Op::Import(..)
        | Op::ImportGone(_)
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

/// Fails unless the target of a change has the version that the caller saw.
fn check_version(what: &str, stored: u64, wanted: Option<u64>) -> Result<(), Error> {
    match wanted {
        Some(wanted) if wanted != stored => Err(Error::new(
            ErrorCode::Conflict,
            format!("if_version: the {what} has version {stored}, not {wanted}"),
        )),
        _ => Ok(()),
    }
}

fn not_here(slot: Slot) -> BadRecord {
    BadRecord(format!("slot {} of {SLOTS} is not on this shard", slot.get()))
}
