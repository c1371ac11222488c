//! Takes snapshots while the node serves requests: by time, by growth of the log, and when asked.
//!
//! The thread asks each core for captures of a few slots at a time, and encodes and writes them
//! itself. So a core spends only short slices on a snapshot. With a log, memory holds captures of
//! only a few slots at once.
//!
//! A snapshot is written in steps ([`Snapshotter::begin`], [`Snapshotter::step`]). The caller says
//! how long a step may wait, so a simulation takes steps that do not wait.
//!
//! Standbys of a journal take snapshots like any node. Their active leaves that to them, as long as
//! one has reported a snapshot within two intervals. Only when its own log has grown to several
//! times what else makes a snapshot due, it takes one: its disk and its next start need that.
//!
//! After each snapshot the thread removes older snapshots and segments that nobody needs any more.
//! The log thread would be held up by that.
//!
//! Invariants:
//! - A snapshot has all records up to its start LSN: they were pushed before it began, and a shard
//!   applies what it pushes.
//! - A snapshot is published only when the log is durable up to the newest record that it may have.
//! - Only one snapshot is written at a time.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use crossbeam::channel::{Receiver, RecvTimeoutError, TryRecvError, bounded};
use snapshot::{
    Baseline, Disk, KeepBaseline, LogTrimmer, Lsn, SnapshotInfo, SnapshotWriter, prune,
};

use super::info::NodeInfo;
use super::log::{LogMode, LogState};
use super::mailbox::Control;
use super::membership::MemberRole;
use super::snapshot_requests::{SnapshotRequest, unix_ms};
use crate::command::snapshot::SnapshotReply;
use crate::command::{Error, Outcome, Reply};
use crate::shard::machine::SlotCapture;
use crate::throttle::throttled;
use crate::types::ShardId;

/// A core captures slots at once until they have this many chats and users. With a million chats
/// a slot has a few hundred. A request to a busy core waits for milliseconds, so slots that have
/// little come together.
const HEADS_A_SLICE: usize = 512;
/// How many snapshots the directory keeps.
const SNAPSHOTS_KEPT: usize = 2;
/// How often the thread checks whether a snapshot is due.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often the thread checks whether the log is durable far enough.
const SYNC_LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// How long the thread waits after a failed snapshot. Each failure in a row doubles the wait, up to
/// [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// An active that leaves snapshots to its standbys takes one when its log has grown by so many
/// times the bytes that make one due elsewhere.
const ACTIVE_GROWTH: u64 = 4;
/// So many intervals without a report of a standby's snapshot end that.
const STANDBY_INTERVALS: u32 = 2;
/// A core that gives no captures for this long makes the snapshot fail.
const CORE_PATIENCE: Duration = Duration::from_secs(60);

/// When snapshots are taken without a request.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotPolicy {
    /// A snapshot is due when the last one is this old. With `None`, age makes none due.
    pub interval: Option<Duration>,
    /// A snapshot is due when the log has grown by more than this many bytes. It must also have
    /// grown by more than the size of the last snapshot.
    pub log_bytes: u64,
}

/// What the newest snapshot holds when the node starts, and how much of the log it lacks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Covered {
    /// Start LSN of the newest snapshot. 0 without a snapshot.
    start: Lsn,
    /// Size of the newest snapshot, in bytes.
    bytes: u64,
    /// When it was published. `None` without a snapshot, or if the file system does not say.
    published: Option<SystemTime>,
    /// How many bytes of the log lie behind the newest snapshot.
    log_bytes: u64,
}

impl Covered {
    /// Made from the snapshot that the start loaded, and from the number of bytes that it replayed
    /// behind it.
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

    /// The age of the newest snapshot. Zero for a store without records. `None` if no snapshot has
    /// the records, or if the age is unknown.
    fn age(&self, now: SystemTime) -> Option<Duration> {
        match self.published {
            // A clock that was set back since then would make the age negative: it counts as zero.
            Some(published) => Some(now.duration_since(published).unwrap_or_default()),
            None => (self.log_bytes == 0).then_some(Duration::ZERO),
        }
    }
}

/// How long to wait after failed snapshots. Each failure in a row doubles the pause.
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

/// The snapshot thread: when the next snapshot is due, and the snapshot that it is writing.
pub struct Snapshotter<D: Disk> {
    disk: D,
    dir: PathBuf,
    node_id: u64,
    node: Weak<NodeInfo>,
    requests: Receiver<SnapshotRequest>,
    policy: SnapshotPolicy,
    trimmer: Option<LogTrimmer<D>>,
    baseline: Option<Arc<dyn KeepBaseline>>,
    heads_a_slice: usize,
    number: u64,
    backoff: Backoff,
    /// When the present snapshot began.
    began: Instant,
    /// When the last snapshot of this run began. Before the first one, when the run began.
    last: Instant,
    /// Age of the newest snapshot at the time `last`. `None` if no snapshot has the records, or if
    /// the age is unknown.
    age_at_last: Option<Duration>,
    /// How many bytes of the log, written before this run, lie behind the newest snapshot.
    log_bytes_before: u64,
    /// The newest record when the newest snapshot began.
    last_start: Lsn,
    last_bytes: u64,
    log_bytes_then: u64,
    draft: Option<SnapshotDraft<D>>,
}

impl<D: Disk> Snapshotter<D> {
    /// The snapshot thread of `node`. `covered` says what the newest snapshot holds. `trimmer`
    /// removes segments; `None` without a log.
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
            heads_a_slice: HEADS_A_SLICE,
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

    /// Makes each new snapshot raise the baseline that `baseline` keeps.
    #[must_use]
    pub fn raising(self, baseline: Arc<dyn KeepBaseline>) -> Self {
        Self { baseline: Some(baseline), ..self }
    }

    /// Makes slices smaller, so that a simulation with few chats has writes between two slices.
    #[cfg(feature = "internals")]
    #[must_use]
    pub fn slices_of(self, heads: usize) -> Self {
        Self { heads_a_slice: heads, ..self }
    }

    /// Runs until [`SnapshotRequest::Stop`] comes or the node is gone.
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
                // The log lines and `stats` have the outcome. A failed snapshot stays due, and is
                // taken again after a pause.
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
        let growth_max = self.policy.log_bytes.max(self.last_bytes);
        if self.is_left_to_standbys(node) {
            return grown > growth_max.saturating_mul(ACTIVE_GROWTH);
        }
        let age = self.age_at_last.map(|age| age.saturating_add(self.last.elapsed()));
        self.policy.interval.is_some_and(|interval| age.is_none_or(|age| age >= interval))
            || grown > growth_max
    }

    /// Whether this is an active, and a standby has reported a snapshot that is new enough.
    fn is_left_to_standbys(&self, node: &NodeInfo) -> bool {
        let Some(member) = node.member.as_ref() else { return false };
        let age = member.standby_snapshot_age(node.clock.boot());
        let age_max =
            self.policy.interval.map(|interval| interval.saturating_mul(STANDBY_INTERVALS));
        member.role() == MemberRole::Active
            && age.zip(age_max).is_some_and(|(age, age_max)| age < age_max)
    }

    /// Takes one snapshot, and waits until it ends.
    fn take(&mut self, node: &NodeInfo) -> Outcome {
        let mut outcome = self.begin(node);
        loop {
            match outcome {
                Some(outcome) => return outcome,
                None => outcome = self.step(node, LOOK_INTERVAL),
            }
        }
    }

    /// Begins a snapshot. Returns the outcome if the snapshot fails at once, else `None`.
    pub fn begin(&mut self, node: &NodeInfo) -> Option<Outcome> {
        node.snapshot_status.running.store(1, Ordering::Relaxed);
        self.number += 1;
        self.began = Instant::now();
        match SnapshotDraft::begin(self, node) {
            Ok(draft) => {
                self.draft = Some(draft);
                None
            }
            Err(error) => Some(self.end(node, Err(error))),
        }
    }

    /// Continues the present snapshot. Waits for a core or the log for at most `patience`. Returns
    /// the outcome when the snapshot ends.
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
                // The wall clock and not the node's time, to be comparable with the modification
                // time of the file.
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

    /// Raises the baseline: from now on a start must find this snapshot, or a log with the same
    /// records.
    fn raise_baseline(&self, snapshot: &SnapshotInfo) {
        // With a log, a snapshot is published only when the log is durable up to `end_lsn`.
        let to = Baseline {
            durable: snapshot.end_lsn,
            snapshot: snapshot.start_lsn,
            ..Baseline::default()
        };
        if let Some(Err(error)) = self.baseline.as_ref().map(|baseline| baseline.raise(to)) {
            throttled!(warn, %error, "the snapshot is there, but the next start would not miss it");
        }
    }

    /// Removes old snapshots, and segments of the log that no kept snapshot needs.
    fn clean_up(&self) {
        let keep_from = match prune(&self.disk, &self.dir, SNAPSHOTS_KEPT) {
            Ok(keep_from) => keep_from,
            Err(error) => {
                throttled!(warn, %error, "old snapshots could not be removed");
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

/// A snapshot whose file is being written.
struct SnapshotDraft<D: Disk> {
    writer: SnapshotWriter<D>,
    /// How many heads a slice has at least, if there are so many.
    heads: usize,
    records: u64,
    awaited: Awaited,
    /// How many bytes the log had when the snapshot began.
    log_bytes: u64,
}

/// What the snapshot waits for at present.
enum Awaited {
    /// Captures of this core. The time says when the core was asked.
    Captures(ShardId, Receiver<Vec<SlotCapture>>, Instant),
    /// The log, until it is durable up to this record.
    Durable(Lsn),
}

/// A snapshot that was published.
struct Published {
    snapshot: SnapshotInfo,
    records: u64,
    log_bytes: u64,
}

impl<D: Disk> SnapshotDraft<D> {
    fn begin(of: &Snapshotter<D>, node: &NodeInfo) -> Result<Self, SnapshotError> {
        let (log_bytes, start) = (node.log.written_bytes(), node.log.applied_by_all());
        let writer = SnapshotWriter::create(&of.disk, &of.dir, of.node_id, start)?;
        for shard in node.shards.all() {
            node.control(shard, Control::BeginSnapshot(of.number));
        }
        let heads = of.heads_a_slice;
        Ok(Self {
            writer,
            heads,
            records: 0,
            awaited: ask_core(node, ShardId(0), heads),
            log_bytes,
        })
    }

    /// Waits at most `patience` for captures or for the log, and writes the captures that came.
    /// Returns whether the snapshot may be published.
    fn step(&mut self, node: &NodeInfo, patience: Duration) -> Result<bool, SnapshotError> {
        let (shard, captures) = match &self.awaited {
            Awaited::Durable(end) => return is_durable(node, *end, patience),
            Awaited::Captures(shard, receiver, since) => match receive(receiver, patience) {
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
            ask_core(node, shard, self.heads)
        } else if node.shards.all().any(|shard| shard == next) {
            ask_core(node, next, self.heads)
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
        let Self { writer, heads: _, records, awaited, log_bytes } = self;
        let snapshot = match awaited {
            _ if node.log.mode() == LogMode::Off => writer.publish_without_log()?,
            Awaited::Durable(end) => writer.publish(end)?,
            Awaited::Captures(shard, ..) => return Err(SnapshotError::Core(shard.0)),
        };
        Ok(Published { snapshot, records, log_bytes })
    }
}

fn ask_core(node: &NodeInfo, shard: ShardId, heads: usize) -> Awaited {
    let (sender, receiver) = bounded(1);
    node.control(shard, Control::Capture(heads, sender));
    Awaited::Captures(shard, receiver, Instant::now())
}

/// Waits for captures, at most so long. Without patience, `recv_timeout` would still give up the
/// processor once.
fn receive<T>(receiver: &Receiver<T>, at_most: Duration) -> Result<T, RecvTimeoutError> {
    if !at_most.is_zero() {
        return receiver.recv_timeout(at_most);
    }
    receiver.try_recv().map_err(|error| match error {
        TryRecvError::Empty => RecvTimeoutError::Timeout,
        TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
    })
}

/// Whether the log is durable up to `end`. If not, asks for a sync and waits a moment.
fn is_durable(node: &NodeInfo, end: Lsn, patience: Duration) -> Result<bool, SnapshotError> {
    if node.log.durable() >= end {
        return Ok(true);
    }
    if node.log.state().is_final() || node.log.is_stopped() {
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
        // Looks every half second, for a day.
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
