//! The request for a handover: from a core, through the member's thread, to the end of the stint.
//!
//! # Invariants
//! - While the active hands over, nothing is let in. That ends with its role, or if the handover is
//!   given up.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::{MemberRole, Membership};
use crate::command::error::Moved;
use crate::command::{Error, ErrorCode, Kind};
use crate::node::journal_figures::HandoverWhy;
use crate::types::ShardId;

const HANDS_OVER_ALREADY: &str = "not applied: a handover is under way";

/// A handover that a core was asked for.
#[derive(Debug)]
pub(in crate::node) struct HandoverRequest {
    /// The member that is to follow; any standby if absent.
    pub(in crate::node) to: Option<String>,
    /// The core that has the caller; `None` if the active leaves by itself.
    pub(in crate::node) caller: Option<ShardId>,
    pub(in crate::node) why: HandoverWhy,
}

impl Membership {
    /// Refuses a request that is meant for the stint of another claim than the newest one.
    pub(in crate::node) fn check_stint(&self, epoch: Option<u64>) -> Result<(), Error> {
        let newest = self.active().epoch;
        match epoch {
            Some(epoch) if epoch != newest => {
                let what = format!("epoch: the newest claim has {newest}, and not {epoch}");
                Err(Error::new(ErrorCode::Conflict, what))
            }
            _ => Ok(()),
        }
    }

    /// Asks the member's thread for a handover. From now on nothing is let in.
    pub(in crate::node) fn ask_handover(
        &self,
        now: Duration,
        request: HandoverRequest,
    ) -> Result<(), Error> {
        if self.role() != MemberRole::Active {
            return Err(self.moved_away());
        }
        let to = request.to.as_deref();
        if to == Some(&self.names.member) {
            return Err(Error::invalid("to: this member is the active already"));
        }
        self.known().may_follow(now, to)?;
        if self.hands_over.swap(true, Ordering::SeqCst) {
            return Err(Error::new(ErrorCode::Busy, HANDS_OVER_ALREADY));
        }
        *self.handover() = Some(request);
        Ok(())
    }

    fn handover(&self) -> MutexGuard<'_, Option<HandoverRequest>> {
        // No code that can panic runs under this lock.
        self.handover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handover that is to begin, if one was asked for.
    pub(in crate::node) fn take_handover(&self) -> Option<HandoverRequest> {
        match self.hands_over.load(Ordering::SeqCst) {
            true => self.handover().take(),
            false => None,
        }
    }

    /// Lets requests in again: the handover is given up.
    pub(in crate::node) fn keep_on(&self) {
        self.hands_over.store(false, Ordering::SeqCst);
    }

    /// The error for a request of this kind while this active hands over. `None` if it does not.
    pub(in crate::node) fn hands_over(&self, kind: Kind) -> Option<Error> {
        match self.hands_over.load(Ordering::SeqCst) {
            false => None,
            // A second one would go on to the next active, and end its stint too.
            true if kind == Kind::Handover => Some(Error::new(ErrorCode::Busy, HANDS_OVER_ALREADY)),
            true => {
                let moved = Moved { address: String::new(), epoch: self.active().epoch };
                let message = "this node hands over to another one".into();
                Some(Error { message, ..Error::moved(moved) })
            }
        }
    }

    /// Notes that a handover has ended the stint with this claim.
    pub(in crate::node) fn set_released(&self, epoch: u64) {
        self.released.store(epoch, Ordering::SeqCst);
    }

    /// The epoch of the stint that a handover has ended; `None` if none has.
    pub(in crate::node) fn released(&self) -> Option<u64> {
        Some(self.released.load(Ordering::SeqCst)).filter(|epoch| *epoch > 0)
    }
}
