//! What other threads use of the snapshot thread: requests to it, and its figures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use crate::command::Outcome;
use crate::command::stats::SnapshotStats;

/// A request to the snapshot thread.
pub enum SnapshotRequest {
    /// Takes a snapshot, and sends its outcome.
    Take(oneshot::Sender<Outcome>),
    Stop,
}

/// Figures of the snapshots, for other threads.
#[derive(Debug, Default)]
pub struct SnapshotStatus {
    pub(super) last_time: AtomicU64,
    pub(super) last_bytes: AtomicU64,
    pub(super) last_duration_ms: AtomicU64,
    pub(super) taken: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) running: AtomicU64,
}

/// Milliseconds since the Unix epoch.
pub(super) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl SnapshotStatus {
    /// The age of the newest snapshot by the wall clock, in ms. `None` if there is none, or if its
    /// time is not known.
    pub(super) fn age_ms(&self) -> Option<u64> {
        let last = Some(self.last_time.load(Ordering::Relaxed)).filter(|time| *time > 0)?;
        Some(unix_ms(SystemTime::now()).saturating_sub(last))
    }

    /// The figures for `stats`.
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
