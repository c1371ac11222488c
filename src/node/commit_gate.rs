//! Holds replies back until the log has the records that they depend on.
//!
//! Invariants:
//! - An item leaves only after the log has reached the LSN that the item waits for.
//! - Items leave in the order in which they came.

use std::collections::VecDeque;

use snapshot::Lsn;

/// Items that wait for the log, each with the LSN that it waits for.
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
    /// Holds an item until the log has reached `until`. Later calls have an equal or higher
    /// `until`.
    pub fn hold(&mut self, until: Lsn, held: T) {
        self.held.push_back((until, held));
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes out the next item if the log, which has reached `reached`, is far enough for it.
    pub fn release(&mut self, reached: Lsn) -> Option<T> {
        self.held.pop_front_if(|(until, _)| *until <= reached).map(|(_, held)| held)
    }

    /// Takes out the next item although the log has not reached it: the log is stuck, so the
    /// outcome is unknown.
    pub fn give_up(&mut self) -> Option<T> {
        self.held.pop_front().map(|(_, held)| held)
    }
}
