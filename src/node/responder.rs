//! Brings one reply to the caller that waits for it. A connection gets it through its reply queue,
//! a call through its channel.
//!
//! Invariant: a responder delivers exactly one outcome, unless it is dropped with the node.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::sync::{Notify, oneshot};

use crate::command::{Kind, Outcome};
use crate::metrics::Meter;
use crate::protocol::reply::STATUS_OK;

/// The body of a reply: an outcome to encode, or frames that are ready.
#[derive(Debug)]
pub enum ReplyBody {
    /// An outcome that the connection must still encode.
    Outcome {
        /// The id that the client gave the request.
        request_id: u64,
        /// The reply or the error.
        outcome: Outcome,
    },
    /// Whole frames of successful replies, one after the other.
    Frames {
        /// The frames as the client gets them.
        bytes: BytesMut,
        count: usize,
    },
}

/// One or more replies that a connection may send now.
#[derive(Debug)]
pub struct ReadyReply {
    /// The body to send.
    pub body: ReplyBody,
    /// The number that the connection gave with each of these requests: what it must know when they
    /// are answered.
    pub mark: u64,
}

impl ReadyReply {
    /// To how many requests this replies.
    pub fn count(&self) -> usize {
        match &self.body {
            ReplyBody::Outcome { .. } => 1,
            ReplyBody::Frames { count, .. } => *count,
        }
    }
}

/// The ready replies of one connection, in the order in which they became ready.
#[derive(Debug, Default)]
pub struct ReplyQueue {
    ready: RefCell<VecDeque<ReadyReply>>,
    in_flight: Cell<usize>,
    bytes_in_flight: Cell<usize>,
    notify: Notify,
}

impl ReplyQueue {
    /// Takes out the oldest ready reply. Its requests then count as no longer in flight.
    pub fn pop(&self) -> Option<ReadyReply> {
        let ready = self.ready.borrow_mut().pop_front()?;
        self.in_flight.set(self.in_flight.get().saturating_sub(ready.count()));
        Some(ready)
    }

    /// Calls `see` with each ready reply, and leaves it in the queue.
    pub fn for_each_ready(&self, see: impl FnMut(&mut ReadyReply)) {
        self.ready.borrow_mut().iter_mut().for_each(see);
    }

    /// Whether no reply is ready.
    pub fn is_empty(&self) -> bool {
        self.ready.borrow().is_empty()
    }

    /// How many requests have no reply yet, or a reply that is still in this queue.
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// How many bytes the requests without a reply have.
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

    /// Waits until a reply is ready.
    pub async fn ready(&self) {
        self.notify.notified().await;
    }

    /// Adds the reply to a request that needed no shard.
    pub fn push(&self, request_id: u64, outcome: Outcome) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.add(ReadyReply { body: ReplyBody::Outcome { request_id, outcome }, mark: 0 });
    }

    fn add(&self, ready: ReadyReply) {
        self.ready.borrow_mut().push_back(ready);
        self.notify.notify_one();
    }
}

/// What is kept of a request of a connection: all but its arguments.
#[derive(Debug, Clone, Copy)]
pub struct RequestInfo {
    /// The id that the client gave the request.
    pub id: u64,
    /// When the request was read. Its latency counts from here.
    pub started: Instant,
    /// How many bytes of the received request stay allocated until it has a reply.
    pub bytes: usize,
}

/// Delivers the outcome of one request to its caller.
pub struct Responder {
    kind: Kind,
    started: Instant,
    /// The append that confirms the reply; 0 if the reply waits for none.
    pub(super) confirmation: u64,
    caller: Caller,
}

enum Caller {
    Connection(Asking),
    Call(oneshot::Sender<Outcome>),
}

/// A request of a connection that has no reply yet.
struct Asking {
    replies: Rc<ReplyQueue>,
    request_id: u64,
    bytes: usize,
    mark: u64,
}

impl Asking {
    fn end(self, outcome: Outcome) {
        let Self { replies, request_id, bytes, mark } = self;
        replies.end(bytes, ReadyReply { body: ReplyBody::Outcome { request_id, outcome }, mark });
    }
}

impl Responder {
    /// A responder for a request of a connection. The number `mark` comes back with the reply.
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
        Self { kind, started, confirmation: 0, caller: Caller::Connection(asking) }
    }

    /// A responder for a call of another thread or task.
    pub fn of_call(kind: Kind, sender: oneshot::Sender<Outcome>) -> Self {
        let caller = Caller::Call(sender);
        Self { kind, started: Instant::now(), confirmation: 0, caller }
    }

    /// The kind of the request.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Delivers the outcome. Measures a request of a connection. A call is measured by the door
    /// that made it.
    pub(super) fn deliver(self, outcome: Outcome, status: u16, tcp: &mut Meter) {
        match self.caller {
            Caller::Connection(asking) => {
                tcp.record(self.kind, status, self.started.elapsed());
                asking.end(outcome);
            }
            Caller::Call(sender) => {
                // Sending fails if the caller has gone.
                drop(sender.send(outcome));
            }
        }
    }
}

/// Splits encoded replies among the connections that wait for them. Neighboring replies for one
/// connection enter its queue as one.
pub(super) struct ReplySplitter<'a> {
    frames: BytesMut,
    now: Instant,
    tcp: &'a mut Meter,
    run: Option<Run>,
}

/// Neighboring replies for one connection, at the front of `frames`.
struct Run {
    replies: Rc<ReplyQueue>,
    mark: u64,
    count: usize,
    /// How many bytes the requests have. `frame_bytes` counts the bytes of the replies.
    asked_bytes: usize,
    frame_bytes: usize,
}

impl<'a> ReplySplitter<'a> {
    pub(super) fn new(frames: BytesMut, tcp: &'a mut Meter) -> Self {
        Self { frames, now: Instant::now(), tcp, run: None }
    }

    /// Assigns the next `bytes` bytes to `responder`. Drops them if there is none, or if it is the
    /// responder of a call, which has no queue.
    pub(super) fn next(&mut self, responder: Option<Responder>, bytes: usize) {
        let Some(Responder { kind, started, caller: Caller::Connection(asking), .. }) = responder
        else {
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

    /// Delivers the replies that are still gathered.
    pub(super) fn finish(mut self) {
        self.end_run();
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        let bytes = match run.frame_bytes < self.frames.len() {
            true => self.frames.split_to(run.frame_bytes),
            false => std::mem::take(&mut self.frames),
        };
        let body = ReplyBody::Frames { bytes, count: run.count };
        run.replies.end(run.asked_bytes, ReadyReply { body, mark: run.mark });
    }
}
