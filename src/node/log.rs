//! The node's one log: a queue that all shards feed, and the thread that writes it.
//!
//! Group commit: while one sync runs, the next batches gather, and the next sync serves them all.
//! If the thread is waiting, a core wakes it only after all connections had their turn, not for
//! each connection.
//!
//! Invariants:
//! - Records get their sequence numbers (LSN) in the order in which they are pushed, under one
//!   lock. A shard pushes its records before it sends any message that depends on them. So the log
//!   never holds an effect without its cause.
//! - Replies may rely on records up to [`Log::reached`]: what is durable (`always`), or what the
//!   operating system has (`everysec`, `never`). It never decreases.
//! - While the path of the data directory leads elsewhere, writes are refused: the next start would
//!   not find them.
//! - A failed write is kept and retried; a failed sync ends writing until the next start.
//!
//! The thread repeats a turn: [`LogThread::write`], then [`LogThread::sync`]. Only
//! [`LogThread::run`] waits and sleeps. So a simulation can run the same turns at times of its
//! choice.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;
use snapshot::{AppendError, Batch, Disk, LogWriter, Lsn, Planted, is_planted};
use tracing::{error, info, warn};

use super::mailbox::Mailbox;
use super::watch::WatchHub;
use crate::command::Error;
use crate::command::stats::LogStats;
use crate::limits::LOG_QUEUE_BYTES_MAX;
use crate::throttle::Episode;

/// Batches are joined up to this size before they are written, in bytes.
const JOINED_BYTES_MAX: usize = 256 << 10;
/// Spare batches in the queue, each with up to twice [`JOINED_BYTES_MAX`] of capacity.
const SPARE_MAX: usize = 4;
/// Time between a failed write and the retry.
const RETRY: Duration = Duration::from_millis(100);
/// How often the thread checks that the data directory is still at its path.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often `everysec` syncs.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

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
struct Orders {
    sync_now: bool,
    /// Once it is set it stays set.
    stop: bool,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<Batch>,
    /// Empty batches for reuse. If a core allocated each batch and the log's thread freed it, both
    /// would take longer, and the memory would return to the core late.
    spare: Vec<Batch>,
    orders: Orders,
    /// The thread waits on the condition variable.
    thread_waits: bool,
}

impl Queue {
    fn has_work(&self) -> bool {
        let Orders { sync_now, stop } = &self.orders;
        !self.batches.is_empty() || *sync_now || *stop
    }
}

/// Figures of the thread.
#[derive(Debug, Default)]
struct Counts {
    written_bytes: AtomicU64,
    syncs: AtomicU64,
    /// Records that will never be written, and that no reply promised.
    dropped: AtomicU64,
    stopped: AtomicBool,
}

/// The shards' side of the log.
pub struct Log {
    mode: LogMode,
    state: AtomicU8,
    mailboxes: Arc<[Mailbox]>,
    // Frequently changing fields have their own cache lines, apart from each other and from fields
    // that each request reads.
    queue: CachePadded<Mutex<Queue>>,
    wake: CachePadded<Condvar>,
    tail: CachePadded<AtomicU64>,
    written: CachePadded<AtomicU64>,
    durable: CachePadded<AtomicU64>,
    queued_bytes: CachePadded<AtomicUsize>,
    told: CachePadded<Counts>,
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
            told: CachePadded::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
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
        self.told.written_bytes.load(Ordering::Relaxed)
    }

    /// The error for a client write if the log cannot take it now; `None` while writes are
    /// accepted.
    pub fn refusal(&self) -> Option<Error> {
        match self.state() {
            LogState::Ok if self.queued_bytes.load(Ordering::Relaxed) > LOG_QUEUE_BYTES_MAX => {
                Some(Error::new(
                    crate::command::ErrorCode::Busy,
                    "not applied: the log's queue is full; try again later",
                ))
            }
            LogState::Ok => None,
            state => Some(Error::not_applied(state.why())),
        }
    }

    /// Records that the thread dropped. No client got a reply that promised them.
    pub fn dropped(&self) -> u64 {
        self.told.dropped.load(Ordering::Relaxed)
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
        self.told.stopped.load(Ordering::Acquire)
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
            syncs: self.told.syncs.load(Ordering::Relaxed),
        }
    }

    fn set_state(&self, state: LogState) {
        if self.state.swap(state.code(), Ordering::AcqRel) != state.code() {
            self.wake_shards();
        }
    }

    fn wake_shards(&self) {
        for mailbox in self.mailboxes.iter().filter(|mailbox| mailbox.waits_for_log()) {
            mailbox.wake();
        }
    }
}

/// The thread's side of the log.
pub struct LogThread<D: Disk> {
    log: Arc<Log>,
    writer: LogWriter<D>,
    /// Batches taken from the queue. If the disk refuses a write, the first of them is the refused
    /// one.
    unwritten: VecDeque<Batch>,
    /// Batches that were written and not yet offered to `watch`.
    untold: VecDeque<(Lsn, Batch)>,
    /// Empty batches for reuse.
    spare: Vec<Batch>,
    orders: Orders,
    last_sync: Option<Instant>,
    last_look: Instant,
    /// Limits log lines: a disk that is full now and then may stall the log many times a minute.
    stall: Episode,
    watch: Option<Arc<WatchHub>>,
}

impl<D: Disk> LogThread<D> {
    /// The thread that writes `log` with `writer`.
    pub fn new(log: Arc<Log>, writer: LogWriter<D>) -> Self {
        Self {
            log,
            writer,
            unwritten: VecDeque::new(),
            untold: VecDeque::new(),
            spare: Vec::new(),
            orders: Orders::default(),
            last_sync: None,
            last_look: Instant::now(),
            stall: Episode::default(),
            watch: None,
        }
    }

    /// Offers each batch to `watch` as soon as replies may rely on it.
    #[must_use]
    pub fn telling(self, watch: Arc<WatchHub>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Runs until [`Log::stop`]. Returns whether the log was closed with its end mark, at a path
    /// where the next start finds it.
    pub fn run(mut self) -> bool {
        loop {
            self.wait();
            self.look_if_due(Instant::now());
            let is_written = self.write();
            if self.sync(Instant::now()) {
                return self.finish();
            }
            if !is_written {
                std::thread::sleep(RETRY);
            }
        }
    }

    /// Waits for work, for the next sync of `everysec`, or for the next look at the directory.
    fn wait(&self) {
        let mut queue = self.log.lock();
        let mut is_over = !self.unwritten.is_empty();
        while !is_over && !queue.has_work() {
            queue.thread_waits = true;
            let mut left = LOOK_INTERVAL.saturating_sub(self.last_look.elapsed());
            if self.sync_is_owed() {
                let since = self.last_sync.map_or(SYNC_INTERVAL, |last| last.elapsed());
                left = left.min(SYNC_INTERVAL.saturating_sub(since));
            }
            let woken = self.log.wake.wait_timeout(queue, left);
            let (again, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
            (queue, is_over) = (again, timeout.timed_out());
        }
        queue.thread_waits = false;
    }

    /// Checks periodically that the data directory is at its path, so that a log without writes
    /// notices too.
    fn look_if_due(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last_look) >= LOOK_INTERVAL {
            self.last_look = now;
            self.look();
        }
    }

    /// Stalls the log while the path of the data directory leads elsewhere; ends the stall after.
    pub fn look(&mut self) {
        match self.writer.look_at_place() {
            Err(error) if self.log.state() != LogState::Poisoned => {
                self.log.set_state(LogState::Stalled);
                if let Some(left_out) = self.stall.lasts() {
                    error!(%error, left_out = left_out.field(),
                        "the data directory is not in its place; writes are refused until it is \
                         back; if it is lost, `chatshard export` saves what memory holds");
                }
            }
            // If a batch is waiting, its own write shows whether the log works again.
            Ok(()) if self.unwritten.is_empty() => self.recover(),
            _ => {}
        }
    }

    /// Ends a stall.
    fn recover(&mut self) {
        if self.log.state() == LogState::Stalled {
            if self.stall.ends() {
                info!("the log can be written again");
            }
            self.log.set_state(LogState::Ok);
        }
    }

    /// Whether a turn would have nothing to do, except for the sync that `everysec` owes.
    pub fn is_idle(&self) -> bool {
        self.unwritten.is_empty() && !self.log.lock().has_work()
    }

    fn sync_is_owed(&self) -> bool {
        self.log.mode == LogMode::EverySec
            && self.log.state() == LogState::Ok
            && self.writer.durable() < self.writer.written()
    }

    /// The first half of a turn: takes the queued batches and writes them. Returns false if the
    /// disk refused a batch, which the next turn retries.
    pub fn write(&mut self) -> bool {
        let mut queue = self.log.lock();
        if self.unwritten.is_empty() {
            std::mem::swap(&mut self.unwritten, &mut queue.batches);
        }
        let room = SPARE_MAX.saturating_sub(queue.spare.len());
        queue.spare.extend(self.spare.drain(..room.min(self.spare.len())));
        // Everything that was pushed before the stop is written: the stop was set after it.
        let stop = queue.orders.stop;
        let orders = std::mem::replace(&mut queue.orders, Orders { stop, ..Orders::default() });
        drop(queue);
        self.orders.sync_now |= orders.sync_now;
        self.orders.stop = stop;
        while let Some(batch) = self.unwritten.front() {
            if self.log.state() == LogState::Poisoned {
                self.drop_unwritten();
                break;
            }
            let first = self.writer.written().next();
            let appended = self.writer.append(batch);
            // The append may have begun a new segment, which syncs the old one.
            self.publish(|log| &log.durable, self.writer.durable());
            match appended {
                Ok(written) => self.is_written(first, written),
                Err(AppendError::Write(error)) => {
                    if self.log.state() == LogState::Ok {
                        self.log.set_state(LogState::Stalled);
                    }
                    if let Some(left_out) = self.stall.lasts() {
                        warn!(%error, left_out = left_out.field(),
                            "the log cannot be written; writes are refused and it is tried again");
                    }
                    if !self.orders.stop {
                        return false;
                    }
                    // Later batches must not be written without this one.
                    self.log.set_state(LogState::Poisoned);
                }
                Err(AppendError::Poisoned(poisoned)) => self.poison(&poisoned),
            }
        }
        true
    }

    /// Accounts for the oldest unwritten batch, which was written.
    fn is_written(&mut self, first: Lsn, written: Lsn) {
        let Some(batch) = self.unwritten.pop_front() else { return };
        let bytes = batch.len_bytes();
        self.log.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.log.told.written_bytes.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
        self.publish(|log| &log.written, written);
        self.untold.push_back((first, batch));
        self.recover();
    }

    /// Drops batches that will never be written.
    fn drop_unwritten(&mut self) {
        let (mut bytes, mut records) = (0, 0);
        for batch in self.unwritten.drain(..) {
            bytes += batch.len_bytes();
            records += u64::try_from(batch.count()).unwrap_or(u64::MAX);
        }
        self.log.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.log.told.dropped.fetch_add(records, Ordering::Relaxed);
        error!(records, "records are dropped that the log could not take; none was acknowledged");
    }

    /// The second half of a turn: syncs if one is due, and offers batches to `watch`. Returns
    /// whether the thread must end; then [`LogThread::finish`] follows.
    pub fn sync(&mut self, now: Instant) -> bool {
        let Orders { sync_now, stop } = std::mem::take(&mut self.orders);
        self.sync_if_due(sync_now || stop, now);
        self.tell();
        stop
    }

    /// Offers batches to `watch` if replies may rely on them, and reuses the others.
    fn tell(&mut self) {
        let reached = self.log.reached();
        let watch = self.watch.as_ref().filter(|watch| watch.is_watched());
        for (first, mut batch) in self.untold.drain(..) {
            if let Some(watch) = watch.filter(|_| first <= reached) {
                watch.offer(first, batch);
            } else if batch.len_bytes() <= JOINED_BYTES_MAX && self.spare.len() < SPARE_MAX {
                batch.clear();
                self.spare.push(batch);
            }
        }
    }

    fn sync_if_due(&mut self, asked: bool, now: Instant) {
        let due = match self.log.mode {
            LogMode::Always => true,
            LogMode::EverySec => {
                let since = |last| now.saturating_duration_since(last);
                asked || self.last_sync.is_none_or(|last| since(last) >= SYNC_INTERVAL)
            }
            LogMode::Never | LogMode::Off => asked,
        };
        if !due
            || self.log.state() == LogState::Poisoned
            || self.writer.durable() == self.writer.written()
        {
            return;
        }
        match self.writer.sync() {
            Ok(durable) => {
                self.log.told.syncs.fetch_add(1, Ordering::Relaxed);
                self.last_sync = Some(now);
                self.publish(|log| &log.durable, durable);
            }
            Err(poisoned) => self.poison(&poisoned),
        }
    }

    /// Moves a mark forward, and wakes the cores that wait for the log.
    fn publish(&self, mark: impl Fn(&Log) -> &AtomicU64, to: Lsn) {
        if mark(&self.log).fetch_max(to.0, Ordering::SeqCst) < to.0 {
            self.log.wake_shards();
        }
    }

    fn poison(&self, poisoned: &snapshot::Poisoned) {
        error!(reason = %poisoned.reason, "a sync of the log failed; writes are refused until a restart");
        self.log.set_state(LogState::Poisoned);
    }

    /// Closes the log with its end mark. Returns whether that worked and the next start will find
    /// the directory at its path.
    pub fn finish(mut self) -> bool {
        let log = Arc::clone(&self.log);
        let place = self.writer.look_at_place();
        if let Err(error) = &place {
            error!(%error, "the next start will not find what this run has stored");
        }
        let closed = match self.writer.finish() {
            Ok(durable) => {
                log.durable.fetch_max(durable.0, Ordering::AcqRel);
                true
            }
            Err(error) => {
                error!(%error, "the log could not be closed");
                false
            }
        };
        log.told.stopped.store(true, Ordering::Release);
        log.wake_shards();
        closed && place.is_ok()
    }
}
