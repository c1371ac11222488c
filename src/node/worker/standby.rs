//! A core of a member: as a standby it applies what another node decided, and decides nothing before
//! its start. As the active it may be asked to hand over.
//!
//! Invariants:
//! - Each core gets every batch of the journal, in order, and applies the records of its slots.
//! - What every core has applied is in `applied` of its mailbox.

use std::sync::atomic::Ordering;

use snapshot::{Batch, Lsn, Planted, is_planted};

use super::{LocalWorker, Worker};
use crate::command::handover::Handover;
use crate::command::{Error, Kind, Outcome};
use crate::node::responder::Responder;
use crate::shard::events::slot_of;
use crate::shard::op::{Answer, Op};

impl LocalWorker {
    /// Begins to decide. The next flush sends the deliveries that the outboxes still hold.
    pub fn start(&self) {
        self.0.borrow_mut().start();
    }

    /// The error for a request of this kind that was read before now. `None` if it may be routed.
    pub fn turned_away(&self, kind: Kind) -> Option<Error> {
        self.0.borrow().node.turned_away(kind)
    }

    /// The error that ends all watches; `None` while they may go on.
    pub fn watch_refusal(&self) -> Option<Error> {
        self.0.borrow().node.watch_refusal()
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

    fn start(&mut self) {
        // Without a journal, the clock has begun with the newest key.
        if self.node.member.is_some()
            && let Some(newest) = self.shard.newest_answer()
        {
            self.node.clock.keys_not_below(newest);
        }
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
            lsn = lsn.next();
        }
        self.mailbox().applied.store(lsn.previous().0, Ordering::Release);
    }
}
