//! What other threads use of the snapshot thread: requests to it, and its figures.

use std::sync::atomic::{AtomicU64, Ordering};

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

impl SnapshotStatus {
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
