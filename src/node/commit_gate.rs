//! Holds back what promises something until the log has it.
//!
//! Invariants:
//! - What is held leaves only when the log has reached the point that it was held at.
//! - It leaves in the order in which it was held.

use std::collections::VecDeque;

use snapshot::Lsn;

/// What waits for the log.
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
    /// Holds this until the log has reached `until`, which never goes back.
    pub fn hold(&mut self, until: Lsn, held: T) {
        self.held.push_back((until, held));
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The log has reached `reached`: the next that may leave.
    pub fn release(&mut self, reached: Lsn) -> Option<T> {
        self.held.pop_front_if(|(until, _)| *until <= reached).map(|(_, held)| held)
    }

    /// The log is stuck: the next, of which nobody knows whether the log will ever have it.
    pub fn give_up(&mut self) -> Option<T> {
        self.held.pop_front().map(|(_, held)| held)
    }
}
