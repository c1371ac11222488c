//! Counts the answers that a command still waits for, and joins their errors.

use crate::command::Error;

/// The number of parts without an answer, and the first error of those that answered.
#[derive(Default)]
pub(super) struct Missing {
    parts: usize,
    error: Option<Error>,
    /// The parts change nothing; they only check whether they could be applied.
    are_checks: bool,
    /// A part was applied, or may have been.
    any_applied: bool,
}

impl Missing {
    pub(super) fn of(parts: usize) -> Self {
        Self { parts, ..Self::default() }
    }

    /// Parts that follow other parts, which were applied.
    pub(super) fn behind_others(parts: usize) -> Self {
        Self { any_applied: true, ..Self::of(parts) }
    }

    pub(super) fn of_checks(parts: usize) -> Self {
        Self { are_checks: true, ..Self::of(parts) }
    }

    /// Counts an answer. Returns the outcome after the last one; of several errors, the first.
    pub(super) fn note<R>(&mut self, outcome: Result<R, Error>) -> Option<Result<(), Error>> {
        self.parts = self.parts.saturating_sub(1);
        match outcome {
            Ok(_) => self.any_applied |= !self.are_checks,
            Err(error) => {
                self.any_applied |= error.is_outcome_unknown();
                self.error.get_or_insert(error);
            }
        }
        if self.parts > 0 {
            return None;
        }
        Some(match self.error.take() {
            None => Ok(()),
            Some(error) if self.any_applied => Err(error.of_a_part()),
            Some(error) => Err(error),
        })
    }
}
