//! Replies of an active that wait until an accepted append shows that it still is the active; see
//! [`crate::node::confirmations`].
//!
//! Invariants:
//! - The number of the append is taken when the request enters its router, so after it was read.
//! - While replies wait for appends, no request takes the fast path, and no list is read in place. So
//!   every reply comes through [`Worker::confirm`].
//! - On a member a page of `export` leaves when the log has all that it shows, like `sync`. A read
//!   that waits for an append does so too.

use super::Worker;
use crate::command::{Class, Error, Kind, OnStandby, Outcome, Reply};
use crate::node::log::LogState;
use crate::node::responder::Responder;

const SILENT: &str = "no word of the journal's engine shows that this node is still the active";

impl Worker {
    /// Gives a request the number of the append that confirms its reply.
    pub(super) fn expect_confirmation(&self, responder: &mut Responder) {
        if let Some(member) = &self.node.member
            && responder.kind().on_standby() != OnStandby::Always
        {
            responder.confirmation = member.confirmation_due();
        }
    }

    /// Whether an outcome that several shards have answered waits for the log.
    pub(super) fn promises_outcome(&self, responder: &Responder, outcome: &Outcome) -> bool {
        match outcome {
            _ if self.node.member.is_none() => false,
            Ok(Reply::Export(_)) => true,
            // The log had all that it shows when it left its shard.
            Ok(Reply::Sync(_)) => false,
            _ => responder.confirmation > 0 && responder.kind().class() == Class::Read,
        }
    }

    /// Delivers an outcome, or holds it back until its append is accepted.
    pub(super) fn confirm(&mut self, responder: Responder, outcome: Outcome) {
        let due = responder.confirmation;
        match self.node.member.as_deref().filter(|_| due > 0) {
            Some(member) if due > member.confirmations.accepted() => {
                if member.confirmations.want(due) {
                    self.log_waits |= self.node.log.ask_turn();
                }
                self.unconfirmed.hold(due, (responder, outcome));
            }
            _ => self.finish(responder, outcome),
        }
    }

    /// Sends the held replies whose append is accepted. Gives all up if the engine gives no word, or
    /// if another node is the active.
    pub(super) fn release_confirmed(&mut self) {
        let Some(member) = self.node.member.clone() else { return };
        let accepted = member.confirmations.accepted();
        while let Some((responder, outcome)) = self.unconfirmed.release(accepted) {
            self.finish(responder, outcome);
        }
        let why = match self.node.log.state() {
            LogState::Ok if member.confirmations.are_silent() => SILENT,
            LogState::Ok => return,
            state => state.why(),
        };
        while let Some((responder, _)) = self.unconfirmed.give_up() {
            let error = unconfirmed(responder.kind(), why);
            self.finish(responder, Err(error));
        }
    }

    /// Gives up an outcome that waits for the log.
    pub(super) fn fail_outcome(&mut self, responder: Responder, why: &str) {
        let error = unconfirmed(responder.kind(), why);
        self.finish(responder, Err(error));
    }
}

/// The error for a request whose reply cannot leave. An unchanged write or a repeat may have been
/// applied before.
fn unconfirmed(kind: Kind, why: &str) -> Error {
    match kind.class() {
        Class::Write => Error::outcome_unknown(why),
        Class::Read | Class::Operate => Error::not_applied(why),
    }
}
