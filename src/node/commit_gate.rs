//! Holds replies back until the log has the records that they depend on, or until an append is
//! accepted that confirms them.
//!
//! Invariants:
//! - An item leaves only after what it waits for is reached: an LSN of the log, or an append.
//! - Items leave in the order in which they came.

use std::collections::VecDeque;

use snapshot::Lsn;

/// Items that wait, each with what it waits for.
#[derive(Debug)]
pub struct CommitGate<T, U = Lsn> {
    held: VecDeque<(U, T)>,
}

impl<T, U> Default for CommitGate<T, U> {
    fn default() -> Self {
        Self { held: VecDeque::new() }
    }
}

impl<T, U: PartialOrd + Copy> CommitGate<T, U> {
    /// Holds an item until `until` is reached, and until all items before it have left.
    pub fn hold(&mut self, until: U, held: T) {
        self.held.push_back((until, held));
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes out the next item if what is reached is enough for it.
    pub fn release(&mut self, reached: U) -> Option<T> {
        self.held.pop_front_if(|(until, _)| *until <= reached).map(|(_, held)| held)
    }

    /// Takes out the next item although what it waits for is not reached: the log is stuck, so the
    /// outcome is unknown.
    pub fn give_up(&mut self) -> Option<T> {
        self.held.pop_front().map(|(_, held)| held)
    }
}
