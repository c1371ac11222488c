//! How long a standby has known that the active is silent.
//!
//! # Invariants
//! - Only time between looks at the tail counts, and of each pause only so much as looks are apart.
//!   Time in which the engine was out of reach, or this process stood still, does not count.
//! - A new entry takes the count back to zero.

use std::time::Duration;

/// The silence of the active, as one standby has seen it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuietTime {
    /// Most that one pause between two looks counts.
    pause_max: Duration,
    quiet: Duration,
    looked: Option<Duration>,
}

impl QuietTime {
    /// A count that looks at the tail keep up, at most `pause_max` apart.
    #[must_use]
    pub fn new(pause_max: Duration) -> Self {
        Self { pause_max, quiet: Duration::ZERO, looked: None }
    }

    /// Notes a reply about the tail that came at `now`, and whether it showed a new entry.
    pub fn looked(&mut self, now: Duration, has_new_entry: bool) {
        let pause = self.looked.map_or(Duration::ZERO, |before| now.saturating_sub(before));
        self.looked = Some(now);
        self.quiet = match has_new_entry {
            true => Duration::ZERO,
            false => self.quiet.saturating_add(pause.min(self.pause_max)),
        };
    }

    /// For how long the active is known to be silent.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.quiet
    }
}
