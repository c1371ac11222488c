//! A shard's state machine: no clock, no sockets, no files, no async, no randomness.
//!
//! The inputs are operations, messages of shards, and the time. The outputs are records, messages
//! and answers ([`Output`]). So the same code runs in production, in replay and in a simulation.
//! [`super::dispatch`] takes the inputs, and [`super::ops`] has one file of effects per command
//! family. All writes end in `Shard::commit`, which makes an event a record and applies it.
//!
//! Besides the slots, the shard keeps state of several kinds. Each kind is a type with its own
//! invariants in one file:
//!
//! - [`slots`]: the slots, and lookups by keys
//! - [`outbox`]: deliveries under way, and the answers that wait for them
//! - [`first_answers`]: first answers to requests with a key, and their eviction
//! - [`forgetting`]: the bound on what the shard remembers of users
//! - [`capture`]: the walk over the slots for a snapshot
//! - [`restore`]: blocks of a snapshot become slots again
//! - [`probes`]: digests of slots, written or compared
//! - [`prefetch`]: memory is read before it is needed
//! - [`reads`]: `list` and `detail` on the fast path
//!
//! Invariants:
//! - The record of an event is in the output before any message or answer that depends on the
//!   event.
//! - Without a log a snapshot shows one instant: a slot is captured before its first change after
//!   that instant.
//! - One change leaves no record: the eviction of first answers.

mod capture;
mod first_answers;
mod forgetting;
mod outbox;
pub(super) mod prefetch;
mod probes;
mod reads;
mod restore;
mod slots;

use capture::CaptureWalk;
pub use capture::{SlotCapture, SlotDigest};
use first_answers::Answers;
pub(super) use first_answers::Remembered;
use forgetting::Fading;
use outbox::Outbox;
pub use prefetch::PrefetchKeys;
pub use probes::Comparison;
use probes::Probing;
use restore::Restoring;
pub(super) use slots::{Slots, check_version};
use snapshot::{Planted, is_planted};

use super::decode::{BadRecord, hash_in};
use super::events::{self, Decision, Event};
use super::op::Output;
use super::state::SlotState;
use crate::command::Error;
use crate::command::stats::ShardStats;
use crate::limits::TIME_AHEAD_MS_MAX;
use crate::types::{ChatId, KeyHasher, ShardCount, ShardId, Slot, TimeMs};

/// The two times that a shard uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The node's wall clock, for commands that bring no time. It falls when somebody sets the
    /// clock back.
    pub now: TimeMs,
    /// The time by which idempotency keys age. It follows elapsed time, and never falls while the
    /// node decides. The active of a journal continues the time of the one before.
    pub keys: TimeMs,
}

impl From<TimeMs> for Moment {
    /// Uses one time for both, where nobody sets the clock: in tests and simulations.
    fn from(time: TimeMs) -> Self {
        Self { now: time, keys: time }
    }
}

/// A shard's state machine.
pub struct Shard {
    slots: Slots,
    time: Moment,
    /// The incarnation of the log: clients hold versions of it. See [`Self::set_incarnation`].
    incarnation: u64,
    /// Every write is refused with this error. None while writes are accepted.
    refusal: Option<Error>,
    /// New chats and members are refused with this error. None while they are accepted.
    growth_refusal: Option<Error>,
    outbox: Outbox,
    answers: Answers,
    /// Whether it applies what another node decides; see [`Self::stand_by`].
    follows: bool,
    fading: Fading,
    walk: CaptureWalk,
    restoring: Restoring,
    probes: Probing,
    /// Whether records are empty and only counted; see [`Self::leave_records_empty`].
    leaves_records_empty: bool,
    commands: u64,
}

/// Functions for the owner of a shard: worker, recovery and simulation.
impl Shard {
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
            follows: false,
            fading: Fading::new(shards.get()),
            walk: CaptureWalk::default(),
            restoring: Restoring::default(),
            probes: Probing::default(),
            leaves_records_empty: false,
            commands: 0,
        }
    }

    /// The number of the shard.
    pub fn id(&self) -> ShardId {
        self.slots.shard
    }

    /// Sets the time, for commands that bring none. Evicts first answers that are now too old, unless
    /// the shard follows another node: that one has another time.
    pub fn tick(&mut self, time: impl Into<Moment>) {
        self.time = time.into();
        if !self.follows {
            self.answers.evict_expired(&mut self.slots, self.time.keys);
        }
    }

    /// The time of the newest message of all chats, or zero without messages. Reads all chats.
    pub fn newest_message(&self) -> TimeMs {
        let chats = self.slots.states().iter().flat_map(SlotState::chats);
        chats.map(|chat| chat.head.last_time).max().unwrap_or_default()
    }

    /// Sets the incarnation of the log. A start that may have lost changes brings a new
    /// incarnation, because clients may know versions that are lost.
    pub fn set_incarnation(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
    }

    /// Allows a snapshot to capture its slots at different instants. The caller promises a log,
    /// because only replay brings all slots to one instant.
    pub fn spread_snapshots(&mut self) {
        self.walk.spread();
    }

    /// Makes the records of all further events empty, for a node without a log. Empty records still
    /// count, because snapshots are named by the number of records.
    pub fn leave_records_empty(&mut self) {
        self.leaves_records_empty = true;
    }

    /// Frees some memory: delivered events, and ids of users that no chat names any more. Returns
    /// true if there is more to free.
    pub fn sweep_some(&mut self) -> bool {
        self.slots.interner.drop_some() | self.slots.interner.sweep_some()
    }

    /// Refuses all writes with this error, until a call with None lifts it.
    pub fn refuse_writes(&mut self, why: Option<Error>) {
        self.refusal = why;
    }

    /// Refuses new chats and members with this error, until a call with None lifts it. All other
    /// changes continue, even those that need some memory for a time: idempotency keys, removals,
    /// deleters.
    pub fn refuse_growth(&mut self, why: Option<Error>) {
        self.growth_refusal = why;
    }

    /// Applies a record of the log. Does nothing if the slot already has the record.
    ///
    /// # Errors
    /// If the record cannot be decoded, does not fit the slot, or skips a slot sequence. Each means
    /// damage.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), BadRecord> {
        let (slot, seq, mut event) = events::decode(record)?;
        if let Event::Advanced(event) = &mut event
            && is_planted(Planted::ReplayAlters)
        {
            event.time = event.time.saturating_add(1);
        }
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
        let probed = if let Event::Probed(probed) = &event { Some(probed.digest) } else { None };
        match self.follows {
            true => self.follow(slot, event)?,
            false => self.slots.apply(slot, |applier| event.apply(applier))?,
        }
        if let Some(probed) = probed {
            self.probes.replayed(slot, probed, &self.slots);
        }
        // Live, each turn of the worker frees delivered events. Replay has no turns, so it frees
        // them after each record.
        while self.slots.interner.drop_some() {}
        Ok(())
    }

    /// Begins to follow another node after recovery: [`Self::replay`] brings what that one decides,
    /// and first answers go as there.
    pub fn stand_by(&mut self) {
        self.follows = true;
        self.answers.gather(&self.slots);
    }

    /// Begins to work after recovery. Sends again all deliveries that the last stop left
    /// unconfirmed.
    pub fn start(&mut self, out: &mut Output) {
        self.follows = false;
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

    /// Counts of the shard: the sums of the counts of its slots.
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

/// Functions for operations.
impl Shard {
    /// The slots, for lookups.
    #[inline]
    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The two times of the present step.
    pub(super) fn time(&self) -> Moment {
        self.time
    }

    /// The time that a command brings, or the node's time if it brings none. Fails if the command's
    /// time is more than [`TIME_AHEAD_MS_MAX`] ahead.
    pub(super) fn time_or_now(&self, time: Option<TimeMs>) -> Result<TimeMs, Error> {
        match time {
            Some(time) if time > self.time.now.saturating_add(TIME_AHEAD_MS_MAX) => {
                Err(Error::invalid("time: more than a day ahead of the server's"))
            }
            Some(time) => Ok(time),
            None => Ok(self.time.now),
        }
    }

    /// The incarnation of the log, which the versions of this shard belong to.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Fails while writes are refused.
    pub(super) fn accepts_writes(&self) -> Result<(), Error> {
        match &self.refusal {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    /// Fails while new chats and members are refused.
    pub(super) fn room(&self) -> Result<(), Error> {
        self.growth_refusal.clone().map_or(Ok(()), Err)
    }

    /// Counts a command that the fast path replied to, without [`Self::operation`].
    pub fn count_command(&mut self) {
        self.commands += 1;
    }

    /// Makes an event a record and applies it. All events of requests and messages go through here.
    #[inline]
    pub(super) fn commit<E: Decision>(&mut self, slot: Slot, event: E, out: &mut Output) {
        let recorded =
            self.record(slot, out, |seq, bytes| events::encode(slot, seq, &event, bytes));
        assert_fits(recorded.and_then(|()| self.slots.apply(slot, |applier| event.apply(applier))));
    }

    /// Writes the next record of a slot into the output. Captures the slot before, if a snapshot
    /// needs it.
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
            true => out.records.push_with(|_| {}),
            false => out.records.push_with(|bytes| encoded = encode(seq, bytes)),
        };
        framed.map_err(|error| BadRecord(error.to_string())).and(encoded)
    }
}

/// Asserts that an event fits its slot. Operations decide events on the present state, so they fit.
fn assert_fits(applied: Result<(), BadRecord>) {
    assert!(applied.is_ok(), "a decided event was refused: {applied:?}");
}
