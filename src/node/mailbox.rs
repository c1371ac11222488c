//! What other threads put before a core.
//!
//! Contract:
//! - Two lanes: what other cores send, and what the node asks. Neither ever refuses or blocks, so
//!   that cores cannot wait for each other in a circle. They are bounded all the same, by what
//!   clients may bring in: a core has at most [`crate::limits::CROSS_CORE_MAX`] commands under way,
//!   each of which has few messages out at a time.
//! - A lane is one queue for all senders: what was put in before is taken out before. A core puts what it
//!   sends into the lanes in an order that keeps causes before effects. So a request for a user's row
//!   cannot be overtaken by a message that a later request of the same connection caused.
//! - [`Mailbox::wake`] may be called by anyone, any number of times; the core wakes once.
//! - A mailbox is never closed; after a stop nobody reads it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

use crossbeam::queue::SegQueue;
use crossbeam::utils::CachePadded;
use tokio::sync::{Notify, oneshot};

use super::worker::fast_path::FrameBatch;
use super::worker::{Local, WorkerReport};
use crate::command::{Command, Outcome};
use crate::shard::core::SlotCapture;
use crate::shard::op::{Answer, Envelope, Op, ReplyTo};
use crate::types::ShardId;

/// What one core sends another.
#[derive(Debug)]
pub enum PeerMessage {
    /// Run this and answer.
    Request(ReplyTo, Op),
    /// The answer to an op.
    Answer(ReplyTo, Answer),
    /// Answer these.
    Requests(FrameBatch),
    /// The replies to some of these.
    Replies(FrameBatch),
    /// From shard to shard.
    Message(Envelope),
}

/// What the node asks of a core.
pub enum Control {
    /// Serve this connection.
    Connection(Box<dyn FnOnce(&Local) + Send>),
    /// Run a command and tell the outcome.
    Call(Command, oneshot::Sender<Outcome>),
    /// Begin this image.
    BeginImage(u64),
    /// Give the next slots of the image under way, at most so many; an empty answer is the end.
    Capture(usize, SyncSender<Vec<SlotCapture>>),
    /// Give the image under way up.
    EndImage,
    /// Tell your figures.
    WorkerReport(oneshot::Sender<WorkerReport>),
    /// Tell when nothing is under way.
    Drain(oneshot::Sender<()>),
}

/// Brings batches to a mailbox later than they are sent: for the simulation, where nothing takes time.
/// What one core sends must be brought in the order in which it was sent, to whichever mailboxes.
pub trait Courier: Send + Sync {
    /// Takes a batch of the core `from`; [`Mailbox::bring`] must follow.
    fn carry(&self, from: ShardId, batch: Vec<PeerMessage>);
}

/// A core's mailbox.
#[derive(Default)]
pub struct Mailbox {
    courier: Option<Box<dyn Courier>>,
    /// What other cores sent.
    pub peers: SegQueue<Vec<PeerMessage>>,
    /// The node's own.
    pub control: SegQueue<Control>,
    /// Connections that this core serves.
    pub connections: AtomicUsize,
    /// Requests that this core answered.
    pub answered: AtomicU64,
    /// Errors among them.
    pub errors: AtomicU64,
    // Other threads write or read these: apart from what only the core counts.
    notify: CachePadded<Notify>,
    waits_for_log: CachePadded<AtomicBool>,
}

impl Mailbox {
    /// A mailbox to which a courier brings what is sent.
    pub fn behind(courier: Box<dyn Courier>) -> Self {
        Self { courier: Some(courier), ..Self::default() }
    }

    /// Takes what the core `from` sends.
    pub fn send(&self, from: ShardId, batch: Vec<PeerMessage>) {
        match &self.courier {
            None => self.bring(batch),
            Some(courier) => courier.carry(from, batch),
        }
    }

    /// Puts a batch before the core, and wakes it.
    pub fn bring(&self, batch: Vec<PeerMessage>) {
        self.peers.push(batch);
        self.wake();
    }

    /// Counts an answered request. Only the core itself does.
    pub fn count(&self, is_error: bool) {
        self.count_many(1);
        if is_error {
            self.errors.store(self.errors.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Counts answered requests, errors among them apart.
    pub fn count_many(&self, count: u64) {
        self.answered.store(self.answered.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    /// Makes the core look.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    /// Waits until woken.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Whether the core holds answers that wait for the log.
    pub fn waits_for_log(&self) -> bool {
        self.waits_for_log.load(Ordering::SeqCst)
    }

    /// Says so.
    pub fn set_waits_for_log(&self, waits: bool) {
        self.waits_for_log.store(waits, Ordering::SeqCst);
    }
}
