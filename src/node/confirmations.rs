//! Proof that this node was still the active when it read a request: an append that was first sent
//! after that, and accepted.
//!
//! A lease is held by a clock. If a virtual machine stands still with its clock, the lease lasts too
//! long, and another member may have claimed meanwhile. An accepted append needs no clock: the
//! engine took it behind all entries that this node knows, so nobody had claimed before.
//!
//! Appends have numbers, from 1. A request gets the number of the next append; see
//! [`Confirmations::due`].
//!
//! # Invariants
//! - An append takes its number before it is first sent. So a request that was given the number of an
//!   append was read before that append was sent.
//! - All appends up to `accepted` are accepted.
//! - Who waits has said so before it waits, so the sink appends a beat if nothing else is due.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use snapshot::{Planted, is_planted};

/// The appends of one life of a member, and what waits for them.
#[derive(Debug, Default)]
pub struct Confirmations {
    /// Whether replies wait for them.
    is_on: bool,
    /// The newest number that an append has.
    sent: AtomicU64,
    accepted: AtomicU64,
    /// The highest number that a reply waits for.
    wanted: AtomicU64,
    /// Whether the engine has given no word for so long that nothing waits any longer.
    is_silent: AtomicBool,
}

impl Confirmations {
    /// Those of a member whose replies wait for them, or do not.
    pub(super) fn new(is_on: bool) -> Self {
        Self { is_on, ..Self::default() }
    }

    /// Whether replies wait for them.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// The append that confirms a request which was read before; 0 if replies do not wait.
    pub(super) fn due(&self) -> u64 {
        match self.is_on {
            true if is_planted(Planted::ConfirmedBefore) => self.sent.load(Ordering::SeqCst),
            true => self.sent.load(Ordering::SeqCst).saturating_add(1),
            false => 0,
        }
    }

    /// The newest append that is accepted, like all before it.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Says that a reply waits for this append. Returns whether nobody has waited for it.
    pub(super) fn want(&self, number: u64) -> bool {
        self.wanted.fetch_max(number, Ordering::SeqCst) < number
    }

    /// Whether a reply waits for an append that nobody has begun.
    pub(super) fn lack_one(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) > self.sent.load(Ordering::SeqCst)
    }

    /// Gives the next append its number. It is not sent yet.
    pub(super) fn begin(&self) {
        self.sent.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that every append which has a number is accepted. Returns whether replies may wait for
    /// that.
    pub(super) fn accept_all(&self) -> bool {
        self.is_silent.store(false, Ordering::SeqCst);
        let sent = self.sent.load(Ordering::SeqCst);
        self.accepted.swap(sent, Ordering::SeqCst) < sent && self.is_on
    }

    /// Notes that the engine gives no word for long. Returns whether replies may wait for one.
    pub(super) fn set_silent(&self) -> bool {
        self.is_on && !self.is_silent.swap(true, Ordering::SeqCst)
    }

    /// Whether nothing waits any longer.
    pub(super) fn are_silent(&self) -> bool {
        self.is_silent.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_under_way_confirms_nothing_that_is_read_meanwhile() {
        let confirmations = Confirmations::new(true);
        let before = confirmations.due();
        confirmations.begin();
        let meanwhile = confirmations.due();
        assert!(confirmations.accepted() < before);
        assert!(confirmations.accept_all());
        assert!((before..meanwhile).contains(&confirmations.accepted()));
        assert!(!confirmations.accept_all(), "nothing new is accepted");
    }

    #[test]
    fn one_append_serves_all_who_wait() {
        let confirmations = Confirmations::new(true);
        assert!(!confirmations.lack_one());
        let due = confirmations.due();
        assert!(confirmations.want(due) && !confirmations.want(due));
        assert!(confirmations.lack_one());
        confirmations.begin();
        assert!(!confirmations.lack_one(), "it is under way");
        assert!(confirmations.want(confirmations.due()) && confirmations.lack_one());
    }

    #[test]
    fn a_lease_needs_no_append() {
        let confirmations = Confirmations::new(false);
        confirmations.begin();
        assert_eq!(confirmations.due(), 0);
        assert!(!confirmations.accept_all() && !confirmations.set_silent());
    }
}
