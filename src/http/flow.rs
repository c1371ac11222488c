//! Bounds the answers that a client has not read, and how long the server waits for the client.
//!
//! Invariants:
//! - While [`UNSENT_BYTES_MAX`] bytes of answers are unsent, no further request of the connection
//!   runs. So a connection holds at most that, and one more answer.
//! - A client that takes less than [`PROGRESS_BYTES`] within [`WRITE_TIMEOUT_MS`] is dropped.
//! - Unsent answers count in a budget of the node while the socket takes nothing. Long answers
//!   count from the moment at which they are made. If the budget is used up, the client that has
//!   not read for the longest time is dropped. If none may be dropped yet, an error replaces the
//!   long answer.
//! - A client that reads its answers costs no lock and no timer.
//! - A client that reads a long answer as fast as it is sent does not block the worker: after
//!   [`TURN_BYTES`] other connections get their turn.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::admission::{Budget, BudgetHold};
use crate::limits::{HTTP_UNSENT_BYTES_FREE, PROGRESS_BYTES, UNSENT_BYTES_MAX, WRITE_TIMEOUT_MS};
use crate::metrics::doors::Dropped;

/// Bytes that a connection writes before other connections get their turn. The kernel copies that
/// much in about 50 µs.
const TURN_BYTES: usize = 128 << 10;

/// The unsent answers of one connection, shared by the code that makes them and by the socket.
#[derive(Clone)]
pub(super) struct Flow(Rc<State>);

struct State {
    budget: Arc<Budget>,
    unsent: Cell<usize>,
    /// Bytes that this connection has written in this turn.
    in_turn: Cell<usize>,
    /// Bytes that the client took since it last took [`PROGRESS_BYTES`].
    taken: Cell<usize>,
    hold: RefCell<Option<BudgetHold>>,
    /// Wakes the request that waits in [`Flow::room`].
    waiting: RefCell<Option<Waker>>,
    dropped: Cell<Option<Dropped>>,
}

impl Flow {
    /// Begins a connection that has nothing unsent. `budget` is that of the node, for all
    /// connections.
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self(Rc::new(State {
            budget,
            unsent: Cell::new(0),
            in_turn: Cell::new(0),
            taken: Cell::new(0),
            hold: RefCell::default(),
            waiting: RefCell::default(),
            dropped: Cell::new(None),
        }))
    }

    /// Drives `serving`, the future that serves the connection. Each poll of it is a new turn.
    pub(super) async fn in_turns<F: Future>(&self, mut serving: Pin<&mut F>) -> F::Output {
        poll_fn(|context| {
            self.0.in_turn.set(0);
            serving.as_mut().poll(context)
        })
        .await
    }

    /// Waits until less than [`UNSENT_BYTES_MAX`] bytes of answers are unsent.
    pub(super) async fn room(&self) {
        poll_fn(|context| {
            if self.0.unsent.get() < UNSENT_BYTES_MAX {
                return Poll::Ready(());
            }
            *self.0.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Counts a new answer of `bytes` bytes as unsent. Returns false if it is long and the budget
    /// has no room for it.
    pub(super) fn admit(&self, bytes: usize) -> bool {
        let unsent = self.0.unsent.get().saturating_add(bytes);
        if bytes > HTTP_UNSENT_BYTES_FREE {
            let mut hold = self.0.hold.borrow_mut();
            let has_room = match hold.as_mut() {
                Some(hold) => hold.resize(unsent),
                None => {
                    *hold = self.0.budget.hold(unsent);
                    hold.is_some()
                }
            };
            if !has_room {
                return false;
            }
        }
        self.0.unsent.set(unsent);
        true
    }

    /// Why this module dropped the connection; `None` if it did not.
    pub(super) fn dropped(&self) -> Option<Dropped> {
        self.0.dropped.get()
    }

    fn took(&self, bytes: usize) -> bool {
        let unsent = self.0.unsent.get().saturating_sub(bytes);
        self.0.unsent.set(unsent);
        if unsent < UNSENT_BYTES_MAX
            && let Some(waiting) = self.0.waiting.borrow_mut().take()
        {
            waiting.wake();
        }
        let taken = self.0.taken.get() + bytes;
        let is_progress = taken >= PROGRESS_BYTES;
        self.0.taken.set(if is_progress { 0 } else { taken });
        if is_progress && let Some(hold) = self.0.hold.borrow_mut().as_mut() {
            hold.resize(unsent);
            hold.renew();
        }
        is_progress
    }

    /// Notes that the socket has taken all bytes of answers that were written so far.
    fn took_all(&self) {
        self.0.taken.set(0);
        // The answer is kept counted if it is long: its remaining pieces are still in memory.
        if self.0.unsent.get() <= HTTP_UNSENT_BYTES_FREE {
            self.0.hold.borrow_mut().take();
        }
    }

    /// Counts the unsent answers in the budget, because the socket takes nothing. Ready when this
    /// client must be dropped to make room.
    fn poll_evicted(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut hold = self.0.hold.borrow_mut();
        let hold = hold.get_or_insert_with(|| self.0.budget.hold_anyway(self.0.unsent.get()));
        hold.poll_evicted(context)
    }
}

/// A socket that fails when its client does not read, and ends the turn after [`TURN_BYTES`].
pub(super) struct Paced<S> {
    socket: S,
    flow: Flow,
    patience: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl<S> Paced<S> {
    /// Wraps a socket. `flow` counts the answers that its client has not read.
    pub(super) fn new(socket: S, flow: Flow) -> Self {
        Self { socket, flow, patience: None, is_waiting: false }
    }

    /// How many bytes may be written in this turn; `None` if the other connections run first.
    fn room(&self, context: &mut Context<'_>) -> Option<usize> {
        let left = TURN_BYTES.saturating_sub(self.flow.0.in_turn.get());
        if left > 0 {
            return Some(left);
        }
        // A yielded task runs again behind all tasks that are ready, and behind those whose sockets
        // have news.
        let others = pin!(tokio::task::yield_now());
        others.poll(context).is_ready().then_some(TURN_BYTES)
    }

    /// Notes that `bytes` bytes of an answer were written to the socket.
    fn wrote(&mut self, bytes: usize) {
        let in_turn = &self.flow.0.in_turn;
        in_turn.set(in_turn.get() + bytes);
        if self.flow.took(bytes) {
            self.is_waiting = false;
        }
    }

    /// Waits for a socket that takes nothing. Fails if that has lasted too long, or if the client
    /// is evicted.
    #[cold]
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let deadline = || Instant::now() + Duration::from_millis(WRITE_TIMEOUT_MS);
        let patience =
            self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline())));
        if !self.is_waiting {
            self.is_waiting = true;
            patience.as_mut().reset(deadline());
        }
        let reason = if self.flow.poll_evicted(context).is_ready() {
            Dropped::UnreadEvicted
        } else if patience.as_mut().poll(context).is_ready() {
            Dropped::Unread
        } else {
            return Poll::Pending;
        };
        self.flow.0.dropped.set(Some(reason));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason.name())))
    }
}

/// The longest run of parts from the first one on that has at most `room` bytes.
fn fitting<'p, 'b>(parts: &'p [io::IoSlice<'b>], room: usize) -> &'p [io::IoSlice<'b>] {
    let mut bytes = 0;
    let does_fit = |part: &&io::IoSlice<'_>| {
        bytes += part.len();
        bytes <= room
    };
    let count = parts.iter().take_while(does_fit).count();
    parts.get(..count).unwrap_or(parts)
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(room) = self.room(context) else { return Poll::Pending };
        let bytes = bytes.get(..room).unwrap_or(bytes);
        match Pin::new(&mut self.socket).poll_write(context, bytes) {
            Poll::Pending => self.wait(context),
            Poll::Ready(Ok(count)) => {
                self.wrote(count);
                Poll::Ready(Ok(count))
            }
            error => error,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(room) = self.room(context) else { return Poll::Pending };
        let fit = fitting(parts, room);
        if fit.iter().all(|part| part.is_empty()) {
            let first = parts.iter().find(|part| !part.is_empty());
            return self.poll_write(context, first.map_or(&[], |part| part));
        }
        match Pin::new(&mut self.socket).poll_write_vectored(context, fit) {
            Poll::Pending => self.wait(context),
            Poll::Ready(Ok(count)) => {
                self.wrote(count);
                Poll::Ready(Ok(count))
            }
            error => error,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.socket).poll_flush(context) {
            Poll::Pending => self.wait(context),
            Poll::Ready(Ok(())) => {
                self.flow.took_all();
                self.is_waiting = false;
                Poll::Ready(Ok(()))
            }
            error => error,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.socket).poll_shutdown(context) {
            Poll::Pending => self.wait(context),
            done => done,
        }
    }
}
