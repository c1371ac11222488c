//! How long the active has been silent, as far as a standby can know.
//!
//! # Invariants
//! - The count grows only from one reply about the tail to the next, by `pause_max` at most. So
//!   time in which the engine was unreachable, or this process stood still, counts for no more than
//!   that.
//! - A new entry sets the count back to zero.

use std::time::Duration;

/// The silence of the active, as one standby has measured it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuietTime {
    /// A pause between two replies adds at most this much to the count.
    pause_max: Duration,
    quiet: Duration,
    looked: Option<Duration>,
}

impl QuietTime {
    /// A count of zero. Each pause between two replies about the tail may add up to `pause_max`.
    #[must_use]
    pub fn new(pause_max: Duration) -> Self {
        Self { pause_max, quiet: Duration::ZERO, looked: None }
    }

    /// Takes a reply about the tail that came at `now`. `has_new_entry` says whether it showed a
    /// new entry.
    pub fn looked(&mut self, now: Duration, has_new_entry: bool) {
        let pause = self.looked.map_or(Duration::ZERO, |before| now.saturating_sub(before));
        self.looked = Some(now);
        self.quiet = match has_new_entry {
            true => Duration::ZERO,
            false => self.quiet.saturating_add(pause.min(self.pause_max)),
        };
    }

    /// How long the active has been silent, as far as this standby knows.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.quiet
    }
}
