//! One connection of the TCP door: it takes whole frames, sends replies, and keeps to its limits.
//!
//! A turn of its task decodes the frames in the input, submits their commands, and flushes. Then it
//! encodes the replies that are ready and writes them with one call.
//!
//! Invariants:
//! - The first request is `hello`, and no other request runs before it. After it, the token's role
//!   decides which requests run (see `entry`).
//! - After the token file was replaced, a connection whose token is gone takes no more requests
//!   from its next turn on. Each arrival and each check of the timeouts begins a turn.
//! - At most `IN_FLIGHT_MAX` requests of a connection are under way, of about `IN_FLIGHT_BYTES_MAX`
//!   bytes. A watch does not count. At most `LARGE_IN_FLIGHT_MAX` of them have replies that may be
//!   large.
//! - A connection reads no more requests while `UNSENT_BYTES_MAX` bytes of its replies wait. So a
//!   client that does not read is held back, then dropped. The replies of all connections have a
//!   bound too, see [`UnreadBudget`].
//! - A large request is decoded on the offload thread. The connection takes no later request until
//!   that is done.
//! - A connection that has used up its `TurnBudget` lets the others of its worker run first. A long
//!   reply is encoded over several turns.
//! - An error of a request does not end the connection. An error of the framing ends it, after all
//!   replies to earlier requests were sent.

mod deadlines;
mod entry;
mod held;
mod parting;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use smallvec::SmallVec;
use tokio::sync::watch;
use tracing::debug;

use self::entry::no_hello;
use super::fast_path::{Destination, FastPath};
use super::incomplete::Incomplete;
use super::lookahead::{FrontFrame, FrontFrames, REQUESTS_A_ROUND, look_ahead};
use super::offload::{Decoded, OffloadedRequest};
use super::order::{Going, Order, OrderKey};
use super::send_queue::SendQueue;
use super::shutdown::Shutdown;
use super::stream::{Parked, Stream};
use super::timeouts::{Heard, Timeouts};
use super::turn_budget::TurnBudget;
use super::unread::UnreadBudget;
use super::watching::{Watches, until};
use crate::access::{Authenticator, Role, Session};
use crate::admission::{Budget, Guest};
use crate::command::{Command, Error, ErrorCode, Reply, ReplySize};
use crate::limits::{
    IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX, LARGE_IN_FLIGHT_MAX, REQUEST_BYTES_MAX,
    WATCH_PAGE_HELD_BYTES,
};
use crate::node::buffers;
use crate::node::responder::{ReadyReply, ReplyBody, ReplyQueue, RequestInfo, Responder};
use crate::node::standby_reads::LetsIn;
use crate::node::worker::{LocalWorker, PrefetchKeys, fast_path, on_core};
use crate::node::{NodeInfo, Work};
use crate::protocol::chunked_reply::ChunkedReply;
use crate::protocol::{self, CONNECTION_ID, frame};
use crate::types::{KeyHasher, ShardId};

/// Free space reserved before each read, in bytes.
const READ_BYTES: usize = 16 << 10;
/// Most bytes in one write to the socket.
const WRITE_BYTES: usize = 128 << 10;

/// The settings and budgets that all connections of the door share.
pub struct NetConfig {
    /// Checks the tokens of `hello`, and later whether they are still valid.
    pub authenticator: Arc<Authenticator>,
    /// How long a connection may be without a request before it is closed.
    pub idle: Duration,
    /// The budget for incomplete requests; both doors use it.
    pub incomplete: Arc<Budget>,
    /// The budget for replies and watches that clients of this door do not read.
    pub unread: Arc<Budget>,
    /// Becomes true when the server stops.
    pub stop: watch::Receiver<bool>,
}

/// A connection on its way to a worker.
struct Moving {
    stream: Parked,
    guest: Guest,
    config: Arc<NetConfig>,
    /// Bytes that were read from the client and not decoded yet.
    input: BytesMut,
    output: SendQueue,
    heard: Heard,
    /// The session; `None` if the client has not shown its token yet.
    session: Option<Session>,
    stale: Option<Duration>,
    /// The request id of the `hello` that moved the connection; the new worker replies to it.
    hello: Option<u64>,
}

/// Gives a new connection to the worker of `shard`.
pub fn start(
    node: &NodeInfo,
    shard: ShardId,
    stream: Parked,
    guest: Guest,
    config: Arc<NetConfig>,
) {
    let moving = Moving {
        stream,
        guest,
        config,
        input: BytesMut::new(),
        output: SendQueue::default(),
        heard: Heard::new(Instant::now()),
        session: None,
        stale: None,
        hello: None,
    };
    move_to(node, shard, moving);
}

fn move_to(node: &NodeInfo, shard: ShardId, moving: Moving) {
    if let Some(mailbox) = node.mailboxes.get(shard.index()) {
        // Counted before the connection arrives, so that a flood of new connections is spread
        // evenly.
        mailbox.connections.fetch_add(1, Ordering::Relaxed);
    }
    node.control(shard, on_core(move |local| arrive(local, moving)));
}

fn arrive(local: &LocalWorker, moving: Moving) {
    let local = local.clone();
    tokio::task::spawn_local(async move {
        let (node, shard) = (local.node(), local.shard_id());
        if let Err(error) = local.in_turns(run(local.clone(), moving)).await {
            debug!(%error, "a connection ended");
        }
        if let Some(mailbox) = node.mailboxes.get(shard.index()) {
            mailbox.connections.fetch_sub(1, Ordering::Relaxed);
        }
    });
}

async fn run(local: LocalWorker, moving: Moving) -> io::Result<()> {
    let mut connection = Connection::new(local, moving)?;
    if !connection.greet().await? {
        return Ok(());
    }
    let mut now = Instant::now();
    loop {
        connection.turn(now);
        connection.write()?;
        if let Some(shard) = connection.ready_to_move() {
            return connection.depart(shard);
        }
        if connection.is_done() {
            return connection.part().await;
        }
        now = match connection.note_held() {
            None => connection.wait().await?,
            Some(held) => connection.wait_holding(held).await?,
        };
    }
}

/// Why a connection's wait ended.
enum Woken {
    Input,
    Time,
    Other,
}

struct Connection {
    local: LocalWorker,
    stream: Stream,
    guest: Guest,
    config: Arc<NetConfig>,
    stop: Shutdown,
    input: BytesMut,
    output: SendQueue,
    /// The state of the large request that the offload thread decodes.
    offloaded: OffloadedRequest,
    replies: Rc<ReplyQueue>,
    /// The long reply that is being encoded over several turns. Later replies wait for it.
    chunked: Option<ChunkedReply>,
    budget: TurnBudget,
    /// The number of requests under way whose replies may be large.
    large_replies: usize,
    order: Order,
    fast_path: FastPath,
    watches: Watches,
    hasher: KeyHasher,
    /// The session; `None` before the connection's `hello` was accepted.
    session: Option<Session>,
    /// The age up to which the client takes the state of a standby.
    stale: Option<Duration>,
    /// If true, the connection takes no more requests, and ends when all replies that are due were
    /// sent.
    closing: bool,
    /// The shard that a `hello` asked to be served by, and the request id of the `hello`.
    moving: Option<(ShardId, u64)>,
    incomplete: Option<Incomplete>,
    unread: UnreadBudget,
    timeouts: Timeouts,
    /// What the role of the node lets in during this turn.
    lets_in: LetsIn,
}

impl Connection {
    fn new(local: LocalWorker, moving: Moving) -> io::Result<Self> {
        let now = Instant::now();
        let mut stream = moving.stream.arrive()?;
        let (mut input, mut heard) = (moving.input, moving.heard);
        // A read error is ignored here: the first wait meets it again.
        if let Stream::Tls(_) = stream
            && let Ok(1..) = stream.try_read_buf(&mut input)
        {
            heard.read = now;
        }
        let timeouts = Timeouts::new(heard, moving.config.idle);
        let mut connection = Self {
            stream,
            guest: moving.guest,
            stop: Shutdown::new(&moving.config.stop),
            unread: UnreadBudget::new(Arc::clone(&moving.config.unread)),
            config: moving.config,
            input,
            output: moving.output,
            offloaded: OffloadedRequest::None,
            replies: Rc::default(),
            chunked: None,
            budget: TurnBudget::new(now),
            large_replies: 0,
            order: Order::default(),
            fast_path: FastPath::default(),
            watches: Watches::new(Arc::clone(&local.node().watch)),
            hasher: local.node().hasher,
            session: moving.session,
            stale: moving.stale,
            closing: false,
            moving: None,
            incomplete: None,
            lets_in: LetsIn::Little,
            timeouts,
            local,
        };
        if let Some(request_id) = moving.hello {
            connection.answer_hello(request_id);
        }
        Ok(connection)
    }

    /// Runs one turn: decodes, submits, flushes and encodes until no whole frame is left, there is
    /// no room, or the turn budget is used up. The wait before it ended at `started`.
    fn turn(&mut self, started: Instant) {
        if !self.closing && self.stop.has_come() {
            self.closing = true;
            let stopping = Error::not_applied("watch: the server is stopping");
            self.watches.end(&stopping, self.output.end());
        }
        if let Some(session) = &mut self.session
            && !self.closing
            && !self.config.authenticator.holds(session)
        {
            self.end_session();
        }
        self.local.tick();
        // All that this turn takes was read before.
        self.lets_in = self.local.lets_in(self.stale);
        self.budget.begin_turn(started);
        loop {
            let taken = self.take_requests(started);
            self.local.flush();
            self.encode_ready();
            while self.order.has_ready() {
                self.submit_held();
                self.local.flush();
                self.encode_ready();
            }
            let now = Instant::now();
            self.fast_path.note(&self.local, now.saturating_duration_since(started));
            self.budget.add(taken, 0);
            self.budget.add_time(now);
            if taken < REQUESTS_A_ROUND || self.budget.is_used_up() {
                break;
            }
        }
        self.fill_watches();
    }

    /// Appends the events of the watches to the output, as far as there is room.
    fn fill_watches(&mut self) {
        if self.closing {
            // No watch needs to be completed. Only the replies to requests are still sent.
            self.watches.clear();
        }
        if self.watches.is_empty() {
            return;
        }
        if let Some(error) = self.local.watch_refusal() {
            return self.watches.end(&error, self.output.end());
        }
        if self.output.is_empty() {
            self.timeouts.heard.written = Instant::now();
        }
        let held = self.held_bytes() + WATCH_PAGE_HELD_BYTES;
        let Self { watches, output, unread, local, .. } = self;
        let room = unread.room();
        watches.fill(output.end(), room, || unread.admit(held), || local.moved());
    }

    fn in_flight(&self) -> usize {
        let is_chunked = usize::from(self.chunked.is_some());
        self.offloaded.count() + self.replies.in_flight() + is_chunked + self.order.held()
    }

    fn bytes_in_flight(&self) -> usize {
        self.replies.bytes_in_flight() + self.order.held_bytes()
    }

    fn may_take(&self) -> bool {
        !self.closing
            && self.moving.is_none()
            && self.offloaded.count() == 0
            && self.output.len() < self.unread.room()
            && self.in_flight() < IN_FLIGHT_MAX
            && self.bytes_in_flight() < IN_FLIGHT_BYTES_MAX
            && self.large_replies < LARGE_IN_FLIGHT_MAX
    }

    /// Takes the next requests, on the fast path or as commands. Returns the number of requests
    /// taken.
    fn take_requests(&mut self, started: Instant) -> usize {
        let was_empty = self.output.is_empty();
        if let Some(decoded) = self.offloaded.take() {
            self.take_any(decoded);
        }
        let taken = self.take_frames(started);
        if taken > 0 {
            self.timeouts.heard.asked = started;
            if was_empty {
                self.timeouts.heard.written = started;
            }
        }
        taken
    }

    fn take_frames(&mut self, started: Instant) -> usize {
        // Moved out of `self`: requests are read in place from `input` while they run on `self`.
        let mut input = std::mem::take(&mut self.input);
        let (bytes, mut taken) = self.run_frames(&input, started);
        input.advance(bytes);
        if self.may_take() && !self.budget.is_used_up() {
            self.offloaded.begin(&mut input, self.hasher, started, &self.local);
            taken += self.offloaded.count();
        }
        self.input = input;
        taken
    }

    /// Runs the requests in the frames at the front of `input`. Returns how many bytes and how many
    /// requests were taken.
    fn run_frames(&mut self, input: &[u8], started: Instant) -> (usize, usize) {
        let mut frames = FrontFrames::new();
        let error = look_ahead(input, self.hasher, &mut frames);
        self.prefetch(&frames);
        let (mut bytes, mut taken) = (0, 0);
        for frame in &frames {
            if !self.may_take() || self.budget.is_used_up() {
                return (bytes, taken);
            }
            bytes += frame::HEADER_BYTES + frame.payload.len();
            taken += 1;
            let is_plain = match self.lets_in {
                LetsIn::Everything => true,
                LetsIn::Reads => frame.is_read(),
                LetsIn::Little => false,
            };
            if !is_plain || !self.take_on_fast_path(frame, started) {
                self.take_any(Decoded::of(frame.payload, started, Work::Command));
            }
        }
        if let Some(error) = error.filter(|_| self.may_take()) {
            self.refuse(CONNECTION_ID, error.into());
        }
        (bytes, taken)
    }

    /// Prefetches the keys of the requests on the fast path, if there are several.
    fn prefetch(&self, frames: &[FrontFrame<'_>]) {
        let mut prefetch_keys: SmallVec<[PrefetchKeys; REQUESTS_A_ROUND]> = SmallVec::new();
        prefetch_keys.extend(
            frames.iter().filter_map(|frame| frame.request.as_ref()).map(fast_path::prefetch_keys),
        );
        if prefetch_keys.len() > 1 {
            self.local.prefetch(&prefetch_keys);
        }
    }

    fn take_on_fast_path(&mut self, frame: &FrontFrame<'_>, started: Instant) -> bool {
        // If the role forbids a request, it becomes a command, and is rejected where all commands
        // are.
        let role = self.session.as_ref().map(Session::role);
        let may = |kind| role.is_some_and(|role| role.check(kind).is_ok());
        let Some(request) = frame.request.filter(|request| may(request.command.kind())) else {
            return false;
        };
        let Self { replies, local, order, output, .. } = self;
        let responder = |bytes, mark| {
            let asked = RequestInfo { id: request.id, started, bytes };
            Responder::of_connection(replies, asked, request.command.kind(), mark)
        };
        let out = output.end();
        let before = out.len();
        let destination = self.fast_path.take(request, frame.payload, local, order, responder, out);
        self.budget.add(0, out.len() - before);
        self.large_replies += usize::from(destination == Destination::OtherCore { is_large: true });
        destination != Destination::Router
    }

    fn take_any(&mut self, Decoded { request, started, bytes }: Decoded) {
        match request {
            Ok((id, work)) => self.take(RequestInfo { id, started, bytes }, work),
            Err(refused) => self.refuse_undecoded(refused),
        }
        // Encoded before the next request is taken, so that limits and turn budget count this
        // reply.
        self.encode_ready();
        self.budget.add_time(Instant::now());
    }

    fn take(&mut self, asked: RequestInfo, work: Work) {
        match work {
            Work::Command(Command::Hello(hello)) => self.hello(asked.id, hello),
            work => match self.session.as_ref().map(Session::role) {
                Some(role) => self.take_as(role, asked, work),
                None => self.refuse(asked.id, no_hello()),
            },
        }
    }

    fn take_as(&mut self, role: Role, asked: RequestInfo, work: Work) {
        let id = asked.id;
        if let Err(error) = role.check(work.kind()) {
            return self.replies.push(id, Err(error));
        }
        if self.lets_in != LetsIn::Everything
            && let Some(error) = self.local.turned_away(work.kind(), self.stale)
        {
            return self.replies.push(id, Err(error));
        }
        match work {
            Work::Command(Command::Watch(watch)) => {
                if let Err(error) = self.watches.begin(id, watch.from.as_deref()) {
                    self.replies.push(id, Err(error));
                }
            }
            Work::Command(Command::Cancel(cancel)) => {
                let outcome = match self.watches.cancel(cancel.request_id) {
                    true => Ok(Reply::Cancel(())),
                    false => Err(Error::new(
                        ErrorCode::NotFound,
                        "request_id: no watch of this connection has it",
                    )),
                };
                self.replies.push(id, outcome);
            }
            work => {
                self.large_replies += usize::from(work.reply_size() == ReplySize::Large);
                if let Some(going) = self.order.take(asked, work, self.hasher) {
                    self.submit(going);
                }
            }
        }
    }

    fn submit(&self, going: Going) {
        let (responder, work) = self.responder(going);
        self.local.submit(responder, work);
    }

    fn responder(&self, Going { asked, work, order_key }: Going) -> (Responder, Work) {
        let mark = OrderKey::mark(order_key, work.reply_size() == ReplySize::Large);
        let responder = Responder::of_connection(&self.replies, asked, work.kind(), mark);
        (responder, work)
    }

    /// Encodes replies that are ready, as far as there is room and the turn budget allows.
    fn encode_ready(&mut self) {
        let was_empty = self.output.is_empty();
        while self.output.len() < self.unread.room()
            && !self.budget.is_used_up()
            && self.encode_long()
            && let Some(ready) = self.replies.pop()
        {
            self.encode(ready);
        }
        if was_empty && !self.output.is_empty() {
            self.timeouts.heard.written = Instant::now();
        }
    }

    fn encode(&mut self, ready: ReadyReply) {
        let (before, count) = (self.output.len(), ready.count());
        let (order_key, is_large) = OrderKey::of_mark(ready.mark);
        match ready.body {
            ReplyBody::Frames { mut bytes, .. } => {
                self.output.end().extend_from_slice(&bytes);
                buffers::empty(&mut bytes);
            }
            ReplyBody::Outcome { request_id, mut outcome } => {
                if is_large {
                    self.admit(&mut outcome);
                }
                match outcome {
                    Ok(Reply::List(list)) if ChunkedReply::is_for(&list) => {
                        self.chunked = Some(ChunkedReply::begin(request_id, list));
                    }
                    outcome => protocol::encode_reply(request_id, &outcome, self.output.end()),
                }
            }
        }
        self.budget.add(0, self.output.len() - before);
        self.large_replies = self.large_replies.saturating_sub(if is_large { count } else { 0 });
        if let Some(order_key) = order_key {
            self.order.done(order_key);
        }
    }

    /// Continues to encode the long reply, if there is one. Returns whether no long reply is left.
    fn encode_long(&mut self) -> bool {
        let Some(mut chunked) = self.chunked.take() else { return true };
        while !self.budget.is_used_up() {
            let (bytes, more) = chunked.go_on(buffers::fill);
            self.budget.add(0, bytes);
            self.budget.add_time(Instant::now());
            if !more {
                self.output.add(chunked.finish());
                return true;
            }
        }
        self.chunked = Some(chunked);
        false
    }

    /// Submits the held requests for which no earlier request is under way any more. The node's role
    /// may have changed since they were held.
    fn submit_held(&mut self) {
        while let Some(going) = self.order.release() {
            match self.local.turned_away(going.work.kind(), self.stale) {
                Some(error) => self.local.refuse(self.responder(going).0, error),
                None => self.submit(going),
            }
        }
    }

    /// Whether bytes wait for the socket, here or inside the TLS session.
    fn owes(&self) -> bool {
        !self.output.is_empty() || self.stream.owes()
    }

    /// Writes what the socket accepts, as far as the turn budget allows.
    fn write(&mut self) -> io::Result<()> {
        while self.owes() {
            let front = self.output.front();
            let next = front.len().min(WRITE_BYTES);
            match self.stream.try_write(front.get(..next).unwrap_or_default()) {
                Ok(0) if !self.output.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    self.output.advance(bytes);
                    self.unread.took(bytes);
                    self.timeouts.heard.written = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            self.budget.add_time(self.timeouts.heard.written);
            if self.budget.is_used_up() {
                break;
            }
        }
        self.output.settle();
        Ok(())
    }

    /// Reads the client's bytes that are there. Returns the time after the read.
    fn read(&mut self) -> io::Result<Instant> {
        buffers::fill(&mut self.input);
        self.input.reserve(READ_BYTES);
        let read = self.stream.try_read_buf(&mut self.input);
        let now = Instant::now();
        match read {
            Ok(0) => self.closing = true,
            Ok(_) => self.timeouts.heard.read = now,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(now)
    }

    /// Waits for input, for room in the socket, for replies, for the stop, or for a time limit.
    /// Returns when the wait ended.
    async fn wait(&mut self) -> io::Result<Instant> {
        if self.input.is_empty() {
            buffers::empty(&mut self.input);
        }
        let may_read = self.may_take();
        self.timeouts.note_reads(may_read);
        let has_request =
            may_read && !matches!(frame::first(&self.input, REQUEST_BYTES_MAX), Ok(None));
        let has_reply = !self.replies.is_empty() || self.chunked.is_some();
        let may_encode = has_reply && self.output.len() < self.unread.room();
        if self.budget.is_used_up() || has_request || may_encode {
            // Work is left: the turn budget ended the turn, or the socket has since taken bytes
            // that were in the way. No event below need come, so the connection lets the others run
            // once and resumes.
            tokio::task::yield_now().await;
            let now = Instant::now();
            self.budget = TurnBudget::new(now);
            return Ok(now);
        }
        let owes = self.owes();
        let may_watch = !self.watches.is_empty() && self.output.len() < self.unread.room();
        let heartbeat = self.watches.next_heartbeat().filter(|_| may_watch);
        let woken = tokio::select! {
            readable = self.stream.readable(), if may_read => {
                readable?;
                Woken::Input
            }
            writable = self.stream.writable(), if owes => {
                writable?;
                Woken::Other
            }
            () = self.offloaded.done() => Woken::Other,
            () = self.replies.ready(), if self.replies.in_flight() > 0 => Woken::Other,
            () = self.stop.come(), if !self.closing => Woken::Other,
            () = self.watches.changed(), if may_watch => Woken::Other,
            () = until(heartbeat) => Woken::Other,
            () = self.timeouts.look() => Woken::Time,
        };
        match woken {
            Woken::Input => return self.read(),
            Woken::Other => {}
            Woken::Time => self.check_time()?,
        }
        Ok(Instant::now())
    }

    fn is_done(&self) -> bool {
        self.closing && !self.owes() && self.in_flight() == 0
    }

    fn ready_to_move(&self) -> Option<ShardId> {
        let (shard, _) = self.moving?;
        (self.in_flight() == 0).then_some(shard)
    }

    /// Moves the connection to the worker of `shard`. Replies that are not sent yet move with it.
    fn depart(self, shard: ShardId) -> io::Result<()> {
        let node = self.local.node();
        let moving = Moving {
            stream: self.stream.park()?,
            guest: self.guest,
            config: self.config,
            input: self.input,
            output: self.output,
            heard: self.timeouts.heard,
            session: self.session,
            stale: self.stale,
            hello: self.moving.map(|(_, id)| id),
        };
        move_to(&node, shard, moving);
        Ok(())
    }
}
