//! The queue of records that all shards fill, and how far the log has come. [`super::log_thread`]
//! empties the queue.
//!
//! Invariants:
//! - Records get their LSNs in the order in which they are pushed, under one lock. A shard pushes
//!   its records before it sends any message that depends on them. So the log never holds an effect
//!   without its cause.
//! - Replies may rely on records up to [`Log::reached`]. With `always` these are the durable
//!   records, with `everysec` and `never` those that were written, with `journal` those that are
//!   committed. It never decreases.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam::utils::CachePadded;
use snapshot::{Batch, Lsn, Planted, is_planted};

use super::mailbox::Mailbox;
use crate::command::stats::LogStats;
use crate::command::{Error, ErrorCode};
use crate::limits::LOG_QUEUE_BYTES_MAX;

/// Batches are joined until they have so many bytes, so that the thread writes more at once.
pub(super) const JOINED_BYTES_MAX: usize = 256 << 10;

/// When a reply may leave, compared with the record that it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogMode {
    /// After the record is synced to the disk.
    Always,
    /// After the record is written. A sync follows within a second.
    EverySec,
    /// After the record is written. The operating system decides when to sync.
    Never,
    /// At once. There is no log, and only snapshots keep data.
    Off,
    /// After the journal has the record. The log on the disk follows, and is synced ten times a
    /// second.
    Journal,
}

impl LogMode {
    /// The name of the mode in configuration and `stats`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySec => "everysec",
            Self::Never => "never",
            Self::Off => "off",
            Self::Journal => "journal",
        }
    }

    /// The time between syncs, if they follow by time.
    pub(super) const fn sync_interval(self) -> Option<Duration> {
        match self {
            Self::EverySec => Some(Duration::from_secs(1)),
            Self::Journal => Some(Duration::from_millis(100)),
            Self::Always | Self::Never | Self::Off => None,
        }
    }
}

/// Whether the log accepts records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogState {
    /// The log accepts records.
    Ok,
    /// A write failed and is retried. Until it succeeds, writes of clients are refused.
    Stalled,
    /// A sync failed. Writes of clients are refused until a restart.
    Poisoned,
    /// Another node is the active. What was not committed is dropped.
    Fenced,
}

impl LogState {
    /// The name of the state in `stats`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Stalled => "stalled",
            Self::Poisoned => "poisoned",
            Self::Fenced => "fenced",
        }
    }

    /// Why the log is in this state, for the error that a client gets.
    pub const fn why(self) -> &'static str {
        match self {
            Self::Ok => "the log takes writes",
            Self::Stalled => {
                "the log cannot be written (disk full, data directory moved, or no word of the \
                 journal's engine?); it is tried again"
            }
            Self::Poisoned => "a sync of the log failed; restart the server",
            Self::Fenced => "another node is the active",
        }
    }

    /// Whether the log of this run accepts nothing any more.
    pub(super) const fn is_final(self) -> bool {
        match self {
            Self::Ok | Self::Stalled => false,
            Self::Poisoned | Self::Fenced => true,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Stalled => 1,
            Self::Poisoned => 2,
            Self::Fenced => 3,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::Stalled,
            2 => Self::Poisoned,
            _ => Self::Fenced,
        }
    }
}

/// What the log thread is asked to do besides writing.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) sync_now: bool,
    /// A turn, although no batch waits: a reply waits for an append.
    pub(super) turn: bool,
    /// Whether the thread must end. Once set, it stays set.
    pub(super) stop: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) batches: VecDeque<Batch>,
    /// Empty batches for reuse. If a core allocated batches and the log thread freed them, both
    /// would take longer, and the core would get the memory back late.
    pub(super) spare: Vec<Batch>,
    pub(super) orders: Orders,
    /// Whether the log thread waits on the condition variable.
    pub(super) thread_waits: bool,
}

impl Queue {
    pub(super) fn has_work(&self) -> bool {
        let Orders { sync_now, turn, stop } = &self.orders;
        !self.batches.is_empty() || *sync_now || *turn || *stop
    }
}

/// Figures of the log thread.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) written_bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    /// Records that will never be written. No reply promised them.
    pub(super) dropped: AtomicU64,
    pub(super) stopped: AtomicBool,
}

/// The log as all threads share it: its queue, and how far it has come.
pub struct Log {
    mode: LogMode,
    state: AtomicU8,
    mailboxes: Arc<[Mailbox]>,
    // Fields that change often have cache lines of their own, so that cores do not wait for each
    // other's changes.
    queue: CachePadded<Mutex<Queue>>,
    pub(super) wake: CachePadded<Condvar>,
    tail: CachePadded<AtomicU64>,
    pub(super) written: CachePadded<AtomicU64>,
    pub(super) durable: CachePadded<AtomicU64>,
    pub(super) queued_bytes: CachePadded<AtomicUsize>,
    pub(super) counts: CachePadded<Counts>,
}

impl Log {
    /// A log whose newest record is `last`. When the log moves, it wakes those `mailboxes` that
    /// wait for it.
    pub fn new(mode: LogMode, last: Lsn, mailboxes: Arc<[Mailbox]>) -> Self {
        Self {
            mode,
            state: AtomicU8::new(LogState::Ok.code()),
            mailboxes,
            queue: CachePadded::default(),
            wake: CachePadded::default(),
            tail: CachePadded::new(AtomicU64::new(last.0)),
            written: CachePadded::new(AtomicU64::new(last.0)),
            durable: CachePadded::new(AtomicU64::new(last.0)),
            queued_bytes: CachePadded::default(),
            counts: CachePadded::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code that can panic runs under this lock, so a poisoned lock is not possible.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `records` LSNs, moves them into the queue, and empties `records`. If it returns true,
    /// the caller must call [`Self::rouse`] before it waits for anything.
    ///
    /// Waking the log thread at each push would make it write, and even sync, for one connection
    /// alone. So the caller first gathers the records of other connections.
    #[must_use]
    pub fn push(&self, records: &mut Batch) -> bool {
        let count = u64::try_from(records.count()).unwrap_or(0);
        if count == 0 {
            return false;
        }
        if self.mode == LogMode::Off {
            self.tail.fetch_add(count, Ordering::AcqRel);
            records.clear();
            return false;
        }
        let mut queue = self.lock();
        let Queue { batches, spare, thread_waits, .. } = &mut *queue;
        self.tail.fetch_add(count, Ordering::AcqRel);
        if self.state().is_final() {
            records.clear();
            return false;
        }
        self.queued_bytes.fetch_add(records.len_bytes(), Ordering::Relaxed);
        let is_joined = batches.back_mut().is_some_and(|last| {
            last.len_bytes() + records.len_bytes() <= JOINED_BYTES_MAX
                && last.append(records).is_ok()
        });
        if !is_joined {
            let empty = spare.pop().unwrap_or_default();
            batches.push_back(std::mem::replace(records, empty));
        }
        *thread_waits
    }

    /// Wakes the log thread if it waits.
    pub fn rouse(&self) {
        if std::mem::take(&mut self.lock().thread_waits) {
            self.wake.notify_one();
        }
    }

    /// The LSN of the newest record that any shard pushed.
    pub fn tail(&self) -> Lsn {
        Lsn(self.tail.load(Ordering::Acquire))
    }

    /// The LSN of the newest record that replies may rely on. The mode decides which one that is.
    pub fn reached(&self) -> Lsn {
        match self.mode {
            LogMode::Always if !is_planted(Planted::ReplyBeforeSync) => self.durable(),
            LogMode::Journal if is_planted(Planted::ReplyBeforeJournal) => self.tail(),
            LogMode::Always | LogMode::EverySec | LogMode::Never | LogMode::Journal => {
                Lsn(self.written.load(Ordering::SeqCst))
            }
            LogMode::Off => self.tail(),
        }
    }

    /// The LSN up to which records are durable. Without a log it is the tail.
    pub fn durable(&self) -> Lsn {
        match self.mode {
            LogMode::Off => self.tail(),
            _ => Lsn(self.durable.load(Ordering::SeqCst)),
        }
    }

    /// When replies of this run may leave.
    pub fn mode(&self) -> LogMode {
        self.mode
    }

    /// Whether the log accepts records at this instant.
    pub fn state(&self) -> LogState {
        LogState::from_code(self.state.load(Ordering::Acquire))
    }

    /// Notes that a standby has written bytes of records to its disk.
    pub(super) fn note_written(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.counts.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes of records were written since the start.
    pub fn written_bytes(&self) -> u64 {
        self.counts.written_bytes.load(Ordering::Relaxed)
    }

    /// The error for a write of a client that the log cannot take now. `None` while writes are
    /// accepted.
    pub fn refusal(&self) -> Option<Error> {
        match self.state() {
            LogState::Ok if self.queued_bytes.load(Ordering::Relaxed) > LOG_QUEUE_BYTES_MAX => {
                Some(Error::new(
                    ErrorCode::Busy,
                    "not applied: the log's queue is full; try again later",
                ))
            }
            LogState::Ok => None,
            state => Some(Error::not_applied(state.why())),
        }
    }

    /// How many records the log thread dropped. No client got a reply that promised them.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Makes the log thread sync soon, in any mode.
    pub fn sync_now(&self) {
        self.lock().orders.sync_now = true;
        self.rouse();
    }

    /// Asks for a turn of the log thread. If it returns true, the caller must call [`Self::rouse`]
    /// before it waits for anything.
    pub(super) fn ask_turn(&self) -> bool {
        let mut queue = self.lock();
        queue.orders.turn = true;
        queue.thread_waits
    }

    /// Makes the log thread write and sync all queued records, set the end mark, and end.
    pub fn stop(&self) {
        self.lock().orders.stop = true;
        self.rouse();
    }

    /// Whether the log thread has ended.
    pub fn is_stopped(&self) -> bool {
        self.counts.stopped.load(Ordering::Acquire)
    }

    /// The log's figures for `stats`.
    pub fn stats(&self) -> LogStats {
        LogStats {
            mode: self.mode.name().into(),
            state: self.state().name().into(),
            last_lsn: self.tail().0,
            durable_lsn: self.durable().0,
            queued_bytes: u64::try_from(self.queued_bytes.load(Ordering::Relaxed))
                .unwrap_or(u64::MAX),
            written_bytes: self.written_bytes(),
            syncs: self.counts.syncs.load(Ordering::Relaxed),
        }
    }

    /// Whether a stop was ordered.
    pub(super) fn is_stopping(&self) -> bool {
        self.lock().orders.stop
    }

    /// Says that the thread has ended.
    pub(super) fn set_stopped(&self) {
        self.counts.stopped.store(true, Ordering::Release);
        self.wake_shards();
    }

    /// The LSN up to which every shard has applied all records. A standby's cores have some before
    /// them up to the tail.
    pub(super) fn applied_by_all(&self) -> Lsn {
        match self.mode {
            LogMode::Journal => Lsn(self.written.load(Ordering::SeqCst)),
            LogMode::Always | LogMode::EverySec | LogMode::Never | LogMode::Off => self.tail(),
        }
    }

    /// Notes on a standby the last record that the cores were given.
    pub(super) fn received(&self, last: Lsn) {
        self.tail.fetch_max(last.0, Ordering::AcqRel);
    }

    /// Notes on a standby the last record that all cores have applied and the disk has, and the
    /// last one that is durable on this machine.
    pub(super) fn applied(&self, applied: Lsn, durable: Lsn) {
        let moved = self.written.fetch_max(applied.0, Ordering::SeqCst) < applied.0;
        if self.durable.fetch_max(durable.0, Ordering::SeqCst) < durable.0 || moved {
            self.wake_shards();
        }
    }

    /// Notes on a standby that nothing is durable: its disk is not in its place.
    pub(super) fn forget_durable(&self) {
        self.durable.store(0, Ordering::SeqCst);
    }

    pub(super) fn set_state(&self, state: LogState) {
        if self.state.swap(state.code(), Ordering::AcqRel) != state.code() {
            self.wake_shards();
        }
    }

    pub(super) fn wake_shards(&self) {
        for mailbox in self.mailboxes.iter().filter(|mailbox| mailbox.waits_for_log()) {
            mailbox.wake();
        }
    }
}
