//! A shard's state machine: no clock, no sockets, no files, no async, no randomness.
//!
//! Inputs are operations, messages of shards, and the time; outputs are records, messages and
//! answers ([`Output`]). So the same code runs in production, in replay and in a simulation.
//! [`super::dispatch`] takes the inputs, and [`super::ops`] has what they do, one file per family.
//! All writes end in `Core::commit`, the one point where an event becomes a record and is applied.
//!
//! What the core keeps besides the slots has a type of its own, with its invariants, in a file
//! below:
//!
//! - [`slots`]: the slots, and what they hold, found by keys
//! - [`outbox`]: deliveries under way, and the answers that wait for them
//! - [`idempotency`]: first answers, and their eviction
//! - [`forgetting`]: the bound of what is remembered of users
//! - [`capture`]: the walk over the slots for a snapshot
//! - [`restore`]: the blocks of a snapshot on their way back into slots
//! - [`prefetch`]: memory that is read before it is needed
//! - [`reads`]: `list` and `detail` on the fast path
//!
//! Invariants:
//! - An event is written into the output before anything that depends on it.
//! - While a snapshot of one instant is being captured, a slot is captured before its first change.

mod capture;
mod forgetting;
mod idempotency;
mod outbox;
pub(super) mod prefetch;
mod reads;
mod restore;
mod slots;

use capture::CaptureWalk;
pub use capture::SlotCapture;
use forgetting::Fading;
use idempotency::Answers;
pub(super) use idempotency::{Keyed, Remembered};
use outbox::Outbox;
pub use prefetch::PrefetchKeys;
use restore::Restoring;
pub(super) use slots::{Slots, check_version};

use super::decode::{BadRecord, hash_in};
use super::events::{self, Decision};
use super::op::Output;
use super::state::SlotState;
use crate::command::Error;
use crate::command::stats::ShardStats;
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
    restoring: Restoring,
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
            restoring: Restoring::default(),
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
    pub fn spread_snapshots(&mut self) {
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

    /// The incarnation of the log that versions belong to.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
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
