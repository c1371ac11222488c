//! The replies that a connection's client has not read, and their budget in the node.
//!
//! Invariants:
//! - Up to [`TCP_UNSENT_BYTES_FREE`] unread bytes of a connection count in no budget and cost no
//!   lock.
//! - More bytes count in a budget of the node, but only while the socket takes nothing. A long
//!   reply counts from the moment at which it is encoded.
//! - When the budget is used up, the client that has not read for the longest time is dropped.
//! - While no client may be dropped yet, a client that does not read is held back at
//!   [`TCP_UNSENT_BYTES_FREE`]: its requests, its watches and their reading of files wait. A long
//!   reply to a read is then replaced by an error.
//! - The reply to a write is always given: an error would say that nothing was applied.

use std::future::pending;
use std::sync::Arc;

use crate::admission::{Budget, BudgetHold};
use crate::command::{Class, Error, ErrorCode, Outcome, Reply};
use crate::limits::{PROGRESS_BYTES, TCP_UNSENT_BYTES_FREE, UNSENT_BYTES_MAX};
use crate::node::responder::ReplyBody;

/// The unread bytes of one connection, and its part of the node's budget.
#[derive(Debug)]
pub struct UnreadBudget {
    budget: Arc<Budget>,
    hold: Option<BudgetHold>,
    /// Bytes that the client took since it last took enough to count as reading.
    taken: usize,
    room: usize,
}

/// A connection's part of the budget, taken out of its [`UnreadBudget`] while the connection waits.
#[derive(Debug)]
pub struct UnreadPart(BudgetHold);

impl UnreadPart {
    /// Completes when the connection must be dropped, because other clients need its memory.
    pub async fn evicted(&self) {
        self.0.evicted().await;
    }
}

impl UnreadBudget {
    /// Begins a connection that has nothing unread. `budget` is that of the node, for all
    /// connections.
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { budget, hold: None, taken: 0, room: UNSENT_BYTES_MAX }
    }

    /// How many bytes of replies may wait. At this many, the connection makes no more replies and
    /// takes no request.
    #[inline]
    pub fn room(&self) -> usize {
        self.room
    }

    /// Whether the connection holds nothing of the node's budget now.
    #[inline]
    pub fn is_free(&self) -> bool {
        self.hold.is_none()
    }

    /// Notes that the client took `bytes` bytes.
    #[inline]
    pub fn took(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Holds room for `held` bytes before a long reply or a page for a watch is made. Returns
    /// whether there is room. One reply may be larger than the budget: it then counts as the whole
    /// budget.
    pub fn admit(&mut self, held: usize) -> bool {
        let held = held.min(self.budget.max());
        match &mut self.hold {
            Some(hold) => hold.resize(held),
            none => {
                *none = self.budget.hold(held);
                none.is_some()
            }
        }
    }

    /// Counts `held` unread bytes, because the socket takes nothing. Returns whether the budget has
    /// room for them, and sets [`Self::room`] by that.
    pub fn note(&mut self, held: usize) -> bool {
        let has_made_progress = self.taken >= PROGRESS_BYTES;
        if has_made_progress || held <= TCP_UNSENT_BYTES_FREE {
            self.taken = 0;
        }
        if held <= TCP_UNSENT_BYTES_FREE {
            self.hold = None;
            self.room = UNSENT_BYTES_MAX;
            return true;
        }
        let fits = self.admit(held);
        if let Some(hold) = self.hold.as_mut().filter(|_| has_made_progress) {
            hold.renew();
        }
        self.room = if fits { UNSENT_BYTES_MAX } else { TCP_UNSENT_BYTES_FREE };
        fits
    }

    /// Counts `held` bytes even if the budget has no room for them, for a reply that must be given.
    pub fn note_anyway(&mut self, held: usize) {
        let held = held.min(self.budget.max());
        match &mut self.hold {
            Some(hold) => _ = hold.resize_anyway(held),
            none => *none = Some(self.budget.hold_anyway(held)),
        }
    }

    /// Takes out the connection's part of the budget, so that a wait can notice its eviction.
    pub fn take(&mut self) -> Option<UnreadPart> {
        self.hold.take().map(UnreadPart)
    }

    /// Puts back what [`Self::take`] took, after the wait.
    pub fn put_back(&mut self, part: Option<UnreadPart>) {
        self.hold = part.map(|UnreadPart(hold)| hold);
    }
}

/// Completes when this part of the budget is evicted. Never completes for `None`.
pub async fn evicted(part: Option<&UnreadPart>) {
    match part {
        Some(part) => part.evicted().await,
        None => pending().await,
    }
}

/// About how many bytes of memory a reply occupies before it is encoded.
pub fn bytes_of(body: &ReplyBody) -> usize {
    match body {
        ReplyBody::Frames { bytes, .. } => bytes.len(),
        ReplyBody::Outcome { outcome, .. } => bytes_of_outcome(outcome),
    }
}

/// About how many bytes of memory the items of an outcome occupy; 0 for an error or a short reply.
pub fn bytes_of_outcome(outcome: &Outcome) -> usize {
    outcome.as_ref().map_or(0, Reply::bytes)
}

/// Replaces the reply to a read by an error (429), as a read applied nothing. Returns whether it
/// did so.
pub fn withhold(outcome: &mut Outcome) -> bool {
    let is_read = outcome.as_ref().is_ok_and(|reply| reply.kind().class() == Class::Read);
    if is_read {
        let message = "too many replies are unread; try again later";
        *outcome = Err(Error::new(ErrorCode::Busy, message));
    }
    is_read
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::command::list::ListReply;
    use crate::command::touch::TouchReply;
    use crate::limits::WATCH_PAGE_HELD_BYTES;

    const MAX: usize = 4 * WATCH_PAGE_HELD_BYTES;

    fn budget() -> Arc<Budget> {
        Budget::new(MAX, Duration::from_secs(3600))
    }

    #[test]
    fn little_counts_nothing_and_much_is_held_back_when_all_is_used_up() {
        let budget = budget();
        let [mut first, mut second] = [(); 2].map(|()| UnreadBudget::new(Arc::clone(&budget)));
        assert!(first.note(TCP_UNSENT_BYTES_FREE) && first.is_free() && budget.held() == 0);
        assert!(first.note(MAX) && first.room() == UNSENT_BYTES_MAX && budget.held() == MAX);
        assert!(!second.note(TCP_UNSENT_BYTES_FREE + 1), "nobody may be dropped yet");
        assert_eq!(second.room(), TCP_UNSENT_BYTES_FREE);
        second.note_anyway(TCP_UNSENT_BYTES_FREE + 1);
        assert_eq!(budget.held(), MAX + TCP_UNSENT_BYTES_FREE + 1, "it is there already");
        // The first client has read nearly everything, so it holds no part of the budget.
        assert!(first.note(1) && first.is_free());
        assert!(second.note(TCP_UNSENT_BYTES_FREE + 1) && second.room() == UNSENT_BYTES_MAX);
    }

    #[test]
    fn a_client_that_reads_becomes_younger() {
        let budget = Budget::new(MAX, Duration::ZERO);
        let [mut first, mut second] = [(); 2].map(|()| UnreadBudget::new(Arc::clone(&budget)));
        assert!(first.note(MAX / 2) && second.note(MAX / 2));
        first.took(PROGRESS_BYTES);
        assert!(first.note(MAX / 2));
        second.took(PROGRESS_BYTES - 1);
        assert!(second.note(MAX / 2));
        let third = budget.hold(1).unwrap();
        assert!(!first.hold.unwrap().is_evicted() && second.hold.unwrap().is_evicted());
        drop(third);
    }

    #[test]
    fn what_is_larger_than_all_of_it_is_let_in_alone() {
        let budget = budget();
        let [mut first, mut second] = [(); 2].map(|()| UnreadBudget::new(Arc::clone(&budget)));
        assert!(first.admit(10 * MAX) && budget.held() == MAX);
        assert!(!second.admit(1));
    }

    #[test]
    fn only_the_reply_to_a_read_is_withheld() {
        let list = ListReply { items: Vec::new(), next_cursor: None };
        let mut read = Ok(Reply::List(list));
        assert!(withhold(&mut read) && read.unwrap_err().code == ErrorCode::Busy);
        let mut written = Ok(Reply::Touch(TouchReply { touched: 7 }));
        assert!(!withhold(&mut written) && written.is_ok());
    }
}
