//! What the engine keeps of a journal, as its active knows it, and what of that may go.
//!
//! ```text
//!   trimmed   |  kept: boundaries at least `grain` bytes apart                  | newest
//!   ----------+------|-------|-------|-------|-------|-------|-------|-------|--+
//!                            ^ durable on enough members     ^ keep_bytes before the end
//! ```
//! A trim ends at the newest boundary that is durable on [`TrimLimits::copies`] members, lies
//! [`TrimLimits::keep_bytes`] before the end, and is [`TrimLimits::keep_time`] old. Over
//! [`TrimLimits::bytes_max`] the time counts no more, and fewer copies are enough.
//!
//! # Invariants
//! - A boundary never lies between two parts of a batch, and is never the newest place: a trim
//!   leaves at least one entry.
//! - Nothing is trimmed that is not durable on this node and on `copies_min - 1` others.
//! - Boundaries are in order of seq, LSN, bytes and time, so each rule holds for the oldest ones.
//! - Writes are refused only while a trim waits for copies. A batch of many parts may take the kept
//!   part over the maximum and leave no boundary to trim to; only further writes bring one.

use std::collections::VecDeque;
use std::time::Duration;

use snapshot::{Lsn, Planted, is_planted};

use super::place::JournalPlace;

/// Most boundaries: beyond it every second one is forgotten.
const BOUNDARIES_MAX: usize = 4096;
/// Most entries that one trim removes, about: an engine that removes many at once takes no append
/// meanwhile.
const TRIM_ENTRIES_MAX: u64 = 10_000;
/// About what an entry costs an engine beside its bytes: a key, revisions, and their places.
pub const ENTRY_COST_BYTES: u64 = 128;

/// How much of a journal the engine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimLimits {
    /// Bytes that are always kept.
    pub keep_bytes: u64,
    /// Time for which an entry is kept, unless there are more than `bytes_max`.
    pub keep_time: Duration,
    /// Bytes over which entries go as soon as they may.
    pub bytes_max: u64,
    /// Members that must have a trimmed entry on their disks, with this one.
    pub copies: u16,
    /// Members whose copies are enough over `bytes_max`. With more than 1, the active refuses writes
    /// while a trim waits for these copies.
    pub copies_min: u16,
}

impl Default for TrimLimits {
    fn default() -> Self {
        Self {
            keep_bytes: 64 << 20,
            keep_time: Duration::from_secs(600),
            bytes_max: 256 << 20,
            copies: 2,
            copies_min: 1,
        }
    }
}

/// A place where a trim may end.
#[derive(Clone, Copy, Debug)]
struct Boundary {
    place: JournalPlace,
    /// Cost of all entries up to the place, since the reader began.
    bytes: u64,
    /// When the place was noted, on a clock that runs on in suspend.
    at: Duration,
}

/// The kept part of a journal.
#[derive(Clone, Debug)]
pub struct KeptEntries {
    boundaries: VecDeque<Boundary>,
    newest: Option<Boundary>,
    /// Cost of all entries up to the last trim, since the reader began.
    trimmed_bytes: u64,
    /// The newest entry that is trimmed, or the first that was noted.
    trimmed_seq: Option<u64>,
    /// The newest record that is trimmed.
    trimmed_lsn: Lsn,
    /// Least cost between two boundaries.
    grain: u64,
}

/// What the active does about the kept part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrimDecision {
    /// The place behind the last entry to remove.
    pub upto: Option<JournalPlace>,
    /// Whether the active must refuse writes: the kept part is over the maximum, and too few members
    /// have a copy of the entries to remove.
    pub is_refusing: bool,
}

impl KeptEntries {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(limits: &TrimLimits) -> Self {
        let most = u64::try_from(BOUNDARIES_MAX).unwrap_or(u64::MAX);
        Self {
            boundaries: VecDeque::new(),
            newest: None,
            trimmed_bytes: 0,
            trimmed_seq: None,
            trimmed_lsn: Lsn(0),
            grain: (limits.bytes_max / most).max(1),
        }
    }

    /// Notes the place behind the newest entry. `bytes` is the cost of all entries since the reader
    /// began; if it begins again at a base, so does this value.
    pub fn note(&mut self, now: Duration, place: JournalPlace, bytes: u64) {
        let boundary = Boundary { place, bytes, at: now };
        self.trimmed_seq.get_or_insert(place.seq);
        self.newest = Some(boundary);
        let before = self.boundaries.back().map_or(self.trimmed_bytes, |last| last.bytes);
        if bytes.saturating_sub(before) >= self.grain {
            self.boundaries.push_back(boundary);
        }
        if self.boundaries.len() > BOUNDARIES_MAX {
            self.grain = self.grain.saturating_mul(2);
            let mut is_kept = false;
            self.boundaries.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
    }

    /// Notes that the engine keeps nothing up to this place.
    pub fn trimmed(&mut self, place: &JournalPlace) {
        self.trimmed_lsn = self.trimmed_lsn.max(place.next_lsn.previous());
        self.trimmed_seq = self.trimmed_seq.max(Some(place.seq));
        while let Some(oldest) =
            self.boundaries.pop_front_if(|oldest| oldest.place.seq <= place.seq)
        {
            self.trimmed_bytes = oldest.bytes;
        }
    }

    /// Cost of the kept entries in the engine, about, in bytes.
    #[must_use]
    pub fn retained_bytes(&self) -> u64 {
        self.newest.map_or(0, |newest| newest.bytes.saturating_sub(self.trimmed_bytes))
    }

    /// How many members have on their disks whatever is trimmed. `others` are the durable LSNs of
    /// the standbys that report.
    #[must_use]
    pub fn copies(&self, others: &[Lsn]) -> usize {
        1 + others.iter().filter(|durable| **durable >= self.trimmed_lsn).count()
    }

    /// Decides what may be trimmed. `own` is durable on this node, and `others` on the standbys that
    /// report.
    #[must_use]
    pub fn decide(
        &self,
        now: Duration,
        limits: &TrimLimits,
        own: Lsn,
        others: &[Lsn],
    ) -> TrimDecision {
        let mut others = others.to_vec();
        others.sort_unstable_by(|a, b| b.cmp(a));
        let durable_on = |copies: u16| match usize::from(copies).checked_sub(2) {
            _ if is_planted(Planted::TrimOnOwnWord) => Some(own),
            None => Some(own),
            Some(at) => others.get(at).map(|other| own.min(*other)),
        };
        if self.retained_bytes() <= limits.bytes_max {
            let upto = durable_on(limits.copies).and_then(|durable| {
                self.newest_boundary(|boundary| {
                    boundary.lsn() <= durable
                        && self.bytes_behind(boundary) >= limits.keep_bytes
                        && now.saturating_sub(boundary.at) >= limits.keep_time
                })
            });
            return TrimDecision { upto: self.at_once(upto), is_refusing: false };
        }
        // A quarter is left free, so that the next trim is not due at once.
        let left = limits.keep_bytes.max(limits.bytes_max / 4 * 3);
        let due = |boundary: &Boundary| self.bytes_behind(boundary) >= left;
        let mut upto = None;
        for durable in (limits.copies_min..=limits.copies).rev().filter_map(durable_on) {
            upto = self.newest_boundary(|boundary| boundary.lsn() <= durable && due(boundary));
            if upto.is_some_and(|boundary| self.bytes_behind(&boundary) <= limits.bytes_max) {
                return TrimDecision { upto: self.at_once(upto), is_refusing: false };
            }
        }
        let newest = self.newest_boundary(due).map(|boundary| boundary.place.seq);
        let lacks_copies = newest > upto.map(|boundary| boundary.place.seq);
        TrimDecision {
            upto: self.at_once(upto),
            is_refusing: limits.copies_min > 1 && lacks_copies,
        }
    }

    /// Where the next trim ends on its way to `upto`.
    fn at_once(&self, upto: Option<Boundary>) -> Option<JournalPlace> {
        let upto = upto?.place;
        let most = self.trimmed_seq.unwrap_or(0).saturating_add(TRIM_ENTRIES_MAX);
        let near = self.newest_boundary(|boundary| boundary.place.seq <= most);
        let near = near.or_else(|| self.boundaries.front().copied()).map(|near| near.place);
        near.filter(|near| near.seq < upto.seq).or(Some(upto))
    }

    /// The newest boundary before the newest place for which `is_fit` holds, as it does for all that
    /// are older.
    fn newest_boundary(&self, is_fit: impl Fn(&Boundary) -> bool) -> Option<Boundary> {
        let newest = self.newest.map_or(0, |newest| newest.place.seq);
        let fit = |boundary: &Boundary| boundary.place.seq < newest && is_fit(boundary);
        let at = self.boundaries.partition_point(fit).checked_sub(1)?;
        self.boundaries.get(at).copied()
    }

    fn bytes_behind(&self, boundary: &Boundary) -> u64 {
        self.newest.map_or(0, |newest| newest.bytes.saturating_sub(boundary.bytes))
    }
}

impl Boundary {
    fn lsn(&self) -> Lsn {
        self.place.next_lsn.previous()
    }
}
