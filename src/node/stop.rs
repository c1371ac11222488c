//! Stops a node: the cores finish their work, the log gets its end mark, and all threads end.
//!
//! Invariant: after a stop, every request that was read has a reply, and the log has its end mark.
//! If a stop cannot reach this, it logs a warning or returns an error.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::error::NodeError;
use super::info::NodeInfo;
use super::log::LogMode;
use super::mailbox::Control;
use super::snapshot_requests::SnapshotRequest;
use super::start::Node;

/// How long a stop waits for connections to close, and then for the cores to finish.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a demoted member tells its clients what became of their requests.
const DEMOTION_PATIENCE: Duration = Duration::from_millis(200);

impl Node {
    /// Waits until the cores have finished, closes the log, and ends all threads.
    ///
    /// # Errors
    /// If data was not saved, if the log could not be closed, or if a thread panicked.
    pub async fn stop(self) -> Result<(), NodeError> {
        if tokio::time::timeout(STOP_TIMEOUT, drain(&self.info)).await.is_err() {
            warn!("some requests could not be finished; they were never acknowledged");
        }
        let saved = match self.info.log.mode() {
            LogMode::Off => self.info.snapshot().await.map(drop).map_err(|error| error.to_string()),
            LogMode::Always | LogMode::EverySec | LogMode::Never | LogMode::Journal => Ok(()),
        };
        let log = Arc::clone(&self.info.log);
        let Ended { closed, panicked } = self.end_threads().await;
        saved.map_err(NodeError::Unsaved)?;
        match log.dropped() {
            0 => {}
            records => return Err(NodeError::Dropped(records)),
        }
        if !closed {
            return Err(NodeError::Unclosed);
        }
        if let Some(thread) = panicked {
            return Err(NodeError::Panicked(thread));
        }
        info!("stopped cleanly");
        Ok(())
    }

    /// Ends a member that is not the active any more, or whose disk failed, so that it recovers.
    /// Requests that wait for the log get the error that their outcome is unknown, and connections
    /// close.
    ///
    /// # Errors
    /// If a thread panicked.
    pub async fn demote(self) -> Result<(), NodeError> {
        drop(tokio::time::timeout(DEMOTION_PATIENCE, drain(&self.info)).await);
        match self.end_threads().await.panicked {
            Some(thread) => Err(NodeError::Panicked(thread)),
            None => Ok(()),
        }
    }

    async fn end_threads(self) -> Ended {
        self.info.ended.store(true, Ordering::Release);
        self.end.send_replace(true);
        let mut panicked = join_all(self.cores).await.then_some("core");
        self.info.log.stop();
        let closed = match self.log {
            Some(thread) => join(thread).await.unwrap_or(false),
            None => true,
        };
        self.info.watch.stop();
        if join(self.watch).await.is_none() {
            panicked = Some("watch");
        }
        // The snapshot thread first ends a snapshot under way. That one may fail, because the log
        // is closed.
        drop(self.info.snapshots.send(SnapshotRequest::Stop));
        if join(self.snapshotter).await.is_none() {
            panicked = Some("snapshot");
        }
        Ended { closed, panicked }
    }
}

/// How the threads of a node ended.
struct Ended {
    /// The log has its end mark.
    closed: bool,
    /// A thread that panicked.
    panicked: Option<&'static str>,
}

/// Waits until no core has work under way.
async fn drain(info: &NodeInfo) {
    for shard in info.shards.all() {
        let (sender, receiver) = oneshot::channel();
        info.control(shard, Control::Drain(sender));
        drop(receiver.await);
    }
}

/// Waits for all threads. Returns whether one of them panicked.
async fn join_all(threads: Vec<JoinHandle<()>>) -> bool {
    let mut panicked = false;
    for thread in threads {
        panicked |= join(thread).await.is_none();
    }
    panicked
}

/// Waits for a thread to end, without blocking this one. `None` if the thread panicked.
async fn join<T: Send + 'static>(thread: JoinHandle<T>) -> Option<T> {
    tokio::task::spawn_blocking(move || thread.join().ok()).await.ok().flatten()
}
