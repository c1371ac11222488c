//! How long tasks hold a core: a histogram of all turns, and the longest of the last minutes.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::time::{Duration, Instant};

use super::Durations;

/// The length of one window. [`Turns::longest`] looks at the current one and the one before.
const WINDOW: Duration = Duration::from_secs(60);

/// The turns of one core since its start.
#[derive(Debug, Clone, Copy)]
pub struct Turns {
    all: Durations,
    /// The longest turn of the current window, and of the window before it.
    longest: [Duration; 2],
    /// When the current window ends.
    until: Instant,
}

impl Turns {
    /// Begins without turns. The first window begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self { all: Durations::default(), longest: [Duration::ZERO; 2], until: now + WINDOW }
    }

    /// Counts a turn that began at `began` and lasted for `took`.
    pub fn record(&mut self, began: Instant, took: Duration) {
        self.all.record(took);
        if began >= self.until {
            self.begin_window(began);
        }
        let [current, _] = &mut self.longest;
        *current = (*current).max(took);
    }

    /// A histogram of all turns since the start.
    pub fn all(&self) -> Durations {
        self.all
    }

    /// The longest turn of the last one to two minutes.
    pub fn longest(&self, now: Instant) -> Duration {
        let mut seen = *self;
        if now >= seen.until {
            seen.begin_window(now);
        }
        let [current, before] = seen.longest;
        current.max(before)
    }

    #[cold]
    fn begin_window(&mut self, now: Instant) {
        let [current, _] = self.longest;
        let is_next = now < self.until + WINDOW;
        self.longest = [Duration::ZERO, if is_next { current } else { Duration::ZERO }];
        self.until = now + WINDOW;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_is_of_the_last_minutes() {
        let start = Instant::now();
        let (mut turns, ms) = (Turns::new(start), Duration::from_millis);
        turns.record(start, ms(300));
        turns.record(start + WINDOW / 2, ms(20));
        assert_eq!(turns.longest(start + WINDOW / 2), ms(300));
        // The turn of 300 ms still counts in the next window, and no longer in the one after it.
        turns.record(start + WINDOW, ms(5));
        assert_eq!(turns.longest(start + WINDOW), ms(300));
        turns.record(start + 2 * WINDOW, ms(7));
        assert_eq!(turns.longest(start + 2 * WINDOW), ms(7));
        // The core is idle from here on.
        assert_eq!(turns.longest(start + 3 * WINDOW), ms(7));
        assert_eq!(turns.longest(start + 9 * WINDOW), Duration::ZERO);
        assert_eq!(turns.all().count(), 4);
    }
}
