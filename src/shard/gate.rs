//! Holds answers back until the log has what they promise.
//!
//! Invariants:
//! - An answer leaves only when the log has reached the point that it was held at.
//! - Answers leave in the order in which they were held.

use std::collections::VecDeque;

use snapshot::Lsn;

use super::op::{Answer, Answered};
use crate::command::Error;

/// Answers that wait for the log.
#[derive(Debug, Default)]
pub struct Gate {
    held: VecDeque<(Lsn, Answered)>,
}

impl Gate {
    /// Holds an answer until the log has reached `until`, which never goes back.
    pub fn hold(&mut self, until: Lsn, answer: Answered) {
        self.held.push_back((until, answer));
    }

    /// Whether answers wait.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The log has reached `reached`: the next answer that may leave.
    pub fn release(&mut self, reached: Lsn) -> Option<Answered> {
        let (until, _) = self.held.front()?;
        if *until > reached {
            return None;
        }
        self.held.pop_front().map(|(_, answered)| answered)
    }

    /// The log is stuck: the next answer, turned into an error. Whether its record will reach the
    /// disk is not known.
    pub fn fail(&mut self, why: &str) -> Option<Answered> {
        let (_, answered) = self.held.pop_front()?;
        let answer = Answer::Done(Err(Error::outcome_unknown(why)));
        Some(Answered { answer, ..answered })
    }
}
