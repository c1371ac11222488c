//! Takes images while work goes on: by time, by growth of the log, and on demand.
//!
//! The thread asks each core for captured slots, a few at a time, so that a core spends only short
//! slices on it and memory holds only a few slots' captures; it encodes and writes them itself.
//!
//! Invariants:
//! - All records up to the image's start are in it: they were pushed, and so applied, before the
//!   image began.
//! - An image is published only when the log is durable past all that it may hold.
//! - One image is written at a time.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use snapshot::{Disk, ImageInfo, ImageWriter, Lsn, prune};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::NodeInfo;
use super::log::{LogMode, LogState};
use super::mailbox::Control;
use crate::command::node::{SnapshotReply, SnapshotStats};
use crate::command::{Error, Outcome, Reply};
use crate::shard::core::SlotCapture;
use crate::types::ShardId;

/// Slots that a core captures for one question.
const SLOTS_A_SLICE: usize = 8;
/// Images kept.
const IMAGES_KEPT: usize = 2;
/// How often the thread looks whether a snapshot is due.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a core may take to answer before the snapshot is given up.
const CORE_PATIENCE: Duration = Duration::from_secs(60);

/// What the thread is asked.
pub enum SnapshotRequest {
    /// Take a snapshot and tell how it went.
    Take(oneshot::Sender<Outcome>),
    /// End.
    Stop,
}

/// When snapshots are taken without being asked for.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotPolicy {
    /// This long after the last one; never if absent.
    pub interval: Option<Duration>,
    /// When the log has grown by this many bytes, or by the size of the last image if that is more.
    pub log_bytes: u64,
}

/// How the snapshots of this run went.
#[derive(Debug, Default)]
pub struct SnapshotStatus {
    last_time: AtomicU64,
    last_bytes: AtomicU64,
    last_duration_ms: AtomicU64,
    taken: AtomicU64,
    failed: AtomicU64,
    running: AtomicU64,
}

impl SnapshotStatus {
    /// The figures.
    pub fn stats(&self) -> SnapshotStats {
        SnapshotStats {
            last_time: self.last_time.load(Ordering::Relaxed),
            last_bytes: self.last_bytes.load(Ordering::Relaxed),
            last_duration_ms: self.last_duration_ms.load(Ordering::Relaxed),
            taken: self.taken.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            running: self.running.load(Ordering::Relaxed),
        }
    }
}

/// Why there is no image.
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

/// The thread.
pub struct Snapshotter<D: Disk> {
    disk: D,
    dir: PathBuf,
    node_id: u64,
    node: Weak<NodeInfo>,
    requests: Receiver<SnapshotRequest>,
    policy: SnapshotPolicy,
    number: u64,
    last: Instant,
    /// Newest record when the last image began.
    last_start: Lsn,
    last_bytes: u64,
    log_bytes_then: u64,
}

impl<D: Disk> Snapshotter<D> {
    /// A snapshotter for `node`; `image` is the one that the start was made from.
    pub fn new(
        disk: D,
        node_id: u64,
        node: &Arc<NodeInfo>,
        requests: Receiver<SnapshotRequest>,
        policy: SnapshotPolicy,
        image: Option<&ImageInfo>,
    ) -> Self {
        Self {
            disk,
            dir: node.data_dir.clone(),
            node_id,
            node: Arc::downgrade(node),
            requests,
            policy,
            number: 0,
            last: Instant::now(),
            last_start: image.map_or(Lsn(0), |image| image.start_lsn),
            last_bytes: image.map_or(0, |image| image.bytes),
            log_bytes_then: 0,
        }
    }

    /// Runs until it is told to end, or the node is gone.
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
                // Told in the log and in `stats`; tried again when it is due again.
                drop(self.take(&node));
            }
        }
    }

    fn is_due(&self, node: &NodeInfo) -> bool {
        if node.log.tail() == self.last_start || node.log.state() != LogState::Ok {
            return false;
        }
        let grown = node.log.written_bytes().saturating_sub(self.log_bytes_then);
        self.policy.interval.is_some_and(|interval| self.last.elapsed() >= interval)
            || grown > self.policy.log_bytes.max(self.last_bytes)
    }

    /// Takes one snapshot.
    fn take(&mut self, node: &NodeInfo) -> Outcome {
        let started = Instant::now();
        node.snapshot_status.running.store(1, Ordering::Relaxed);
        self.number += 1;
        self.last = started;
        let log_bytes = node.log.written_bytes();
        let result = self.write_image(node);
        for shard in node.shards.all() {
            node.control(shard, Control::EndImage);
        }
        let status = &node.snapshot_status;
        status.running.store(0, Ordering::Relaxed);
        match result {
            Ok((image, records)) => {
                self.last_start = image.start_lsn;
                self.last_bytes = image.bytes;
                self.log_bytes_then = log_bytes;
                let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let now = u64::try_from(since_epoch.as_millis()).unwrap_or(0);
                status.last_time.store(now, Ordering::Relaxed);
                status.last_bytes.store(image.bytes, Ordering::Relaxed);
                status.last_duration_ms.store(duration_ms, Ordering::Relaxed);
                status.taken.fetch_add(1, Ordering::Relaxed);
                info!(path = %image.path.display(), bytes = image.bytes, records, duration_ms, "snapshot published");
                self.clean_up(node);
                let path = image.path.display().to_string();
                Ok(Reply::Snapshot(SnapshotReply { path, bytes: image.bytes, records }))
            }
            Err(error) => {
                status.failed.fetch_add(1, Ordering::Relaxed);
                warn!(%error, "no snapshot was taken; the log keeps everything");
                Err(Error::not_applied(&format!("no snapshot was taken: {error}")))
            }
        }
    }

    fn write_image(&self, node: &NodeInfo) -> Result<(ImageInfo, u64), SnapshotError> {
        let start = node.log.tail();
        let mut image = ImageWriter::create(&self.disk, &self.dir, self.node_id, start)?;
        for shard in node.shards.all() {
            node.control(shard, Control::BeginImage(self.number));
        }
        let mut records = 0;
        for shard in node.shards.all() {
            loop {
                let captures = capture(node, shard)?;
                if captures.is_empty() {
                    break;
                }
                for slot in captures {
                    records += slot.records();
                    slot.encode(&mut |block: &[u8]| image.block(block))?;
                }
            }
        }
        let end = node.log.tail();
        wait_durable(node, end)?;
        let image = if node.log.mode() == LogMode::Off {
            image.publish_without_log()?
        } else {
            image.publish(end)?
        };
        Ok((image, records))
    }

    /// Removes what the images that are kept do not need.
    fn clean_up(&self, node: &NodeInfo) {
        match prune(&self.disk, &self.dir, IMAGES_KEPT) {
            Ok(keep_from) => node.log.trim(keep_from),
            Err(error) => warn!(%error, "old images could not be removed"),
        }
    }
}

fn capture(node: &NodeInfo, shard: ShardId) -> Result<Vec<SlotCapture>, SnapshotError> {
    let (sender, receiver) = sync_channel(1);
    node.control(shard, Control::Capture(SLOTS_A_SLICE, sender));
    let deadline = Instant::now() + CORE_PATIENCE;
    loop {
        match receiver.recv_timeout(LOOK_INTERVAL) {
            Ok(captures) => return Ok(captures),
            Err(RecvTimeoutError::Timeout) if node.ended.load(Ordering::Acquire) => {
                return Err(SnapshotError::Ended);
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
            Err(_) => return Err(SnapshotError::Core(shard.0)),
        }
    }
}

/// Waits until the log is durable up to `lsn`.
fn wait_durable(node: &NodeInfo, lsn: Lsn) -> Result<(), SnapshotError> {
    while node.log.durable() < lsn {
        if node.log.state() == LogState::Poisoned || node.log.is_stopped() {
            return Err(SnapshotError::Log("the log can not be synced"));
        }
        node.log.sync_now();
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
