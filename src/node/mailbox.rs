//! The queues that other threads fill and one worker empties.
//!
//! Contract:
//! - A mailbox has two queues: messages of other cores, and requests of the node. A queue never
//!   refuses and never blocks, so cores cannot wait for each other in a circle.
//! - Clients bound the queues: a core has at most [`crate::limits::CROSS_CORE_MAX`] commands under
//!   way, and each of them has few messages under way.
//! - All senders share one queue, first in, first out. Cores fill it so that causes come before
//!   effects. So no message that a later request of a connection causes overtakes an earlier
//!   request of that connection for a row.
//! - Any thread may call [`Mailbox::wake`] at any time. Several calls wake the core once.
//! - A mailbox is never closed. After a stop nobody reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam::channel::Sender;
use crossbeam::queue::SegQueue;
use crossbeam::utils::CachePadded;
use snapshot::{Batch, Lsn};
use tokio::sync::{Notify, oneshot};

use super::frame_batch::FrameBatch;
use crate::command::stats::ShardStats;
use crate::command::{Command, Outcome};
use crate::metrics::{Meter, Turns};
use crate::shard::machine::{SlotCapture, SlotDigest};
use crate::shard::op::{Answer, Envelope, Op, ReplyTo};
use crate::types::ShardId;

/// What one core sends to another.
#[derive(Debug)]
pub enum PeerMessage {
    /// An operation to run. Its answer goes to the router that `ReplyTo` names.
    Operation(ReplyTo, Op),
    /// The answer to an operation.
    Answer(ReplyTo, Answer),
    /// Requests on the fast path, as the bytes that the clients sent.
    Requests(FrameBatch),
    /// The encoded replies to some of such requests.
    Replies(FrameBatch),
    /// A message from shard to shard.
    Message(Envelope),
}

/// What the node asks of a core.
pub enum Control {
    /// Runs a task on the core's thread. [`super::worker::on_core`] makes one.
    Run(Box<dyn FnOnce() + Send>),
    /// Runs a command, and sends its outcome.
    Call(Command, oneshot::Sender<Outcome>),
    /// Begins the snapshot with this number.
    BeginSnapshot(u64),
    /// Captures the next slots for the snapshot, until they have so many heads, and sends them.
    /// Sends an empty vector after the last slot.
    Capture(usize, Sender<Vec<SlotCapture>>),
    /// Applies those records of a batch that belong to this core. The LSN is that of the first one.
    Replay(Lsn, Arc<Batch>),
    /// Ends the present snapshot.
    EndSnapshot,
    /// Begins a probe of the next slot of the core.
    Probe,
    /// The digest of a slot that the core has captured.
    Probed(SlotDigest),
    /// Sends the figures of the core.
    WorkerReport(oneshot::Sender<WorkerReport>),
    /// Replies as soon as the core has no work under way.
    Drain(oneshot::Sender<()>),
}

/// The figures of a core, for `stats` and metrics.
#[derive(Debug, Clone)]
pub struct WorkerReport {
    /// The counts of the core's shard.
    pub shard: ShardStats,
    /// Requests of TCP connections. The door that makes a call measures it.
    pub tcp: Meter,
    /// How long turns of tasks kept the core busy.
    pub turns: Turns,
}

/// Delivers batches later than they were sent. The simulation uses it, because nothing takes time
/// there. Batches of one core must arrive in the order in which they were sent, over all mailboxes.
pub trait Courier: Send + Sync {
    /// Takes a batch that the core `from` sends. [`Mailbox::bring`] must deliver it later.
    fn carry(&self, from: ShardId, batch: Vec<PeerMessage>);
}

/// The two queues of a core, and figures of the core that other threads read.
#[derive(Default)]
pub struct Mailbox {
    courier: Option<Box<dyn Courier>>,
    /// What other cores have sent, in batches.
    pub peers: SegQueue<Vec<PeerMessage>>,
    /// What the node asks of this core.
    pub control: SegQueue<Control>,
    /// How many TCP connections this core serves.
    pub connections: AtomicUsize,
    /// How many requests this core replied to, with errors.
    pub answered: AtomicU64,
    /// How many of these replies were errors.
    pub errors: AtomicU64,
    /// On a standby, the last LSN up to which this core has applied its records.
    pub applied: AtomicU64,
    // Other threads use these often. So they have cache lines of their own, apart from the counters
    // of the core.
    notify: CachePadded<Notify>,
    waits_for_log: CachePadded<AtomicBool>,
}

impl Mailbox {
    /// A mailbox whose batches go through `courier`.
    #[cfg(feature = "internals")]
    pub fn behind(courier: Box<dyn Courier>) -> Self {
        Self { courier: Some(courier), ..Self::default() }
    }

    /// Takes a batch of the core `from`. Delivers it at once, or gives it to the courier.
    pub fn send(&self, from: ShardId, batch: Vec<PeerMessage>) {
        match &self.courier {
            None => self.bring(batch),
            Some(courier) => courier.carry(from, batch),
        }
    }

    /// Adds a batch of another core to the queue, and wakes this mailbox's core.
    pub fn bring(&self, batch: Vec<PeerMessage>) {
        self.peers.push(batch);
        self.wake();
    }

    /// Counts one reply. Only the core itself may call this, because the addition is not atomic.
    pub fn count(&self, is_error: bool) {
        self.count_many(1);
        if is_error {
            self.errors.store(self.errors.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Counts replies that are no errors. Only the core itself may call this.
    pub fn count_many(&self, count: u64) {
        self.answered.store(self.answered.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    /// Wakes the core. A core that does not wait now wakes when it next waits.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    /// Waits for a call of [`Self::wake`].
    pub async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Whether the core holds replies back until the log moves.
    pub fn waits_for_log(&self) -> bool {
        self.waits_for_log.load(Ordering::SeqCst)
    }

    /// Sets whether the log must wake this core when it moves.
    pub fn set_waits_for_log(&self, waits: bool) {
        self.waits_for_log.store(waits, Ordering::SeqCst);
    }
}
