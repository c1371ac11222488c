//! Counts the answers of shards that a command still waits for, and joins their errors.

use crate::command::Error;

/// How many parts of a command have no answer yet, and the first error of those that have one.
#[derive(Default)]
pub(super) struct Missing {
    parts: usize,
    error: Option<Error>,
    /// The parts only ask whether they could be applied, and change nothing.
    are_checks: bool,
    /// A part was applied, or may have been. Then an error must say so.
    any_applied: bool,
}

impl Missing {
    pub(super) fn of(parts: usize) -> Self {
        Self { parts, ..Self::default() }
    }

    /// Counts the parts of a command that already applied other parts.
    pub(super) fn behind_others(parts: usize) -> Self {
        Self { any_applied: true, ..Self::of(parts) }
    }

    pub(super) fn of_checks(parts: usize) -> Self {
        Self { are_checks: true, ..Self::of(parts) }
    }

    /// Notes the answer to one part. After the last answer it returns the outcome of the command:
    /// the first error, if there was one.
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
