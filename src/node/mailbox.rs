//! The queues that other threads fill and one worker empties.
//!
//! Contract:
//! - There are two lanes: messages of other cores, and requests of the node. Neither ever refuses
//!   or blocks, so cores cannot wait for each other in a circle. They are still bounded by what
//!   clients may bring in: a core has at most [`crate::limits::CROSS_CORE_MAX`] commands under way,
//!   and each of these has few messages out at a time.
//! - A lane is one queue for all senders, first in, first out. A core fills the lanes in an order
//!   that keeps causes before effects. So no message that a later request of a connection caused
//!   overtakes an earlier request of that connection for a user's row.
//! - Any thread may call [`Mailbox::wake`], any number of times; the core wakes once.
//! - A mailbox is never closed; after a stop nobody reads it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam::channel::Sender;
use crossbeam::queue::SegQueue;
use crossbeam::utils::CachePadded;
use tokio::sync::{Notify, oneshot};

use super::frame_batch::FrameBatch;
use crate::command::stats::ShardStats;
use crate::command::{Command, Outcome};
use crate::metrics::{Meter, Turns};
use crate::shard::core::SlotCapture;
use crate::shard::op::{Answer, Envelope, Op, ReplyTo};
use crate::types::ShardId;

/// What one core sends another.
#[derive(Debug)]
pub enum PeerMessage {
    /// An operation to run; its answer goes to the router that `ReplyTo` names.
    Request(ReplyTo, Op),
    /// The answer to an operation.
    Answer(ReplyTo, Answer),
    /// Fast-path requests to answer, as the bytes that the client sent.
    Requests(FrameBatch),
    /// The encoded replies to some of those requests.
    Replies(FrameBatch),
    /// A message from shard to shard.
    Message(Envelope),
}

/// A request of the node to a core.
pub enum Control {
    /// Run this on the core's thread; [`super::worker::on_core`] makes one.
    Run(Box<dyn FnOnce() + Send>),
    /// Run a command and send its outcome.
    Call(Command, oneshot::Sender<Outcome>),
    /// Begin the snapshot of this number.
    BeginSnapshot(u64),
    /// Capture the next slots for the snapshot, at most this many. An empty vector means that all
    /// slots were captured.
    Capture(usize, Sender<Vec<SlotCapture>>),
    /// End the snapshot that is under way.
    EndSnapshot,
    /// Send the figures of this core.
    WorkerReport(oneshot::Sender<WorkerReport>),
    /// Answer as soon as no work is under way.
    Drain(oneshot::Sender<()>),
}

/// The figures of a core for `stats` and metrics.
#[derive(Debug, Clone)]
pub struct WorkerReport {
    /// The counts of the shard.
    pub shard: ShardStats,
    /// Requests of connections; calls are measured by the door that makes them.
    pub tcp: Meter,
    /// How long tasks held the core, turn by turn.
    pub turns: Turns,
}

/// Delivers batches later than they are sent, for the simulation, where nothing takes time. The
/// batches of one core must be delivered in the order in which they were sent, across all
/// mailboxes.
pub trait Courier: Send + Sync {
    /// Accepts a batch of the core `from`; a call of [`Mailbox::bring`] must follow.
    fn carry(&self, from: ShardId, batch: Vec<PeerMessage>);
}

/// The two lanes of a core, and the counters that other threads read.
#[derive(Default)]
pub struct Mailbox {
    courier: Option<Box<dyn Courier>>,
    /// Batches of messages from other cores.
    pub peers: SegQueue<Vec<PeerMessage>>,
    /// Requests of the node.
    pub control: SegQueue<Control>,
    /// Open TCP connections that this core serves.
    pub connections: AtomicUsize,
    /// Requests that this core replied to, errors included.
    pub answered: AtomicU64,
    /// Error replies among them.
    pub errors: AtomicU64,
    // Other threads write or read these, so they do not share a cache line with the core's
    // counters.
    notify: CachePadded<Notify>,
    waits_for_log: CachePadded<AtomicBool>,
}

impl Mailbox {
    /// A mailbox to which `courier` delivers what is sent.
    #[cfg(feature = "internals")]
    pub fn behind(courier: Box<dyn Courier>) -> Self {
        Self { courier: Some(courier), ..Self::default() }
    }

    /// Accepts a batch of the core `from`, for immediate delivery or for the courier.
    pub fn send(&self, from: ShardId, batch: Vec<PeerMessage>) {
        match &self.courier {
            None => self.bring(batch),
            Some(courier) => courier.carry(from, batch),
        }
    }

    /// Adds a batch to the lane of the cores, and wakes the core.
    pub fn bring(&self, batch: Vec<PeerMessage>) {
        self.peers.push(batch);
        self.wake();
    }

    /// Counts one reply. Only the core itself may call this, as it does not add atomically.
    pub fn count(&self, is_error: bool) {
        self.count_many(1);
        if is_error {
            self.errors.store(self.errors.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Counts replies that are not errors. Only the core itself may call this.
    pub fn count_many(&self, count: u64) {
        self.answered.store(self.answered.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    /// Wakes the core, now or when it waits next.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    /// Waits until [`Self::wake`] is called.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Whether the core holds replies that wait for the log.
    pub fn waits_for_log(&self) -> bool {
        self.waits_for_log.load(Ordering::SeqCst)
    }

    /// Sets whether the log wakes this core when it moves.
    pub fn set_waits_for_log(&self, waits: bool) {
        self.waits_for_log.store(waits, Ordering::SeqCst);
    }
}
