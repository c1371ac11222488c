//! Takes snapshots while the node serves requests: by time, by growth of the log, and on demand.
//!
//! The thread asks each core for captured slots, a few at a time, and encodes and writes them
//! itself. So a core spends only short slices on it. With a log, memory holds the captures of only
//! a few slots.
//!
//! A snapshot is written in steps ([`Snapshotter::begin`], [`Snapshotter::step`]). Each step waits
//! no longer than its argument says, so a simulation can take the same steps without waiting.
//!
//! After each snapshot the thread removes older snapshots and segments of the log that are no
//! longer needed. The log's thread has no time for that.
//!
//! Invariants:
//! - All records up to the start of the snapshot are in it: they were pushed, and so applied,
//!   before it began.
//! - A snapshot is published only when the log is durable past all that it may hold.
//! - One snapshot is written at a time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use snapshot::{
    Baseline, Disk, KeepBaseline, LogTrimmer, Lsn, SnapshotInfo, SnapshotWriter, prune,
};

use super::info::NodeInfo;
use super::log::{LogMode, LogState};
use super::mailbox::Control;
use super::snapshot_requests::SnapshotRequest;
use crate::command::snapshot::SnapshotReply;
use crate::command::{Error, Outcome, Reply};
use crate::shard::core::SlotCapture;
use crate::throttle::throttled;
use crate::types::ShardId;

/// Slots that a core captures at a time. With a million chats a slot has some hundred chats.
const SLOTS_A_SLICE: usize = 2;
/// Number of snapshots that are kept.
const SNAPSHOTS_KEPT: usize = 2;
/// How often the thread checks whether a snapshot is due.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often it checks whether the log was synced.
const SYNC_LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Pause after a failed snapshot, and its maximum after several failures in a row.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// How long a core may take to answer before the snapshot is abandoned.
const CORE_PATIENCE: Duration = Duration::from_secs(60);

/// When snapshots are taken without a request.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotPolicy {
    /// A snapshot is due when the last one is this old; `None` means never by age.
    pub interval: Option<Duration>,
    /// A snapshot is due when the log has grown by this many bytes, or by the size of the last
    /// snapshot if that is more.
    pub log_bytes: u64,
}

/// What the newest snapshot holds at a start, and how much of the log it does not hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Covered {
    /// Start of the newest snapshot; 0 without one.
    start: Lsn,
    /// Its size.
    bytes: u64,
    /// When it was published; `None` without one, or if the file system does not report it.
    published: Option<SystemTime>,
    /// Bytes of the log after it.
    log_bytes: u64,
}

impl Covered {
    /// From the snapshot that the start loaded, and the bytes of the records that were replayed
    /// after it.
    pub fn by(snapshot: Option<&SnapshotInfo>, log_bytes: u64) -> Self {
        let published =
            |snapshot: &SnapshotInfo| std::fs::metadata(&snapshot.path).ok()?.modified().ok();
        Self {
            start: snapshot.map_or(Lsn(0), |snapshot| snapshot.start_lsn),
            bytes: snapshot.map_or(0, |snapshot| snapshot.bytes),
            published: snapshot.and_then(published),
            log_bytes,
        }
    }

    /// Age of the snapshot; zero for a new store. `None` if records exist and the age is unknown or
    /// no snapshot holds them.
    fn age(&self, now: SystemTime) -> Option<Duration> {
        match self.published {
            // If the clock went back since then, the snapshot counts as new.
            Some(published) => Some(now.duration_since(published).unwrap_or_default()),
            None => (self.log_bytes == 0).then_some(Duration::ZERO),
        }
    }
}

/// When a failed snapshot may be retried: each failure in a row doubles the pause.
#[derive(Debug, Default)]
struct Backoff {
    pause: Duration,
    until: Option<Instant>,
}

impl Backoff {
    fn fail(&mut self, now: Instant) {
        self.pause = (self.pause * 2).clamp(RETRY_MIN, RETRY_MAX);
        self.until = now.checked_add(self.pause);
    }

    fn allows(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Why a snapshot failed.
#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error("{0}")]
    Disk(#[from] io::Error),
    #[error("core {0} did not answer")]
    Core(u16),
    #[error("the server is stopping")]
    Ended,
    #[error("{0}")]
    Log(&'static str),
}

/// The snapshot thread: its schedule, and the snapshot that it is writing.
pub struct Snapshotter<D: Disk> {
    disk: D,
    dir: PathBuf,
    node_id: u64,
    node: Weak<NodeInfo>,
    requests: Receiver<SnapshotRequest>,
    policy: SnapshotPolicy,
    trimmer: Option<LogTrimmer<D>>,
    baseline: Option<Arc<dyn KeepBaseline>>,
    number: u64,
    backoff: Backoff,
    /// When the snapshot that is being taken began.
    began: Instant,
    /// When the last snapshot of this run began; before the first, when the run began.
    last: Instant,
    /// Age of the last snapshot at `last`; `None` without one, if records wait for the first.
    age_at_last: Option<Duration>,
    /// Bytes of the log after the last snapshot that were written before this run.
    log_bytes_before: u64,
    /// The newest record when the last snapshot began.
    last_start: Lsn,
    last_bytes: u64,
    log_bytes_then: u64,
    draft: Option<SnapshotDraft<D>>,
}

impl<D: Disk> Snapshotter<D> {
    /// A snapshotter for `node`. `covered` says what snapshots on the disk hold. `trimmer` removes
    /// segments of the log, if there is one.
    pub fn new(
        disk: D,
        node_id: u64,
        node: &Arc<NodeInfo>,
        requests: Receiver<SnapshotRequest>,
        policy: SnapshotPolicy,
        covered: &Covered,
        trimmer: Option<LogTrimmer<D>>,
    ) -> Self {
        let status = &node.snapshot_status;
        status.last_time.store(covered.published.map_or(0, unix_ms), Ordering::Relaxed);
        status.last_bytes.store(covered.bytes, Ordering::Relaxed);
        Self {
            disk,
            dir: node.data_dir.clone(),
            node_id,
            node: Arc::downgrade(node),
            requests,
            policy,
            trimmer,
            baseline: None,
            number: 0,
            backoff: Backoff::default(),
            began: Instant::now(),
            last: Instant::now(),
            age_at_last: covered.age(SystemTime::now()),
            log_bytes_before: covered.log_bytes,
            last_start: covered.start,
            last_bytes: covered.bytes,
            log_bytes_then: 0,
            draft: None,
        }
    }

    /// Raises the baseline that `baseline` keeps to each new snapshot.
    #[must_use]
    pub fn raising(self, baseline: Arc<dyn KeepBaseline>) -> Self {
        Self { baseline: Some(baseline), ..self }
    }

    /// Runs until it gets [`SnapshotRequest::Stop`], or the node is gone.
    pub fn run(mut self) {
        loop {
            let request = match self.requests.recv_timeout(LOOK_INTERVAL) {
                Ok(SnapshotRequest::Take(reply)) => Some(reply),
                Err(RecvTimeoutError::Timeout) => None,
                Ok(SnapshotRequest::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            };
            let Some(node) = self.node.upgrade() else { return };
            if let Some(reply) = request {
                drop(reply.send(self.take(&node)));
            } else if self.is_due(&node) {
                // The log and `stats` have the outcome. After a failure it stays due, and is
                // retried after a pause.
                drop(self.take(&node));
            }
        }
    }

    fn is_due(&self, node: &NodeInfo) -> bool {
        let has_new = node.log.tail() != self.last_start;
        if !has_new || node.log.state() != LogState::Ok || !self.backoff.allows(Instant::now()) {
            return false;
        }
        let grown = node.log.written_bytes().saturating_sub(self.log_bytes_then);
        let grown = grown.saturating_add(self.log_bytes_before);
        let age = self.age_at_last.map(|age| age.saturating_add(self.last.elapsed()));
        self.policy.interval.is_some_and(|interval| age.is_none_or(|age| age >= interval))
            || grown > self.policy.log_bytes.max(self.last_bytes)
    }

    /// Takes one snapshot, and waits for it.
    fn take(&mut self, node: &NodeInfo) -> Outcome {
        let mut outcome = self.begin(node);
        loop {
            match outcome {
                Some(outcome) => return outcome,
                None => outcome = self.step(node, LOOK_INTERVAL),
            }
        }
    }

    /// Begins a snapshot. Returns its outcome if it failed already.
    pub fn begin(&mut self, node: &NodeInfo) -> Option<Outcome> {
        node.snapshot_status.running.store(1, Ordering::Relaxed);
        self.number += 1;
        self.began = Instant::now();
        match SnapshotDraft::begin(&self.disk, &self.dir, self.node_id, self.number, node) {
            Ok(draft) => {
                self.draft = Some(draft);
                None
            }
            Err(error) => Some(self.end(node, Err(error))),
        }
    }

    /// Continues the snapshot that was begun, and waits for a core or for the log no longer than
    /// `patience`. Returns the outcome once the snapshot ends.
    pub fn step(&mut self, node: &NodeInfo, patience: Duration) -> Option<Outcome> {
        let mut draft = self.draft.take()?;
        match draft.step(node, patience) {
            Ok(true) => {
                let published = draft.publish(node);
                Some(self.end(node, published))
            }
            Ok(false) => {
                self.draft = Some(draft);
                None
            }
            Err(error) => Some(self.end(node, Err(error))),
        }
    }

    fn end(&mut self, node: &NodeInfo, result: Result<Published, SnapshotError>) -> Outcome {
        for shard in node.shards.all() {
            node.control(shard, Control::EndSnapshot);
        }
        let status = &node.snapshot_status;
        status.running.store(0, Ordering::Relaxed);
        match result {
            Ok(Published { snapshot, records, log_bytes }) => {
                (self.last, self.age_at_last) = (self.began, Some(Duration::ZERO));
                self.backoff = Backoff::default();
                self.last_start = snapshot.start_lsn;
                self.last_bytes = snapshot.bytes;
                (self.log_bytes_then, self.log_bytes_before) = (log_bytes, 0);
                let duration_ms =
                    u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                // Wall clock, like the modification time of the file, whatever time commands use.
                status.last_time.store(unix_ms(SystemTime::now()), Ordering::Relaxed);
                status.last_bytes.store(snapshot.bytes, Ordering::Relaxed);
                status.last_duration_ms.store(duration_ms, Ordering::Relaxed);
                status.taken.fetch_add(1, Ordering::Relaxed);
                throttled!(of 10, info, path = %snapshot.path.display(), bytes = snapshot.bytes, records, duration_ms, "snapshot published");
                self.raise_baseline(&snapshot);
                self.clean_up();
                let path = snapshot.path.display().to_string();
                Ok(Reply::Snapshot(SnapshotReply { path, bytes: snapshot.bytes, records }))
            }
            Err(error) => {
                status.failed.fetch_add(1, Ordering::Relaxed);
                self.backoff.fail(Instant::now());
                throttled!(warn, %error, "no snapshot was taken; the log keeps everything");
                Err(Error::not_applied(&format!("no snapshot was taken: {error}")))
            }
        }
    }

    /// From now on a start needs this snapshot, or a log that holds as much.
    fn raise_baseline(&self, snapshot: &SnapshotInfo) {
        // With a log, a snapshot is published only when the log is durable up to its end.
        let to = Baseline {
            durable: snapshot.end_lsn,
            snapshot: snapshot.start_lsn,
            ..Baseline::default()
        };
        if let Some(Err(error)) = self.baseline.as_ref().map(|baseline| baseline.raise(to)) {
            throttled!(warn, %error, "the snapshot is there, but the next start would not miss it");
        }
    }

    /// Removes snapshots and log segments that the kept snapshots do not need.
    fn clean_up(&self) {
        let keep_from = match prune(&self.disk, &self.dir, SNAPSHOTS_KEPT) {
            Ok(keep_from) => keep_from,
            Err(error) => {
                throttled!(warn, %error, "old images could not be removed");
                return;
            }
        };
        match self.trimmer.as_ref().map(|trimmer| trimmer.trim(keep_from)) {
            Some(Ok(removed)) => {
                throttled!(of 10, info, removed, %keep_from,
                    "log segments removed that the snapshots cover");
            }
            Some(Err(error)) => {
                throttled!(warn, %error, "old log segments could not be removed");
            }
            None => {}
        }
    }
}

/// A snapshot that is being written.
struct SnapshotDraft<D: Disk> {
    writer: SnapshotWriter<D>,
    records: u64,
    awaited: Awaited,
    /// Bytes of the log when it began.
    log_bytes: u64,
}

/// What the snapshot waits for.
enum Awaited {
    /// Captures of a core, with the time at which it was asked.
    Captures(ShardId, Receiver<Vec<SlotCapture>>, Instant),
    /// The log to be durable up to this record.
    Durable(Lsn),
}

/// A snapshot that was published.
struct Published {
    snapshot: SnapshotInfo,
    records: u64,
    log_bytes: u64,
}

impl<D: Disk> SnapshotDraft<D> {
    fn begin(
        disk: &D,
        dir: &Path,
        node_id: u64,
        number: u64,
        node: &NodeInfo,
    ) -> Result<Self, SnapshotError> {
        let (log_bytes, start) = (node.log.written_bytes(), node.log.tail());
        let writer = SnapshotWriter::create(disk, dir, node_id, start)?;
        for shard in node.shards.all() {
            node.control(shard, Control::BeginSnapshot(number));
        }
        Ok(Self { writer, records: 0, awaited: ask_core(node, ShardId(0)), log_bytes })
    }

    /// Handles the captures, or the sync, that the snapshot waits for, waiting at most `patience`.
    /// Returns whether the snapshot may be published.
    fn step(&mut self, node: &NodeInfo, patience: Duration) -> Result<bool, SnapshotError> {
        let (shard, captures) = match &self.awaited {
            Awaited::Durable(end) => return is_durable(node, *end, patience),
            Awaited::Captures(shard, receiver, since) => match receiver.recv_timeout(patience) {
                Ok(captures) => (*shard, captures),
                Err(RecvTimeoutError::Timeout) if node.ended.load(Ordering::Acquire) => {
                    return Err(SnapshotError::Ended);
                }
                Err(RecvTimeoutError::Timeout) if since.elapsed() < CORE_PATIENCE => {
                    return Ok(false);
                }
                Err(_) => return Err(SnapshotError::Core(shard.0)),
            },
        };
        let next = ShardId(shard.0 + 1);
        self.awaited = if !captures.is_empty() {
            ask_core(node, shard)
        } else if node.shards.all().any(|shard| shard == next) {
            ask_core(node, next)
        } else {
            Awaited::Durable(node.log.tail())
        };
        for slot in captures {
            self.records += slot.records();
            slot.encode(&mut |block: &[u8]| self.writer.block(block))?;
        }
        Ok(false)
    }

    fn publish(self, node: &NodeInfo) -> Result<Published, SnapshotError> {
        let Self { writer, records, awaited, log_bytes } = self;
        let snapshot = match awaited {
            _ if node.log.mode() == LogMode::Off => writer.publish_without_log()?,
            Awaited::Durable(end) => writer.publish(end)?,
            Awaited::Captures(shard, ..) => return Err(SnapshotError::Core(shard.0)),
        };
        Ok(Published { snapshot, records, log_bytes })
    }
}

fn ask_core(node: &NodeInfo, shard: ShardId) -> Awaited {
    let (sender, receiver) = bounded(1);
    node.control(shard, Control::Capture(SLOTS_A_SLICE, sender));
    Awaited::Captures(shard, receiver, Instant::now())
}

/// Whether the log is durable up to `end`. If not, requests a sync and waits briefly.
fn is_durable(node: &NodeInfo, end: Lsn, patience: Duration) -> Result<bool, SnapshotError> {
    if node.log.durable() >= end {
        return Ok(true);
    }
    if node.log.state() == LogState::Poisoned || node.log.is_stopped() {
        return Err(SnapshotError::Log("the log can not be synced"));
    }
    node.log.sync_now();
    std::thread::sleep(patience.min(SYNC_LOOK_INTERVAL));
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_come_ever_more_seldom_and_a_success_ends_the_row() {
        let (start, mut backoff) = (Instant::now(), Backoff::default());
        assert!(backoff.allows(start));
        let (mut now, mut attempts) = (start, 0);
        // One look each half second of a day.
        while now < start + Duration::from_secs(86_400) {
            if backoff.allows(now) {
                backoff.fail(now);
                attempts += 1;
                assert!(!backoff.allows(now));
            }
            now += LOOK_INTERVAL;
        }
        assert!((86_400 / 300..86_400 / 300 + 10).contains(&attempts), "{attempts}");
        assert!(Backoff::default().allows(now));
    }
}
