//! Figures of a member's journal, for metrics.
//!
//! # Invariants
//! - What is not known is `None`, never 0. What only an active knows is forgotten with its stint.
//! - Counters live as long as the process, over all of its stints.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::metrics::Durations;

const UNKNOWN: u64 = u64::MAX;

/// Why a member became the active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeoverWhy {
    /// The active before was silent.
    Silence,
    /// The active before released the journal.
    Release,
}

impl TakeoverWhy {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 2] = [Self::Silence, Self::Release];

    /// The name in claims and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Release => "release",
        }
    }

    /// The reason of a claim behind a release, or behind anything else.
    pub(super) const fn of(is_released: bool) -> Self {
        if is_released { Self::Release } else { Self::Silence }
    }
}

/// Why an active handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverWhy {
    /// The command `handover` asked for it.
    Command,
    /// Its disk took nothing.
    Disk,
    /// Its data differs from that of two standbys.
    Data,
}

impl HandoverWhy {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 3] = [Self::Command, Self::Disk, Self::Data];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Disk => "disk",
            Self::Data => "data",
        }
    }
}

/// What was wrong with an entry of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryFault {
    /// Its bytes were changed.
    Damaged,
    /// It was missing, or the entries behind it did not follow.
    Missing,
}

/// Where the whole entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntrySource {
    /// Another endpoint of the engine, or a later read.
    Engine,
    /// Another member.
    Member,
    /// Nobody: this member waits for an operator.
    Nobody,
}

impl EntrySource {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 3] = [Self::Engine, Self::Member, Self::Nobody];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Member => "member",
            Self::Nobody => "nobody",
        }
    }
}

/// What a member says of its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalState {
    /// The engine gives its word.
    Ok,
    /// The engine gives no word: the lease is over, or the state of a standby is too old.
    Silent,
    /// The engine has no space, so writes are refused.
    Full,
    /// This member may not claim, because another one has more than the engine shows, or because it
    /// cannot ask.
    Blocked,
    /// This member cannot continue.
    Failed,
}

impl JournalState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Silent, Self::Full, Self::Blocked, Self::Failed];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Silent => "silent",
            Self::Full => "full",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
        }
    }
}

/// The figures, which several threads share.
#[derive(Debug)]
pub struct JournalFigures {
    retained_bytes: AtomicU64,
    copies: AtomicU64,
    trims: AtomicU64,
    takeovers: [AtomicU64; TakeoverWhy::ALL.len()],
    /// Time that the newest takeover took, in ms.
    takeover_ms: AtomicU64,
    /// Time that each batch took to get into the journal.
    appends: Mutex<Durations>,
    /// Whether this process has copied data because its own was wrong.
    has_copied: AtomicBool,
    handovers: [AtomicU64; HandoverWhy::ALL.len()],
    joins: AtomicU64,
    /// Void entries of the journal, as far as this member has read.
    voids: AtomicU64,
    damage: [AtomicU64; EntrySource::ALL.len()],
    gaps: [AtomicU64; EntrySource::ALL.len()],
}

impl Default for JournalFigures {
    fn default() -> Self {
        Self {
            retained_bytes: AtomicU64::new(UNKNOWN),
            copies: AtomicU64::new(UNKNOWN),
            trims: AtomicU64::default(),
            takeovers: Default::default(),
            takeover_ms: AtomicU64::new(UNKNOWN),
            appends: Mutex::default(),
            has_copied: AtomicBool::new(false),
            handovers: Default::default(),
            joins: AtomicU64::default(),
            voids: AtomicU64::new(UNKNOWN),
            damage: Default::default(),
            gaps: Default::default(),
        }
    }
}

impl JournalFigures {
    /// Bytes that the engine keeps, about. Only the active knows them.
    #[must_use]
    pub fn retained_bytes(&self) -> Option<u64> {
        known(&self.retained_bytes)
    }

    /// Members, with this one, that have on their disks whatever is trimmed. Only an active knows
    /// them, once standbys could report to it.
    #[must_use]
    pub fn copies(&self) -> Option<u64> {
        known(&self.copies)
    }

    /// Trims since the start of the process.
    #[must_use]
    pub fn trims(&self) -> u64 {
        self.trims.load(Ordering::Relaxed)
    }

    /// How often this process became the active, by reason.
    pub fn takeovers(&self) -> impl Iterator<Item = (TakeoverWhy, u64)> {
        let counts = self.takeovers.iter().map(|count| count.load(Ordering::Relaxed));
        TakeoverWhy::ALL.into_iter().zip(counts)
    }

    /// Time that the newest takeover took, from the last sign of the active before. `None` before
    /// the first one.
    #[must_use]
    pub fn newest_takeover(&self) -> Option<Duration> {
        known(&self.takeover_ms).map(Duration::from_millis)
    }

    /// Time that each batch of this process took to get into the journal.
    #[must_use]
    pub fn appends(&self) -> Durations {
        *self.appends_mut()
    }

    fn appends_mut(&self) -> MutexGuard<'_, Durations> {
        // No code that can panic runs under this lock.
        self.appends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_append(&self, took: Duration) {
        self.appends_mut().record(took);
    }

    /// How often this process copied the data of another member.
    #[must_use]
    pub fn joins(&self) -> u64 {
        self.joins.load(Ordering::Relaxed)
    }

    /// Notes that the data of another member was copied.
    pub fn note_join(&self) {
        self.joins.fetch_add(1, Ordering::Relaxed);
    }

    /// How often this process handed over, by reason.
    pub fn handovers(&self) -> impl Iterator<Item = (HandoverWhy, u64)> {
        let counts = self.handovers.iter().map(|count| count.load(Ordering::Relaxed));
        HandoverWhy::ALL.into_iter().zip(counts)
    }

    pub(super) fn note_handover(&self, why: HandoverWhy) {
        let counts = HandoverWhy::ALL.into_iter().zip(&self.handovers);
        counts.filter(|(other, _)| *other == why).for_each(|(_, count)| {
            count.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// Void entries of the journal, as far as this member has read; `None` before the first entry.
    #[must_use]
    pub fn voids(&self) -> Option<u64> {
        known(&self.voids)
    }

    pub(super) fn set_voids(&self, voids: u64) {
        self.voids.store(voids, Ordering::Relaxed);
    }

    /// Entries that this process found to have this fault, by where the whole ones came from.
    pub fn entry_faults(&self, fault: EntryFault) -> impl Iterator<Item = (EntrySource, u64)> {
        let counts = self.faults(fault).iter().map(|count| count.load(Ordering::Relaxed));
        EntrySource::ALL.into_iter().zip(counts)
    }

    fn faults(&self, fault: EntryFault) -> &[AtomicU64] {
        match fault {
            EntryFault::Damaged => &self.damage,
            EntryFault::Missing => &self.gaps,
        }
    }

    pub(super) fn note_faults(&self, found: Vec<(EntryFault, EntrySource)>) {
        for (fault, source) in found {
            let counts = EntrySource::ALL.into_iter().zip(self.faults(fault));
            counts.filter(|(other, _)| *other == source).for_each(|(_, count)| {
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
    }

    pub(super) fn set_kept(&self, retained_bytes: u64, copies: Option<usize>) {
        self.retained_bytes.store(retained_bytes, Ordering::Relaxed);
        let copies = copies.and_then(|copies| u64::try_from(copies).ok()).unwrap_or(UNKNOWN);
        self.copies.store(copies, Ordering::Relaxed);
    }

    pub(super) fn forget_kept(&self) {
        self.retained_bytes.store(UNKNOWN, Ordering::Relaxed);
        self.copies.store(UNKNOWN, Ordering::Relaxed);
    }

    /// Whether data that is wrong may be replaced by a copy: once in a process.
    pub(super) fn may_copy_wrong_data(&self) -> bool {
        !self.has_copied.swap(true, Ordering::Relaxed)
    }

    pub(super) fn note_trim(&self) {
        self.trims.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_takeover(&self, why: TakeoverWhy, took: Duration) {
        let took = u64::try_from(took.as_millis()).unwrap_or(UNKNOWN);
        self.takeover_ms.store(took, Ordering::Relaxed);
        let counts = TakeoverWhy::ALL.into_iter().zip(&self.takeovers);
        counts.filter(|(other, _)| *other == why).for_each(|(_, count)| {
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
}

fn known(figure: &AtomicU64) -> Option<u64> {
    Some(figure.load(Ordering::Relaxed)).filter(|figure| *figure != UNKNOWN)
}
