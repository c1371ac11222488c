//! The thread of probes: a node that decides writes a digest of one slot a second into the log, and
//! whoever replays the log compares it with its own state.
//!
//! The cores capture slots ([`crate::shard::machine::SlotCapture`]), and this thread hashes the
//! captures, so a probe holds a core no longer than a snapshot does. It also says when the next
//! slot is due, while this node may write.
//!
//! Invariant: a node whose log gets nothing but probes pauses when it has probed every slot, so that
//! it comes to rest. Else it would take snapshots of a store that stands still, and a start would
//! compare its slots again and again.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use snapshot::Lsn;

use super::info::NodeInfo;
use super::mailbox::Control;
use super::probes::ProbeJob;
use crate::limits::SLOTS;
use crate::types::ShardId;

/// Time between two probes.
const INTERVAL: Duration = Duration::from_secs(1);
/// Records of one probe.
const RECORDS: u64 = 2;

/// The thread that hashes captures, and says which core probes its next slot.
pub struct Prober {
    node: Weak<NodeInfo>,
    jobs: Receiver<ProbeJob>,
    /// The core that is next.
    next: ShardId,
    due: Instant,
    /// The newest record before the last probe began.
    tail: Lsn,
    /// Probes in a row beside which the log got nothing.
    idle_probes: u16,
}

impl Prober {
    /// The prober of a node.
    pub fn new(node: &Arc<NodeInfo>, jobs: Receiver<ProbeJob>) -> Self {
        Self {
            node: Arc::downgrade(node),
            jobs,
            next: ShardId(0),
            due: Instant::now(),
            tail: Lsn(0),
            idle_probes: 0,
        }
    }

    /// Runs until the node is gone.
    pub fn run(mut self) {
        loop {
            let left = self.due.saturating_duration_since(Instant::now());
            match self.jobs.recv_timeout(left) {
                Ok(job) => self.hash(job),
                Err(RecvTimeoutError::Timeout) => {
                    let Some(node) = self.node.upgrade() else { return };
                    self.due = Instant::now() + INTERVAL;
                    self.begin(&node);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Hashes a capture, and gives the digest to its core.
    fn hash(&self, job: ProbeJob) {
        let ProbeJob { shard, capture } = job;
        let digest = capture.digest();
        drop(capture);
        if let Some(node) = self.node.upgrade() {
            node.control(shard, Control::Probed(digest));
        }
    }

    /// Hashes the next capture, if one waits.
    #[cfg(feature = "internals")]
    pub fn hash_next(&self) -> bool {
        let job = self.jobs.try_recv();
        job.map(|job| self.hash(job)).is_ok()
    }

    /// Begins the next probe, if this node may write and does not stand still.
    pub fn begin(&mut self, node: &NodeInfo) {
        let tail = node.log.tail();
        let was_idle = tail.0 == self.tail.0.saturating_add(RECORDS);
        self.idle_probes = if was_idle { self.idle_probes } else { 0 };
        if self.idle_probes >= SLOTS || !node.may_probe() {
            return;
        }
        node.control(self.next, Control::Probe);
        self.next = ShardId((self.next.0 + 1) % node.shards.get());
        self.tail = tail;
        self.idle_probes += 1;
    }
}
