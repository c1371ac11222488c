//! Who waits for an answer, and how it reaches them: a connection by its list of replies, a call by its
//! channel.
//!
//! Invariant: a ticket is told its outcome once, or dropped with the node.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::sync::{Notify, oneshot};

use crate::command::{Kind, Outcome};
use crate::metrics::Meter;
use crate::protocol::reply::STATUS_OK;

/// What is told to a connection.
#[derive(Debug)]
pub enum ReplyBody {
    /// What came of a request.
    Outcome {
        /// The request's id.
        request_id: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// Whole frames of replies that are no errors, one behind the other.
    Frames {
        /// The frames.
        bytes: BytesMut,
        /// How many they are.
        count: usize,
    },
}

/// A reply for one connection, or several.
#[derive(Debug)]
pub struct ReadyReply {
    /// What is told.
    pub told: ReplyBody,
    /// What the ticket of each was marked with.
    pub mark: u64,
}

impl ReadyReply {
    /// To how many requests it is.
    pub fn count(&self) -> usize {
        match &self.told {
            ReplyBody::Outcome { .. } => 1,
            ReplyBody::Frames { count, .. } => *count,
        }
    }
}

/// Replies for one connection, in the order in which they became ready.
#[derive(Debug, Default)]
pub struct ReplyQueue {
    ready: RefCell<VecDeque<ReadyReply>>,
    in_flight: Cell<usize>,
    bytes_in_flight: Cell<usize>,
    notify: Notify,
}

impl ReplyQueue {
    /// Takes the next that is ready.
    pub fn pop(&self) -> Option<ReadyReply> {
        let ready = self.ready.borrow_mut().pop_front()?;
        self.in_flight.set(self.in_flight.get().saturating_sub(ready.count()));
        Some(ready)
    }

    /// Calls `see` with each that is ready.
    pub fn for_each_ready(&self, see: impl FnMut(&mut ReadyReply)) {
        self.ready.borrow_mut().iter_mut().for_each(see);
    }

    /// Whether none is ready.
    pub fn is_empty(&self) -> bool {
        self.ready.borrow().is_empty()
    }

    /// Requests that have no reply yet, or whose reply was not taken.
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Bytes of the requests that have no reply yet.
    pub fn bytes_in_flight(&self) -> usize {
        self.bytes_in_flight.get()
    }

    fn begin(&self, bytes: usize) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.bytes_in_flight.set(self.bytes_in_flight.get() + bytes);
    }

    fn end(&self, bytes: usize, ready: ReadyReply) {
        self.bytes_in_flight.set(self.bytes_in_flight.get().saturating_sub(bytes));
        self.add(ready);
    }

    /// Waits until replies are ready.
    pub async fn ready(&self) {
        self.notify.notified().await;
    }

    /// Adds a reply that needed no shard.
    pub fn push(&self, request_id: u64, outcome: Outcome) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.add(ReadyReply { told: ReplyBody::Outcome { request_id, outcome }, mark: 0 });
    }

    fn add(&self, ready: ReadyReply) {
        self.ready.borrow_mut().push_back(ready);
        self.notify.notify_one();
    }
}

/// A request of a connection, without what it asks.
#[derive(Debug, Clone, Copy)]
pub struct RequestInfo {
    /// Its id.
    pub id: u64,
    /// When it was read.
    pub started: Instant,
    /// What is kept of it until it is answered, in bytes as they came.
    pub bytes: usize,
}

/// What is needed to answer a caller.
pub struct Responder {
    kind: Kind,
    started: Instant,
    caller: Caller,
}

enum Caller {
    Connection(Asking),
    Call(oneshot::Sender<Outcome>),
}

/// A request of a connection, until it is answered.
struct Asking {
    replies: Rc<ReplyQueue>,
    request_id: u64,
    bytes: usize,
    mark: u64,
}

impl Asking {
    fn end(self, outcome: Outcome) {
        let Self { replies, request_id, bytes, mark } = self;
        replies.end(bytes, ReadyReply { told: ReplyBody::Outcome { request_id, outcome }, mark });
    }
}

impl Responder {
    /// A request of a connection; `mark` comes back with its reply.
    pub fn of_connection(
        replies: &Rc<ReplyQueue>,
        asked: RequestInfo,
        kind: Kind,
        mark: u64,
    ) -> Self {
        let RequestInfo { id: request_id, started, bytes } = asked;
        replies.begin(bytes);
        let replies = Rc::clone(replies);
        let asking = Asking { replies, request_id, bytes, mark };
        Self { kind, started, caller: Caller::Connection(asking) }
    }

    /// A call from another thread or task.
    pub fn of_call(kind: Kind, sender: oneshot::Sender<Outcome>) -> Self {
        Self { kind, started: Instant::now(), caller: Caller::Call(sender) }
    }

    /// Tells the caller what came of it. A connection's request is counted; a call is measured by the door that
    /// made it.
    pub(super) fn tell(self, outcome: Outcome, status: u16, tcp: &mut Meter) {
        match self.caller {
            Caller::Connection(asking) => {
                tcp.record(self.kind, status, self.started.elapsed());
                asking.end(outcome);
            }
            Caller::Call(sender) => {
                // A caller that went away needs no answer.
                drop(sender.send(outcome));
            }
        }
    }
}

/// Replies whose frames are there already, one behind the other, on their way to those who asked. Those of
/// one connection that follow each other are told at once.
pub(super) struct ReplySplitter<'a> {
    frames: BytesMut,
    now: Instant,
    tcp: &'a mut Meter,
    run: Option<Run>,
}

/// Replies for one connection at the front of all.
struct Run {
    replies: Rc<ReplyQueue>,
    mark: u64,
    count: usize,
    /// Bytes of the requests, and of the frames.
    asked_bytes: usize,
    frame_bytes: usize,
}

impl<'a> ReplySplitter<'a> {
    pub(super) fn new(frames: BytesMut, tcp: &'a mut Meter) -> Self {
        Self { frames, now: Instant::now(), tcp, run: None }
    }

    /// The next frame, of so many bytes, is for this ticket. One without a ticket is nobody's, nor is a call's:
    /// it brought no bytes.
    pub(super) fn next(&mut self, ticket: Option<Responder>, bytes: usize) {
        let Some(Responder { kind, started, caller: Caller::Connection(asking) }) = ticket else {
            self.end_run();
            self.frames.advance(bytes.min(self.frames.len()));
            return;
        };
        self.tcp.record(kind, STATUS_OK, self.now.saturating_duration_since(started));
        let Asking { replies, bytes: asked_bytes, mark, .. } = asking;
        match &mut self.run {
            Some(run) if Rc::ptr_eq(&run.replies, &replies) && run.mark == mark => {
                run.count += 1;
                run.asked_bytes += asked_bytes;
                run.frame_bytes += bytes;
            }
            _ => {
                self.end_run();
                self.run = Some(Run { replies, mark, count: 1, asked_bytes, frame_bytes: bytes });
            }
        }
    }

    /// Tells what is left.
    pub(super) fn finish(mut self) {
        self.end_run();
    }

    /// Tells the replies of the run.
    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        let bytes = match run.frame_bytes < self.frames.len() {
            true => self.frames.split_to(run.frame_bytes),
            false => std::mem::take(&mut self.frames),
        };
        let told = ReplyBody::Frames { bytes, count: run.count };
        run.replies.end(run.asked_bytes, ReadyReply { told, mark: run.mark });
    }
}
