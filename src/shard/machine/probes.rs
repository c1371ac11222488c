//! Probes of slots: the shard that decides writes digests of its slots into the log, and a shard
//! that replays the log compares them with its own.
//!
//! A probe has two records. The first one marks a place in the records of a slot, and the slot is
//! captured there. The owner of the shard hashes the capture, on another thread if the shard is at
//! work. The second record has the digest. A slot's state depends on its records alone, so every
//! replay must find the same digest at the same slot sequence, with any number of shards.
//!
//! Invariants:
//! - A shard has one probe at a time: a new one replaces the one before, which is not compared.
//! - A digest is compared only with that of a capture of the same slot sequence. Without one, as
//!   behind a snapshot that began between the two records, nothing is compared.

use std::fmt;

use snapshot::Lsn;

use super::capture::{SlotCapture, SlotDigest};
use super::{Shard, Slots};
use crate::shard::events::{LoggedDigest, Probed};
use crate::shard::op::Output;
use crate::shard::state::SlotState;
use crate::types::Slot;

/// The probe of a shard.
#[derive(Debug, Default)]
pub(super) struct Probing {
    open: Option<OpenProbe>,
    /// The capture of the open probe, until the owner of the shard takes it.
    capture: Option<SlotCapture>,
    /// A comparison, until the owner of the shard takes it.
    compared: Option<Comparison>,
    /// The index of the own slot that is probed next, unless it has no record.
    next: usize,
}

#[derive(Debug)]
struct OpenProbe {
    slot: Slot,
    seq: u64,
    /// LSN of the first record; 0 while it is not known.
    at: Lsn,
    /// Whether this shard decided the first record, and has to decide the second.
    is_own: bool,
    own: Option<u64>,
    logged: Option<u64>,
}

/// The digest of a slot in the log, and the one of the state that replay made of the same records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// LSN of the record behind which both are.
    pub at: Lsn,
    /// The slot.
    pub slot: Slot,
    /// The digest in the log.
    pub logged: u64,
    /// The digest of the replayed state.
    pub own: u64,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, slot, logged, own } = self;
        let slot = slot.get();
        write!(f, "slot {slot} at LSN {at} has the digest {own:016x}, and {logged:016x} in the log")
    }
}

impl Comparison {
    /// Whether both digests are the same.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.logged == self.own
    }
}

impl Probing {
    fn begin(&mut self, slot: Slot, slots: &Slots, is_own: bool) {
        self.capture = SlotCapture::of_slot(slots, slot);
        self.open = self.capture.as_ref().map(|capture| OpenProbe {
            slot,
            seq: capture.seq(),
            at: Lsn(0),
            is_own,
            own: None,
            logged: None,
        });
    }

    /// Takes a replayed record of a slot.
    pub(super) fn replayed(&mut self, slot: Slot, probed: Option<LoggedDigest>, slots: &Slots) {
        let Some(LoggedDigest { seq, digest }) = probed else {
            return self.begin(slot, slots, false);
        };
        if let Some(open) = &mut self.open
            && (open.slot, open.seq) == (slot, seq)
        {
            open.logged = Some(digest);
            self.compare();
        }
    }

    fn hashed(&mut self, SlotDigest { slot, seq, digest }: SlotDigest) {
        if let Some(open) = &mut self.open
            && (open.slot, open.seq) == (slot, seq)
        {
            open.own = Some(digest);
            self.compare();
        }
    }

    fn compare(&mut self) {
        if let Some(OpenProbe { slot, at, own: Some(own), logged: Some(logged), .. }) = self.open {
            self.compared = Some(Comparison { at, slot, logged, own });
            self.open = None;
        }
    }
}

impl Shard {
    /// Sets the own slot that is probed next. A node that often starts begins at random, so that
    /// each slot has its turn.
    pub fn probe_from(&mut self, number: u64) {
        let slots = u64::try_from(self.slots.states().len()).unwrap_or(1).max(1);
        self.probes.next = usize::try_from(number % slots).unwrap_or(0);
    }

    /// Begins a probe of the next own slot that has records, if there is one.
    pub fn begin_next_probe(&mut self, out: &mut Output) {
        let states = self.slots.states();
        let (before, from) = states.split_at(self.probes.next.min(states.len()));
        let has_records = |state: &SlotState| state.seq > 0;
        let found = match from.iter().position(has_records) {
            Some(index) => Some(before.len() + index),
            None => before.iter().position(has_records),
        };
        if let Some(index) = found
            && let Some(slot) = self.slots.own_slot(index)
        {
            self.probes.next = index + 1;
            self.begin_probe(slot, out);
        }
    }

    /// Writes the first record of a probe of an own slot, and captures the slot.
    pub fn begin_probe(&mut self, slot: Slot, out: &mut Output) {
        if self.slots.slot(slot).is_ok() {
            self.commit(slot, Probed { digest: None }, out);
            self.probes.begin(slot, &self.slots, true);
        }
    }

    /// Takes the capture of a probe that the last record has begun, to be hashed. `at` is the LSN
    /// of that record; a shard that decides does not know it.
    pub fn take_probe(&mut self, at: Lsn) -> Option<SlotCapture> {
        let capture = self.probes.capture.take()?;
        if let Some(open) = &mut self.probes.open {
            open.at = at;
        }
        Some(capture)
    }

    /// Takes the digest of a capture. Writes it, if this shard has begun the probe; else compares
    /// it, if the log has shown the other one.
    pub fn end_probe(&mut self, hashed: SlotDigest, out: &mut Output) {
        let SlotDigest { slot, seq, digest } = hashed;
        let is_own = |open: &mut OpenProbe| open.is_own && (open.slot, open.seq) == (slot, seq);
        match self.probes.open.take_if(is_own) {
            Some(_) => {
                let digest = Some(LoggedDigest { seq, digest });
                self.commit(slot, Probed { digest }, out);
            }
            None => self.probes.hashed(hashed),
        }
    }

    /// Takes the digest of a capture in a replay, and compares it if the log has shown the other
    /// one.
    pub fn hashed_in_replay(&mut self, hashed: SlotDigest) {
        self.probes.hashed(hashed);
    }

    /// Takes the newest comparison, if there is one.
    pub fn take_comparison(&mut self) -> Option<Comparison> {
        self.probes.compared.take()
    }
}
