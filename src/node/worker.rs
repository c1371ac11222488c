//! The thread of one core: its shard, its router, and its commit gate.
//!
//! The life of a request: a door submits a command with a [`Responder`], and the router turns it
//! into operations. Operations for this core's shard run at once. The others are gathered for each
//! core, and [`LocalWorker::flush`] sends them together.
//!
//! A flush hands the records of all decisions to the log, and then sends the messages. At last it
//! sends the answers, but holds those back whose records the log has not reached. An answer goes to
//! the router of the core that asked. That router makes the reply, and the responder brings it to
//! the caller.
//!
//! Invariants:
//! - Records go to the log before a message or an answer that depends on them leaves this core.
//! - An operation reaches its shard before any message that later operations cause on other shards.
//! - After [`LocalWorker::submit`], and after messages are taken from the mailbox, a flush follows
//!   before the task waits.
//! - The log thread is woken only after the scheduled connections had their turn, so that it writes
//!   for all of them at once.
//! - Each responder gets exactly one outcome.

mod confirming;
pub mod fast_path;
mod probing;
mod requests;
mod standby;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fast_path::SparePool;
use snapshot::{Planted, is_planted};
use standby::Lagging;
use tokio::sync::oneshot;

use super::commit_gate::CommitGate;
use super::frame_batch::FrameBatch;
use super::info::NodeInfo;
use super::log::{LogMode, LogState};
use super::mailbox::{Control, Mailbox, PeerMessage};
use super::responder::Responder;
use crate::command::ping::PingReply;
use crate::command::{Command, Error, ErrorCode, Kind, Outcome, Reply};
use crate::limits::{CROSS_CORE_MAX, DELIVERY_SLICE, SCAN_ROWS_AT_ONCE};
use crate::metrics::{Meter, Turns};
use crate::router::{Router, Sent, Work};
use crate::shard::Shard;
pub use crate::shard::machine::PrefetchKeys;
use crate::shard::op::{Answer, Answered, Envelope, Op, Output, Reach, ReplyTo};
use crate::types::ShardId;

/// How many messages of this shard to itself one flush handles, and how many rows these may change.
/// The others wait for the next turn, so that deliveries of a giant chat delay nobody.
const OWN_MESSAGES_A_FLUSH: usize = 16;
const OWN_ROWS_A_FLUSH: usize = DELIVERY_SLICE;
/// When a turn has gathered so many bytes of records, it hands them to the log. With one more
/// request they are still far smaller than a batch of the log may be.
const RECORDS_BYTES: usize = 4 << 20;
/// How many rows unfinished long lists may hold together. Above that, one list is finished after
/// the other.
const LIST_ROWS_HELD_MAX: usize = 1 << 17;
/// How many batches of other cores one turn handles, and about how many rows these may change or
/// read.
const BATCHES_A_TURN: usize = 16;
const PEER_ROWS_A_TURN: usize = 256;

thread_local! {
    /// The worker that runs on this thread.
    static CURRENT: RefCell<Option<LocalWorker>> = const { RefCell::new(None) };
}

/// The worker of a core, shared by the tasks that run on that core.
#[derive(Clone)]
pub struct LocalWorker(Rc<RefCell<Worker>>);

/// A request to a core: it must run `task` on its thread.
pub fn on_core(task: impl FnOnce(&LocalWorker) + Send + 'static) -> Control {
    Control::Run(Box::new(move || {
        // The core that runs this has set itself as the worker of the thread.
        if let Some(local) = CURRENT.with_borrow(Clone::clone) {
            task(&local);
        }
    }))
}

/// What came of an attempt to reply to a request on this core at once.
#[derive(Debug)]
pub enum Taken<R> {
    /// The reply, which may leave now.
    Now(R),
    /// The reply comes through a responder of the request.
    Later,
    /// This core cannot reply to the request in this way. Nothing was changed.
    Elsewhere,
}

/// What the commit gate holds until the log has the records.
enum Held {
    Answer(Answered),
    /// Encoded replies, all for one core.
    Replies(FrameBatch),
    /// The outcome of a command that several shards have answered.
    Outcome(Responder, Outcome),
}

/// The state of one core. The tasks of the core share it as a [`LocalWorker`].
pub struct Worker {
    shard_id: ShardId,
    shard: Shard,
    router: Router<Responder>,
    commit_gate: CommitGate<Held>,
    /// Outcomes that wait for an append to be accepted.
    unconfirmed: CommitGate<(Responder, Outcome), u64>,
    /// Whether this core must wake the log thread for records that it has pushed.
    log_waits: bool,
    node: Arc<NodeInfo>,
    out: Output,
    /// Operations from the router that were not run or sent yet.
    ops: Vec<Sent>,
    /// Messages that this turn has gathered, by the index of the receiving core.
    outbound: Vec<Vec<PeerMessage>>,
    /// Encoded replies of this turn that depend on the log, by the index of the receiving core.
    promised: Vec<FrameBatch>,
    spare: SparePool,
    /// Messages that were taken out of the mailbox but not handled yet.
    incoming: VecDeque<PeerMessage>,
    /// Messages of this shard to itself that were not handled yet.
    own: VecDeque<Envelope>,
    /// Operations that read many rows. One runs per turn, between other work.
    long: VecDeque<(ReplyTo, Op)>,
    /// How many rows the operations in `long` hold together.
    long_rows_held: usize,
    tcp: Meter,
    turns: Turns,
    draining: Vec<oneshot::Sender<()>>,
    /// The caller of the handover under way, if it asked this core.
    handing_over: Option<Responder>,
    /// Operations that wait on a standby for what their clients have seen on another member.
    lagging: Vec<Lagging>,
}

impl Worker {
    /// A worker for a recovered shard, which decides nothing before [`LocalWorker::start`]. `seed`
    /// makes the random ids of the router, and the slot that is probed first, differ from run to
    /// run.
    pub fn new(mut shard: Shard, node: Arc<NodeInfo>, seed: u64) -> Self {
        let shard_id = shard.id();
        let cores = usize::from(node.shards.get());
        shard.probe_from(seed);
        match node.log.mode() {
            LogMode::Off => shard.leave_records_empty(),
            _ => shard.spread_snapshots(),
        }
        if node.member.is_some() {
            shard.stand_by();
        }
        Self {
            shard_id,
            shard,
            router: Router::new(shard_id, node.shards, node.hasher, seed),
            commit_gate: CommitGate::default(),
            unconfirmed: CommitGate::default(),
            log_waits: false,
            out: Output::default(),
            ops: Vec::new(),
            outbound: std::iter::repeat_with(Default::default).take(cores).collect(),
            promised: std::iter::repeat_with(Default::default).take(cores).collect(),
            spare: SparePool::default(),
            incoming: VecDeque::new(),
            own: VecDeque::new(),
            long: VecDeque::new(),
            long_rows_held: 0,
            tcp: Meter::default(),
            turns: Turns::new(Instant::now()),
            draining: Vec::new(),
            handing_over: None,
            lagging: Vec::new(),
            node,
        }
    }

    fn tick(&mut self) {
        self.shard.tick(self.node.clock.moment());
        self.shard.refuse_writes(self.node.refusal());
        self.shard.refuse_growth(self.node.memory.refusal());
    }

    /// Takes a command, and replies at once if possible. The caller must flush afterwards.
    fn submit(&mut self, mut responder: Responder, work: Work) {
        self.expect_confirmation(&mut responder);
        if self.router.pending() >= CROSS_CORE_MAX {
            let busy = Error::new(
                ErrorCode::Busy,
                "not applied: too many requests under way; try again later",
            );
            return self.finish(responder, Err(busy));
        }
        match work {
            Work::Command(Command::Ping(_)) => {
                self.finish(responder, Ok(Reply::Ping(PingReply {})));
            }
            Work::Command(Command::Hello(_)) => {
                let hello = self.node.hello(self.shard_id);
                self.finish(responder, Ok(Reply::Hello(Box::new(hello))));
            }
            Work::Command(Command::Cluster(_)) => {
                self.finish(responder, Ok(Reply::Cluster(self.node.cluster())));
            }
            Work::Command(Command::Report(said)) => self.finish(responder, self.node.heard(said)),
            Work::Command(Command::Handover(asked)) => self.hand_over(responder, asked),
            Work::Command(Command::RaiseFormat(asked)) => {
                self.finish(responder, self.node.raise_format(&asked));
            }
            work => {
                if let Some((responder, outcome)) =
                    self.router.submit(responder, work, &mut self.ops)
                {
                    self.confirm(responder, outcome);
                }
                self.run_ops();
            }
        }
    }

    /// Reads from this core's shard without an operation.
    fn read<R>(&mut self, read: impl FnOnce(&Shard) -> Option<R>) -> Taken<R> {
        let Some(reply) = read(&self.shard) else { return Taken::Elsewhere };
        self.shard.count_command();
        Taken::Now(reply)
    }

    /// Runs the operations for this core's shard, and queues the others for their cores.
    fn run_ops(&mut self) {
        while !self.ops.is_empty() {
            // The vector is put back after the loop, so that its memory is used again.
            let mut ops = std::mem::take(&mut self.ops);
            for (shard, to, op) in ops.drain(..) {
                if shard == self.shard_id {
                    self.take_op(to, op);
                    continue;
                }
                self.send_before(&op, shard);
                if let Some(outbound) = self.outbound.get_mut(shard.index()) {
                    outbound.push(PeerMessage::Operation(to, op));
                }
            }
            if self.ops.is_empty() {
                self.ops = ops;
            }
        }
    }

    /// Runs a small operation at once, and queues a large one. Returns how many rows the answer
    /// has.
    fn take_op(&mut self, to: ReplyTo, op: Op) -> usize {
        if op.properties().rows > SCAN_ROWS_AT_ONCE {
            self.put_long(to, op);
            return 0;
        }
        match self.hold_back(to, op) {
            Some(op) => self.run_op(to, op),
            None => 0,
        }
    }

    /// Queues an operation that reads many rows. If the queued lists hold too many rows, this one
    /// goes to the front, so that it is finished first. So their memory does not grow with the
    /// number of clients.
    fn put_long(&mut self, to: ReplyTo, op: Op) {
        let held = op.properties().rows_held;
        self.long_rows_held += held;
        match held > 0 && self.long_rows_held > LIST_ROWS_HELD_MAX {
            true => self.long.push_front((to, op)),
            false => self.long.push_back((to, op)),
        }
    }

    /// Runs the next operation that reads many rows, if there is one.
    fn run_long(&mut self) {
        if let Some((to, op)) = self.long.pop_front() {
            self.long_rows_held -= op.properties().rows_held;
            self.run_op(to, op);
        }
    }

    /// Frees some unused memory of the shard, and forgets some removals above the bound. Returns
    /// whether there is more to do.
    fn tidy(&mut self) -> bool {
        let has_swept = self.shard.sweep_some();
        let forgets = self.shard.has_to_forget() && self.node.refusal().is_none();
        if forgets {
            self.shard.forget_some(&mut self.out);
        }
        has_swept || forgets
    }

    /// Runs an operation. Sends answers that need not wait for the log. Returns how many rows the
    /// answer has.
    fn run_op(&mut self, to: ReplyTo, op: Op) -> usize {
        let (answers, is_promise) = (self.out.answers.len(), self.promises_errors(&op));
        self.shard.operation(to, op, &mut self.out);
        if is_promise {
            self.hold_error(answers);
        }
        let rows = self.out.answers.last().map_or(0, |answered| answered.answer.rows());
        self.settle_if_large();
        while let Some(answered) = self.out.answers.pop_if(|answered| !answered.after_log) {
            self.dispatch(answered);
        }
        rows
    }

    /// Hands records to the log, sends messages, and then sends answers or holds them back.
    fn flush(&mut self) {
        let mut own_left = OWN_MESSAGES_A_FLUSH;
        let mut rows_left = OWN_ROWS_A_FLUSH;
        loop {
            self.run_ops();
            self.settle();
            self.release();
            if !self.ops.is_empty() {
                continue;
            }
            // The loop ends only here, after `release`. So if an answer is held, the log knows that
            // it must wake this core.
            let next = if own_left > 0 && rows_left > 0 { self.own.pop_front() } else { None };
            let Some(envelope) = next else { break };
            own_left -= 1;
            rows_left = rows_left.saturating_sub(envelope.message.rows());
            self.shard.message(envelope, &mut self.out);
        }
        self.send();
        if self.log_waits || !self.own.is_empty() || !self.ops.is_empty() || !self.long.is_empty() {
            self.mailbox().wake();
        }
        if !self.draining.is_empty() && self.is_idle() {
            self.draining.drain(..).for_each(|done| _ = done.send(()));
        }
    }

    /// Wakes the log thread, if this core must still do so.
    fn rouse_log(&mut self) {
        if std::mem::take(&mut self.log_waits) {
            self.node.log.rouse();
        }
    }

    /// Carries out the output at once if its records have many bytes.
    fn settle_if_large(&mut self) {
        if self.out.records.len_bytes() >= RECORDS_BYTES {
            self.settle();
        }
    }

    /// Carries out the output: first records, then messages, then answers.
    fn settle(&mut self) {
        if self.out.is_empty() && self.promised.iter().all(FrameBatch::is_empty) {
            return;
        }
        let is_late = is_planted(Planted::EffectBeforeCause) && !self.out.messages.is_empty();
        if !is_late {
            self.log_waits |= self.node.log.push(&mut self.out.records);
        }
        for (shard, envelope) in self.out.messages.drain(..) {
            if shard == self.shard_id {
                self.own.push_back(envelope);
            } else if let Some(outbound) = self.outbound.get_mut(shard.index()) {
                outbound.push(PeerMessage::Message(envelope));
            }
        }
        // The tail is at or behind every record that these answers and replies may depend on.
        let until = (self.node.log.mode() != LogMode::Off).then(|| self.node.log.tail());
        let mut answers = std::mem::take(&mut self.out.answers);
        for answered in answers.drain(..) {
            match until.filter(|_| answered.after_log) {
                Some(until) => self.commit_gate.hold(until, Held::Answer(answered)),
                None => self.dispatch(answered),
            }
        }
        self.out.answers = answers;
        let Some(until) = until else { return };
        for batch in self.promised.iter_mut().filter(|batch| !batch.is_empty()) {
            self.commit_gate.hold(until, Held::Replies(std::mem::take(batch)));
        }
    }

    /// Sends the held replies that the log has reached. If the log is stuck, says that outcomes are
    /// unknown.
    fn release(&mut self) {
        if self.commit_gate.is_empty() && self.unconfirmed.is_empty() {
            return;
        }
        // Set before `reached` is read. So if the log moves after the read, it wakes this core.
        self.mailbox().set_waits_for_log(true);
        let reached = self.node.log.reached();
        while let Some(held) = self.commit_gate.release(reached) {
            match held {
                Held::Answer(answered) => self.dispatch(answered),
                Held::Replies(batch) => self.bring(batch),
                Held::Outcome(responder, outcome) => self.confirm(responder, outcome),
            }
        }
        let state = self.node.log.state();
        while state != LogState::Ok
            && let Some(held) = self.commit_gate.give_up()
        {
            self.fail(held, state.why());
        }
        self.release_confirmed();
        self.note_waits();
    }

    /// Tells the callers that the outcome of their requests is unknown.
    fn fail(&mut self, held: Held, why: &str) {
        let mut fail = |to| {
            let answer = Answer::Done(Err(Error::outcome_unknown(why)));
            self.dispatch(Answered { to, answer, after_log: false });
        };
        match held {
            Held::Answer(answered) => fail(answered.to),
            Held::Replies(batch) => batch.iter().for_each(|(to, _)| fail(to)),
            Held::Outcome(responder, _) => self.fail_outcome(responder, why),
        }
    }

    /// Brings an answer to the router that asked, on this core or on another.
    fn dispatch(&mut self, answered: Answered) {
        let Answered { to, answer, .. } = answered;
        if to.core != self.shard_id {
            if let Some(outbound) = self.outbound.get_mut(to.core.index()) {
                outbound.push(PeerMessage::Answer(to, answer));
            }
            return;
        }
        if let Some((responder, outcome)) = self.router.answer(to, answer, &mut self.ops) {
            match self.promises_outcome(&responder, &outcome) {
                true => {
                    self.commit_gate.hold(self.node.log.tail(), Held::Outcome(responder, outcome));
                }
                false => self.confirm(responder, outcome),
            }
        }
    }

    fn finish(&mut self, responder: Responder, mut outcome: Outcome) {
        if let Ok(Reply::Stats(stats)) = &mut outcome {
            self.node.complete_stats(stats);
        }
        let status = outcome.as_ref().map_or_else(|error| error.code.status(), |_| 200);
        self.mailbox().count(status != 200);
        responder.deliver(outcome, status, &mut self.tcp);
    }

    /// Sends gathered batches to the cores that `op` may cause messages to. Otherwise those
    /// messages could arrive before the batches. `over` is the shard that runs `op`.
    fn send_before(&mut self, op: &Op, over: ShardId) {
        // With two cores such messages go to this core, or stay on the core that runs the
        // operation.
        if self.outbound.len() <= 2 || is_planted(Planted::OvertakesOnTheWay) {
            return;
        }
        let user_shard = match op.properties().reach {
            Reach::Nobody => return,
            Reach::User(id) => Some(self.node.hasher.slot(id.as_str()).shard(self.node.shards)),
            Reach::Anybody => None,
        };
        for shard in self.node.shards.all() {
            let may_be_sent_one = user_shard.is_none_or(|user_shard| user_shard == shard);
            if may_be_sent_one && shard != over && !self.outbound[shard.index()].is_empty() {
                self.settle();
                self.send_to(shard);
            }
        }
    }

    /// Sends each core the messages that are gathered for it, and wakes the core once.
    fn send(&mut self) {
        for shard in self.node.shards.all() {
            self.send_to(shard);
        }
    }

    fn send_to(&mut self, shard: ShardId) {
        let outbound = self.outbound.get_mut(shard.index()).filter(|batch| !batch.is_empty());
        if let (Some(outbound), Some(mailbox)) = (outbound, self.node.mailboxes.get(shard.index()))
        {
            let empty = self.spare.batch();
            mailbox.send(self.shard_id, std::mem::replace(outbound, empty));
        }
    }

    fn mailbox(&self) -> &Mailbox {
        // The node has one mailbox for each core.
        &self.node.mailboxes[self.shard_id.index()]
    }

    fn is_idle(&self) -> bool {
        self.router.pending() == 0
            && self.commit_gate.is_empty()
            && self.unconfirmed.is_empty()
            && self.incoming.is_empty()
            && self.mailbox().peers.is_empty()
            && self.own.is_empty()
            && self.ops.is_empty()
            && self.long.is_empty()
    }

    /// Handles one message of another core. Returns how many rows it changed or read.
    fn take_peer(&mut self, peer: PeerMessage) -> usize {
        match peer {
            PeerMessage::Operation(to, op) => self.take_op(to, op),
            PeerMessage::Answer(to, answer) => {
                self.dispatch(Answered { to, answer, after_log: false });
                0
            }
            PeerMessage::Requests(batch) => {
                let rows = self.take_requests(&batch);
                self.spare.keep(batch);
                rows
            }
            PeerMessage::Replies(batch) => {
                self.take_replies(batch);
                0
            }
            PeerMessage::Message(envelope) => {
                let rows = envelope.message.rows();
                self.shard.message(envelope, &mut self.out);
                self.settle();
                rows
            }
        }
    }

    /// Handles messages of other cores, as many as one turn may. Returns whether there were any.
    fn take_peers(&mut self) -> bool {
        let mut any = false;
        let mut rows = 0;
        let mut batches = 0;
        while rows < PEER_ROWS_A_TURN {
            if let Some(peer) = self.incoming.pop_front() {
                any = true;
                rows += self.take_peer(peer);
                continue;
            }
            self.settle();
            if batches == BATCHES_A_TURN {
                break;
            }
            let Some(mut batch) = self.mailbox().peers.pop() else { break };
            self.incoming.extend(batch.drain(..));
            self.spare.keep_batch(batch);
            batches += 1;
        }
        self.settle();
        any
    }
}

impl LocalWorker {
    /// Shares a worker among the tasks of its core.
    pub fn new(worker: Worker) -> Self {
        Self(Rc::new(RefCell::new(worker)))
    }

    /// Makes this the worker of the calling thread; see [`Self::current`].
    pub fn make_current(&self) {
        CURRENT.set(Some(self.clone()));
    }

    /// The worker of a shard, if it runs on this thread. Then a call needs no mailbox. `None`
    /// otherwise.
    pub fn current(node: &Arc<NodeInfo>, shard: ShardId) -> Option<Self> {
        CURRENT.with_borrow(|current| {
            current.clone().filter(|local| {
                let worker = local.0.borrow();
                worker.shard_id == shard && Arc::ptr_eq(&worker.node, node)
            })
        })
    }

    /// The node of this core.
    pub fn node(&self) -> Arc<NodeInfo> {
        Arc::clone(&self.0.borrow().node)
    }

    /// The number of this core's shard, which is also that of the core.
    pub fn shard_id(&self) -> ShardId {
        self.0.borrow().shard_id
    }

    /// Before requests: updates the shard's time, and whether it accepts writes and growth.
    pub fn tick(&self) {
        self.0.borrow_mut().tick();
    }

    /// Takes a command, and replies at once if possible. The caller must flush afterwards.
    pub fn submit(&self, responder: Responder, work: impl Into<Work>) {
        match work.into() {
            Work::Command(Command::Snapshot(_)) => self.snapshot(responder),
            work => self.0.borrow_mut().submit(responder, work),
        }
    }

    /// Runs a command for a task on this core, and sends the outcome to `sender`.
    pub fn call(&self, command: Command, sender: oneshot::Sender<Outcome>) {
        self.tick();
        self.submit(Responder::of_call(command.kind(), sender), command);
        self.flush();
    }

    /// Reads from this core's shard without an operation. The caller counts the reply. Returns
    /// [`Taken::Elsewhere`] if `read` returns `None`.
    pub fn read<R>(&self, read: impl FnOnce(&Shard) -> Option<R>) -> Taken<R> {
        self.0.borrow_mut().read(read)
    }

    /// Prefetches the memory that requests with these keys will read.
    pub fn prefetch(&self, prefetch_keys: &[PrefetchKeys]) {
        self.0.borrow().shard.prefetch(prefetch_keys);
    }

    /// Counts requests that the caller has replied to. None of them took longer than `latency`.
    pub fn note_answered(&self, kind: Kind, count: u64, latency: Duration) {
        let worker = &mut *self.0.borrow_mut();
        worker.tcp.record_many(kind, 200, latency, count);
        worker.mailbox().count_many(count);
    }

    /// Hands records to the log, sends messages, and then sends answers or holds them back.
    pub fn flush(&self) {
        self.0.borrow_mut().flush();
    }

    /// Runs a task of this core and measures its turns: how long each poll keeps all other work of
    /// the core waiting.
    pub async fn in_turns<T>(&self, task: impl Future<Output = T>) -> T {
        let mut task = pin!(task);
        poll_fn(|context| {
            let began = Instant::now();
            let polled = task.as_mut().poll(context);
            self.0.borrow_mut().turns.record(began, began.elapsed());
            polled
        })
        .await
    }

    /// Serves the mailbox until the core ends.
    pub async fn serve(self) {
        self.in_turns(self.serve_mailbox()).await;
    }

    async fn serve_mailbox(&self) {
        let node = self.node();
        let Some(mailbox) = node.mailboxes.get(self.shard_id().index()) else { return };
        // The first turn sends deliveries that the last stop left open, without waiting for a
        // request.
        mailbox.wake();
        loop {
            mailbox.woken().await;
            let any = self.turn(mailbox);
            // Always yields. After a turn that woke itself, the next `woken` would return at once,
            // and no connection would get its turn.
            tokio::task::yield_now().await;
            if any {
                mailbox.wake();
            }
        }
    }

    /// One turn of the mailbox. Returns whether it had work.
    fn turn(&self, mailbox: &Mailbox) -> bool {
        self.tick();
        self.0.borrow_mut().rouse_log();
        let mut any = false;
        while let Some(control) = mailbox.control.pop() {
            any = true;
            self.control(control);
        }
        any |= self.0.borrow_mut().take_peers();
        self.0.borrow_mut().retry_lagging();
        self.0.borrow_mut().run_long();
        any |= self.0.borrow_mut().tidy();
        self.flush();
        any
    }
}
