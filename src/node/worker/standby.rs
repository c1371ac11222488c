//! A core of a member: as a standby it applies what another node decided, and decides nothing before
//! its start. As the active it may be asked to hand over.
//!
//! A client that has seen a change on another member may be ahead of a standby. Its `sync` waits
//! here for a moment, as the standby would misjudge what it does not have yet.
//!
//! Invariants:
//! - Each core gets every batch of the journal, in order, and applies the records of its slots.
//! - What every core has applied is in `applied` of its mailbox.

use std::sync::atomic::Ordering;
use std::time::Duration;

use snapshot::{Batch, Lsn, Planted, is_planted};

use super::{LocalWorker, Worker};
use crate::command::handover::Handover;
use crate::command::{Error, Kind, Outcome, ShardCommand};
use crate::limits::{LAG_WAIT_MS, LAG_WAITS_MAX};
use crate::node::membership::MemberRole;
use crate::node::responder::Responder;
use crate::node::standby_reads::LetsIn;
use crate::shard::events::slot_of;
use crate::shard::op::{Answer, Answered, Op, ReplyTo};

/// An operation that waits for records which this standby does not have yet.
pub(super) struct Lagging {
    /// Until when it waits, on the clock that runs on in suspend.
    until: Duration,
    to: ReplyTo,
    op: Op,
}

impl LocalWorker {
    /// Begins to decide. The next flush sends the deliveries that the outboxes still hold.
    pub fn start(&self) {
        self.0.borrow_mut().start();
    }

    /// The error for a request of this kind that was read before now. `None` if it may be routed.
    /// `stale` is the age up to which the connection takes the state of a standby.
    pub fn turned_away(&self, kind: Kind, stale: Option<Duration>) -> Option<Error> {
        self.0.borrow().node.turned_away(kind, stale)
    }

    /// How much of what a connection may send is let in now.
    pub fn lets_in(&self, stale: Option<Duration>) -> LetsIn {
        self.0.borrow().node.lets_in(stale)
    }

    /// The error that ends all watches; `None` while they may go on.
    pub fn watch_refusal(&self) -> Option<Error> {
        self.0.borrow().node.watch_refusal()
    }

    /// The error for a client that knows more than this node has. `None` if no other node may have
    /// more.
    pub fn moved(&self) -> Option<Error> {
        self.0.borrow().node.moved()
    }

    /// Replies to the handover that this core was asked for.
    pub(in crate::node) fn handed_over(&self, outcome: Outcome) {
        let worker = &mut *self.0.borrow_mut();
        if let Some(responder) = worker.handing_over.take() {
            worker.finish(responder, outcome);
        }
    }
}

impl Worker {
    /// Asks the member's thread for a handover. Its reply comes with [`LocalWorker::handed_over`].
    pub(super) fn hand_over(&mut self, responder: Responder, asked: Handover) {
        match self.node.hand_over(self.shard_id, asked) {
            Ok(()) => self.handing_over = Some(responder),
            Err(error) => self.finish(responder, Err(error)),
        }
    }

    /// Whether an error of this operation waits for the log like a reply: on a member, the state
    /// that it tells of may not be committed yet.
    pub(super) fn promises_errors(&self, op: &Op) -> bool {
        self.node.member.is_some() && op.properties().promises
    }

    /// Lets the errors behind the first `answers` answers wait for the log.
    pub(super) fn hold_error(&mut self, answers: usize) {
        for answered in self.out.answers.iter_mut().skip(answers) {
            if let Answer::Done(Err(error)) = &answered.answer {
                answered.after_log |= error.is_of_state();
            }
        }
    }

    /// Sets whether the log wakes this core when it moves.
    pub(super) fn note_waits(&self) {
        let is_held = !self.commit_gate.is_empty() || !self.unconfirmed.is_empty();
        let waits = is_held || !self.lagging.is_empty();
        self.mailbox().set_waits_for_log(waits);
    }

    /// Holds an operation back whose client has seen more than this standby has. Returns an
    /// operation that can run.
    #[inline]
    pub(super) fn hold_back(&mut self, to: ReplyTo, op: Op) -> Option<Op> {
        if !self.lacks(&op) {
            return Some(op);
        }
        let until = self.node.clock.boot() + Duration::from_millis(LAG_WAIT_MS);
        self.wait_for_log(Lagging { until, to, op })
    }

    /// Whether the client of an operation has seen more of a journal than this member has.
    fn lacks(&self, op: &Op) -> bool {
        let Op::Run(ShardCommand::Sync(sync)) = op else { return false };
        self.node.member.is_some() && self.shard.lacks(sync)
    }

    fn wait_for_log(&mut self, lagging: Lagging) -> Option<Op> {
        let Some(member) = self.node.member.as_deref() else { return Some(lagging.op) };
        let may_wait = match member.role() {
            // Nobody has more than the active: the version is wrong.
            MemberRole::Active => return Some(lagging.op),
            MemberRole::Standby | MemberRole::Claiming => {
                self.node.clock.boot() < lagging.until && self.lagging.len() < LAG_WAITS_MAX
            }
            MemberRole::Demoted => false,
        };
        if may_wait {
            self.lagging.push(lagging);
            self.note_waits();
        } else {
            let answer = Answer::Done(Err(member.moved_away()));
            self.dispatch(Answered { to: lagging.to, answer, after_log: false });
        }
        None
    }

    /// Runs the operations that were held back and can run now.
    pub(super) fn retry_lagging(&mut self) {
        if self.lagging.is_empty() {
            return;
        }
        for lagging in std::mem::take(&mut self.lagging) {
            let (to, lacks) = (lagging.to, self.lacks(&lagging.op));
            let op = if lacks { self.wait_for_log(lagging) } else { Some(lagging.op) };
            if let Some(op) = op {
                self.run_op(to, op);
            }
        }
        self.note_waits();
    }

    fn start(&mut self) {
        if !is_planted(Planted::OutboxNotStarted) {
            self.shard.start(&mut self.out);
        }
        self.node.clock.doubt(self.shard.newest_message());
    }

    /// Applies those records of a batch that belong to this core, as its standby.
    pub(super) fn replay(&mut self, first: Lsn, batch: &Batch) {
        let mut lsn = first;
        for record in batch.payloads() {
            let is_own = slot_of(record).map(|slot| slot.shard(self.node.shards) == self.shard_id);
            let applied = is_own.and_then(|is_own| match is_own {
                true => self.shard.replay(record),
                false => Ok(()),
            });
            if let (Err(error), Some(member)) = (applied, &self.node.member) {
                return member.fail(format!("record {lsn} of the journal: {error}"));
            }
            self.give_capture(lsn);
            self.note_comparison();
            lsn = lsn.next();
        }
        self.node.clock.keys_logged(self.shard.newest_replayed_answer());
        self.mailbox().applied.store(lsn.previous().0, Ordering::Release);
    }
}
