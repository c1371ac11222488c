//! The queue of records that all shards feed, and how far the log has come.
//!
//! [`super::log_thread`] empties the queue.
//!
//! Invariants:
//! - Records get their sequence numbers (LSN) in the order in which they are pushed, under one
//!   lock. A shard pushes its records before it sends any message that depends on them. So the log
//!   never holds an effect without its cause.
//! - Replies may rely on records up to [`Log::reached`]: what is durable (`always`), or what the
//!   operating system has (`everysec`, `never`). It never decreases.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam::utils::CachePadded;
use snapshot::{Batch, Lsn, Planted, is_planted};

use super::mailbox::Mailbox;
use crate::command::stats::LogStats;
use crate::command::{Error, ErrorCode};
use crate::limits::LOG_QUEUE_BYTES_MAX;

/// Batches are joined up to this size before they are written, in bytes.
pub(super) const JOINED_BYTES_MAX: usize = 256 << 10;

/// When a reply may leave, relative to the record that it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogMode {
    /// After the record is synced to the disk.
    Always,
    /// After the record is written; a sync follows within a second.
    EverySec,
    /// After the record is written; the operating system decides when to sync.
    Never,
    /// Immediately: there is no log, only snapshots.
    Off,
}

impl LogMode {
    /// The name in configuration and `stats`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySec => "everysec",
            Self::Never => "never",
            Self::Off => "off",
        }
    }
}

/// Whether the log accepts records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogState {
    /// It accepts records.
    Ok,
    /// A write failed and is retried; client writes are refused meanwhile.
    Stalled,
    /// A sync failed; client writes are refused until a restart.
    Poisoned,
}

impl LogState {
    /// The name in `stats`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Stalled => "stalled",
            Self::Poisoned => "poisoned",
        }
    }

    /// The reason in the error that a client gets.
    pub const fn why(self) -> &'static str {
        match self {
            Self::Ok => "the log takes writes",
            Self::Stalled => {
                "the log cannot be written (disk full, or data directory moved?); it is tried again"
            }
            Self::Poisoned => "a sync of the log failed; restart the server",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Stalled => 1,
            Self::Poisoned => 2,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::Stalled,
            _ => Self::Poisoned,
        }
    }
}

/// Requests to the thread besides writing.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) sync_now: bool,
    /// Once it is set it stays set.
    pub(super) stop: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) batches: VecDeque<Batch>,
    /// Empty batches for reuse. If a core allocated each batch and the log's thread freed it, both
    /// would take longer, and the memory would return to the core late.
    pub(super) spare: Vec<Batch>,
    pub(super) orders: Orders,
    /// The thread waits on the condition variable.
    pub(super) thread_waits: bool,
}

impl Queue {
    pub(super) fn has_work(&self) -> bool {
        let Orders { sync_now, stop } = &self.orders;
        !self.batches.is_empty() || *sync_now || *stop
    }
}

/// Figures of the thread.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) written_bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    /// Records that will never be written, and that no reply promised.
    pub(super) dropped: AtomicU64,
    pub(super) stopped: AtomicBool,
}

/// The shards' side of the log.
pub struct Log {
    mode: LogMode,
    state: AtomicU8,
    mailboxes: Arc<[Mailbox]>,
    // Frequently changing fields have their own cache lines, apart from each other and from fields
    // that each request reads.
    queue: CachePadded<Mutex<Queue>>,
    pub(super) wake: CachePadded<Condvar>,
    tail: CachePadded<AtomicU64>,
    pub(super) written: CachePadded<AtomicU64>,
    pub(super) durable: CachePadded<AtomicU64>,
    pub(super) queued_bytes: CachePadded<AtomicUsize>,
    pub(super) counts: CachePadded<Counts>,
}

impl Log {
    /// A log whose newest record is `last`. When it moves it wakes those of `mailboxes` that wait
    /// for it.
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
        // No code that can panic runs under this lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers the records, appends them to the queue and empties `records`. Returns whether the
    /// caller must call [`Self::rouse`] before it waits for anything.
    ///
    /// If a push woke the thread immediately, the thread would write, or even sync, for one
    /// connection alone. So the caller gathers more first.
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
        if self.state() == LogState::Poisoned {
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

    /// Wakes the thread, unless it is working or was woken already.
    pub fn rouse(&self) {
        if std::mem::take(&mut self.lock().thread_waits) {
            self.wake.notify_one();
        }
    }

    /// The LSN of the newest record that any shard pushed.
    pub fn tail(&self) -> Lsn {
        Lsn(self.tail.load(Ordering::Acquire))
    }

    /// The LSN up to which replies may leave.
    pub fn reached(&self) -> Lsn {
        match self.mode {
            LogMode::Always if !is_planted(Planted::ReplyBeforeSync) => self.durable(),
            LogMode::Always | LogMode::EverySec | LogMode::Never => {
                Lsn(self.written.load(Ordering::SeqCst))
            }
            LogMode::Off => self.tail(),
        }
    }

    /// The LSN up to which records are durable; the tail if there is no log.
    pub fn durable(&self) -> Lsn {
        match self.mode {
            LogMode::Off => self.tail(),
            _ => Lsn(self.durable.load(Ordering::SeqCst)),
        }
    }

    /// When replies may leave in this run.
    pub fn mode(&self) -> LogMode {
        self.mode
    }

    /// Whether the log accepts records now.
    pub fn state(&self) -> LogState {
        LogState::from_code(self.state.load(Ordering::Acquire))
    }

    /// Bytes of records that were written since the start.
    pub fn written_bytes(&self) -> u64 {
        self.counts.written_bytes.load(Ordering::Relaxed)
    }

    /// The error for a client write if the log cannot take it now; `None` while writes are
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

    /// Records that the thread dropped. No client got a reply that promised them.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Requests a sync soon, in any mode.
    pub fn sync_now(&self) {
        self.lock().orders.sync_now = true;
        self.rouse();
    }

    /// Makes the thread write what is queued, sync, set the end mark and end.
    pub fn stop(&self) {
        self.lock().orders.stop = true;
        self.rouse();
    }

    /// Whether the thread has ended.
    pub fn is_stopped(&self) -> bool {
        self.counts.stopped.load(Ordering::Acquire)
    }

    /// The figures of the log in `stats`.
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
