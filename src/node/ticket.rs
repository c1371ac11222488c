//! Who waits for an answer, and how it reaches them: a connection by its list of replies, a call by its
//! channel.
//!
//! Invariant: a ticket is told its outcome once, or dropped with the node.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::command::{Kind, Outcome};
use crate::metrics::Meter;
use crate::protocol::reply::STATUS_OK;

/// What is told to a connection.
#[derive(Debug)]
pub enum Told {
    /// What came of its request.
    Outcome(Outcome),
    /// The whole frame of a reply that is no error.
    Encoded(Bytes),
}

/// A reply for one connection.
#[derive(Debug)]
pub struct Ready {
    /// The request's id.
    pub request_id: u64,
    /// What came of it.
    pub told: Told,
    /// What its ticket was marked with.
    pub mark: u64,
}

/// Replies for one connection, in the order in which they became ready.
#[derive(Debug, Default)]
pub struct Replies {
    ready: RefCell<Vec<Ready>>,
    in_flight: Cell<usize>,
    bytes_in_flight: Cell<usize>,
    notify: Notify,
}

impl Replies {
    /// Takes what is ready.
    pub fn take(&self, into: &mut VecDeque<Ready>) {
        into.extend(self.ready.borrow_mut().drain(..));
    }

    /// Requests that have no reply yet, or whose reply was not taken.
    pub fn in_flight(&self) -> usize {
        self.in_flight.get() + self.ready.borrow().len()
    }

    /// Bytes of the requests that have no reply yet.
    pub fn bytes_in_flight(&self) -> usize {
        self.bytes_in_flight.get()
    }

    fn begin(&self, bytes: usize) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.bytes_in_flight.set(self.bytes_in_flight.get() + bytes);
    }

    fn end(&self, bytes: usize, ready: Ready) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        self.bytes_in_flight.set(self.bytes_in_flight.get().saturating_sub(bytes));
        self.add(ready);
    }

    /// Waits until replies are ready.
    pub async fn ready(&self) {
        self.notify.notified().await;
    }

    /// Adds a reply that needed no shard.
    pub fn push(&self, request_id: u64, outcome: Outcome) {
        self.add(Ready { request_id, told: Told::Outcome(outcome), mark: 0 });
    }

    fn add(&self, ready: Ready) {
        self.ready.borrow_mut().push(ready);
        self.notify.notify_one();
    }
}

/// A request of a connection, without what it asks.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Its id.
    pub id: u64,
    /// When it was read.
    pub started: Instant,
    /// What is kept of it until it is answered, in bytes as they came.
    pub bytes: usize,
}

/// What is needed to answer a caller.
pub struct Ticket {
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
    replies: Rc<Replies>,
    request_id: u64,
    bytes: usize,
    mark: u64,
}

impl Asking {
    fn end(self, told: Told) {
        let Self { replies, request_id, bytes, mark } = self;
        replies.end(bytes, Ready { request_id, told, mark });
    }
}

impl Ticket {
    /// A request of a connection; `mark` comes back with its reply.
    pub fn of_connection(replies: &Rc<Replies>, asked: Asked, kind: Kind, mark: u64) -> Self {
        let Asked { id: request_id, started, bytes } = asked;
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
                asking.end(Told::Outcome(outcome));
            }
            Caller::Call(sender) => {
                // A caller that went away needs no answer.
                drop(sender.send(outcome));
            }
        }
    }

    /// Tells a connection a reply whose frame is there already. A call is never answered so: it brought no
    /// bytes.
    pub(super) fn tell_encoded(self, frame: Bytes, now: Instant, tcp: &mut Meter) {
        if let Caller::Connection(asking) = self.caller {
            tcp.record(self.kind, STATUS_OK, now.saturating_duration_since(self.started));
            asking.end(Told::Encoded(frame));
        }
    }
}
