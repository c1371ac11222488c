//! The thread that writes the log.
//!
//! Group commit: while a sync runs, the next batches gather, and one sync serves them all. A core
//! wakes the thread only after all its connections had their turn, and only if the thread waits.
//!
//! Invariants:
//! - While the path of the data directory leads to another place, writes are refused, because the
//!   next start would not find them.
//! - A batch whose write failed is kept and written again. A failed sync ends all writing until the
//!   next start.
//!
//! The thread repeats a turn: [`LogThread::write`], then [`LogThread::sync`]. Only
//! [`LogThread::run`] waits and sleeps, so a simulation can run turns without waiting.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use snapshot::{AppendError, Batch, Lsn};
use tracing::{error, info, warn};

use super::log::{JOINED_BYTES_MAX, Log, LogMode, LogState, Orders};
use super::sink::{Sink, SinkError};
use super::watch::WatchHub;
use crate::shard::events::is_probe;
use crate::throttle::Episode;

/// How many spare batches the queue keeps. Each has a capacity of up to twice [`JOINED_BYTES_MAX`].
const SPARE_MAX: usize = 4;
/// How long the thread waits before it writes a refused batch again.
const RETRY: Duration = Duration::from_millis(100);
/// How often the thread checks that the data directory is still at its path.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What became of the batches that a turn took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// None is left.
    All,
    /// The sink refused one, which the next turn retries.
    Refused,
    /// One is on its way, and the next turn asks for it again.
    Pending,
}

/// What the log thread owns: the sink, and the batches that it took from the queue.
pub struct LogThread<S: Sink> {
    log: Arc<Log>,
    sink: S,
    /// Batches from the queue that are not written yet. If the sink refused a write, the first one
    /// is that batch.
    unwritten: VecDeque<Batch>,
    /// Batches that are written but not yet offered to `watch`.
    unoffered: VecDeque<(Lsn, Batch)>,
    /// Empty batches for reuse.
    spare: Vec<Batch>,
    orders: Orders,
    last_sync: Option<Instant>,
    last_look: Instant,
    /// Limits log lines. A disk that is full now and then may stall the log many times a minute.
    stall: Episode,
    watch: Option<Arc<WatchHub>>,
}

/// Says that the log on the disk has no end mark. A member gets from the journal what it lacks.
pub(super) fn not_closed(mode: LogMode, error: &AppendError) {
    let what = "the log could not be closed";
    match mode {
        LogMode::Journal => warn!(%error, "{what}"),
        LogMode::Always | LogMode::EverySec | LogMode::Never | LogMode::Off => {
            error!(%error, "{what}");
        }
    }
}

impl<S: Sink> LogThread<S> {
    /// The thread that writes `log` to `sink`.
    pub fn new(log: Arc<Log>, sink: S) -> Self {
        Self {
            log,
            sink,
            unwritten: VecDeque::new(),
            unoffered: VecDeque::new(),
            spare: Vec::new(),
            orders: Orders::default(),
            last_sync: None,
            last_look: Instant::now(),
            stall: Episode::default(),
            watch: None,
        }
    }

    /// Makes the thread offer each batch to `watch`, as soon as replies may rely on it.
    #[must_use]
    pub fn with_watch(self, watch: Arc<WatchHub>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Runs until [`Log::stop`], or until another node is the active. Returns whether the next start
    /// will find the log closed, with its end mark, at the path of the directory.
    pub fn run(mut self) -> bool {
        loop {
            self.wait();
            self.look_if_due(Instant::now());
            let written = self.write();
            if self.sync(Instant::now()) || self.is_over() {
                return self.finish();
            }
            if written == Written::Refused {
                std::thread::sleep(RETRY);
            }
        }
    }

    /// Whether this run of the log is over before a stop: a member recovers, and continues with what
    /// the journal has.
    pub(super) fn is_over(&self) -> bool {
        self.log.mode() == LogMode::Journal && self.log.state().is_final()
    }

    /// Waits for work, for the next sync of the mode, for what the sink does when it is idle, or for
    /// the next check of the directory.
    fn wait(&self) {
        let mut queue = self.log.lock();
        let mut is_over = !self.unwritten.is_empty();
        while !is_over && !queue.has_work() {
            queue.thread_waits = true;
            let mut left = LOOK_INTERVAL.saturating_sub(self.last_look.elapsed());
            if let Some(interval) = self.owed_sync() {
                let since = self.last_sync.map_or(interval, |last| last.elapsed());
                left = left.min(interval.saturating_sub(since));
            }
            left = self.sink.idle_in().map_or(left, |idle| left.min(idle));
            let woken = self.log.wake.wait_timeout(queue, left);
            let (again, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
            (queue, is_over) = (again, timeout.timed_out());
        }
        queue.thread_waits = false;
    }

    /// Checks the place of the directory now and then, so that a log without writes notices a
    /// change too.
    fn look_if_due(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last_look) >= LOOK_INTERVAL {
            self.last_look = now;
            self.look();
        }
    }

    /// Stalls the log if the path of the data directory leads to another place. Otherwise ends such
    /// a stall.
    pub fn look(&mut self) {
        match self.sink.look_at_place() {
            Err(error) if !self.log.state().is_final() => {
                self.log.set_state(LogState::Stalled);
                if let Some(left_out) = self.stall.lasts() {
                    error!(%error, left_out = left_out.field(),
                        "the data directory is not in its place; writes are refused until it is \
                         back; if it is lost, `chatshard export` saves what memory holds");
                }
            }
            // If a batch is not written yet, its write will show whether the log works again.
            Ok(()) if self.unwritten.is_empty() => self.recover(),
            _ => {}
        }
    }

    /// Ends a stall, if there is one.
    fn recover(&mut self) {
        if self.log.state() == LogState::Stalled {
            if self.stall.ends() {
                info!("the log can be written again");
            }
            self.log.set_state(LogState::Ok);
        }
    }

    /// Whether a turn has nothing to do. A sync that the mode owes does not count.
    #[cfg(feature = "internals")]
    pub fn is_idle(&self) -> bool {
        self.unwritten.is_empty() && !self.log.lock().has_work()
    }

    /// The interval after which a sync follows, if one is owed.
    fn owed_sync(&self) -> Option<Duration> {
        let is_owed = self.log.state() == LogState::Ok && self.sink.durable() < self.sink.written();
        self.log.mode().sync_interval().filter(|_| is_owed)
    }

    /// The first half of a turn: writes the queued batches.
    pub fn write(&mut self) -> Written {
        let mut queue = self.log.lock();
        if self.unwritten.is_empty() {
            std::mem::swap(&mut self.unwritten, &mut queue.batches);
        }
        let room = SPARE_MAX.saturating_sub(queue.spare.len());
        queue.spare.extend(self.spare.drain(..room.min(self.spare.len())));
        // The caller pushes records before it sets `stop`, so everything pushed before is written.
        let stop = queue.orders.stop;
        let orders = std::mem::replace(&mut queue.orders, Orders { stop, ..Orders::default() });
        drop(queue);
        self.orders.sync_now |= orders.sync_now;
        self.orders.stop = stop;
        while let Some(batch) = self.unwritten.front() {
            if self.log.state().is_final() {
                self.drop_unwritten();
                break;
            }
            let first = self.sink.written().next();
            let appended = self.sink.append(batch);
            // The append may have begun a new segment, and that syncs the old one.
            self.publish(|log| &log.durable, self.sink.durable());
            match appended {
                Ok(written) => self.is_written(first, written),
                Err(error) => match self.failed(error) {
                    Written::All => {}
                    left => return left,
                },
            }
        }
        match self.sink.idle() {
            Ok(()) => Written::All,
            Err(error) => self.failed(error),
        }
    }

    /// Notes why the sink did not accept something. [`Written::All`] if the batches that are left
    /// are to be dropped.
    #[cold]
    fn failed(&mut self, error: SinkError) -> Written {
        match error {
            SinkError::Pending => return Written::Pending,
            SinkError::Write(error) => {
                if self.log.state() == LogState::Ok {
                    self.log.set_state(LogState::Stalled);
                }
                if let Some(left_out) = self.stall.lasts() {
                    warn!(%error, left_out = left_out.field(),
                        "the log cannot be written; writes are refused and it is tried again");
                }
                if !self.orders.stop {
                    return Written::Refused;
                }
                // A stop does not wait for the sink. No later batch may be written without this one.
                self.log.set_state(LogState::Poisoned);
            }
            SinkError::Poisoned(poisoned) => self.poison(&poisoned),
            SinkError::Fenced(why) => {
                warn!(why, "this node is not the active any more");
                self.log.set_state(LogState::Fenced);
            }
        }
        Written::All
    }

    /// Accounts for the oldest unwritten batch, which has now been written.
    fn is_written(&mut self, first: Lsn, written: Lsn) {
        let Some(batch) = self.unwritten.pop_front() else { return };
        let bytes = batch.len_bytes();
        self.log.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.log
            .counts
            .written_bytes
            .fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
        self.publish(|log| &log.written, written);
        self.unoffered.push_back((first, batch));
        self.recover();
    }

    /// Drops the batches that will never be written: the log is poisoned, or another node is the
    /// active. Probes do not count.
    fn drop_unwritten(&mut self) {
        let (mut bytes, mut records) = (0, 0);
        for batch in self.unwritten.drain(..) {
            bytes += batch.len_bytes();
            let of_clients = batch.payloads().filter(|record| !is_probe(record));
            records += u64::try_from(of_clients.count()).unwrap_or(u64::MAX);
        }
        self.log.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.log.counts.dropped.fetch_add(records, Ordering::Relaxed);
        let what = "records are dropped that the log could not take; none was acknowledged";
        match self.log.mode() {
            _ if records == 0 => {}
            // Their writers know, and the node recovers by itself.
            LogMode::Journal => warn!(records, "{what}"),
            LogMode::Always | LogMode::EverySec | LogMode::Never | LogMode::Off => {
                error!(records, "{what}");
            }
        }
    }

    /// The second half of a turn: syncs if a sync is due, and offers batches to `watch`. Returns
    /// whether the thread must end. Then the caller calls [`LogThread::finish`].
    pub fn sync(&mut self, now: Instant) -> bool {
        let Orders { sync_now, stop, .. } = std::mem::take(&mut self.orders);
        self.sync_if_due(sync_now || stop, now);
        self.offer_to_watch();
        stop
    }

    /// Offers the written batches to `watch` if replies may rely on them. Reuses the others.
    fn offer_to_watch(&mut self) {
        let reached = self.log.reached();
        let watch = self.watch.as_ref().filter(|watch| watch.is_watched());
        for (first, mut batch) in self.unoffered.drain(..) {
            if let Some(watch) = watch.filter(|_| first <= reached) {
                watch.offer(first, batch);
            } else if batch.len_bytes() <= JOINED_BYTES_MAX && self.spare.len() < SPARE_MAX {
                batch.clear();
                self.spare.push(batch);
            }
        }
    }

    fn sync_if_due(&mut self, asked: bool, now: Instant) {
        let due = match self.log.mode() {
            LogMode::Always => true,
            mode => {
                let since = |last| now.saturating_duration_since(last);
                let is_over = |interval| self.last_sync.is_none_or(|last| since(last) >= interval);
                asked || mode.sync_interval().is_some_and(is_over)
            }
        };
        if !due
            || self.log.state() == LogState::Poisoned
            || self.sink.durable() == self.sink.written()
        {
            return;
        }
        match self.sink.sync() {
            Ok(durable) => {
                self.log.counts.syncs.fetch_add(1, Ordering::Relaxed);
                self.last_sync = Some(now);
                self.publish(|log| &log.durable, durable);
            }
            Err(poisoned) => self.poison(&poisoned),
        }
    }

    /// Raises an LSN that the log publishes (the last one written, or the last one durable), and
    /// wakes the cores that wait for the log.
    fn publish(&self, mark: impl Fn(&Log) -> &AtomicU64, to: Lsn) {
        if mark(&self.log).fetch_max(to.0, Ordering::SeqCst) < to.0 {
            self.log.wake_shards();
        }
    }

    fn poison(&self, poisoned: &snapshot::Poisoned) {
        let what = match self.log.mode() {
            LogMode::Journal => "this member recovers, and another one may become the active",
            LogMode::Always | LogMode::EverySec | LogMode::Never | LogMode::Off => {
                "writes are refused until a restart"
            }
        };
        error!(reason = %poisoned.reason, "a sync of the log failed; {what}");
        self.log.set_state(LogState::Poisoned);
    }

    /// Closes the log with its end mark. Returns whether that worked and the directory is still at
    /// its path.
    pub fn finish(mut self) -> bool {
        let log = Arc::clone(&self.log);
        let place = self.sink.look_at_place();
        if let Err(error) = &place {
            error!(%error, "the next start will not find what this run has stored");
        }
        let closed = match self.sink.finish() {
            Ok(durable) => {
                log.durable.fetch_max(durable.0, Ordering::AcqRel);
                true
            }
            Err(error) => {
                not_closed(log.mode(), &error);
                false
            }
        };
        log.counts.stopped.store(true, Ordering::Release);
        log.wake_shards();
        closed && place.is_ok()
    }
}
