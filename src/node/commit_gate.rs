//! Holds replies back until the log has the records that they depend on.
//!
//! Invariants:
//! - A held item leaves only after the log has reached the LSN that it was held for.
//! - Items leave in the order in which they were held.

use std::collections::VecDeque;

use snapshot::Lsn;

/// Items that wait for the log, each with its LSN.
#[derive(Debug)]
pub struct CommitGate<T> {
    held: VecDeque<(Lsn, T)>,
}

impl<T> Default for CommitGate<T> {
    fn default() -> Self {
        Self { held: VecDeque::new() }
    }
}

impl<T> CommitGate<T> {
    /// Holds an item until the log has reached `until`, which never decreases between calls.
    pub fn hold(&mut self, until: Lsn, held: T) {
        self.held.push_back((until, held));
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns the next item that may leave now that the log has reached `reached`.
    pub fn release(&mut self, reached: Lsn) -> Option<T> {
        self.held.pop_front_if(|(until, _)| *until <= reached).map(|(_, held)| held)
    }

    /// Returns the next item regardless of the log, which is stuck: the outcome is unknown.
    pub fn give_up(&mut self) -> Option<T> {
        self.held.pop_front().map(|(_, held)| held)
    }
}
