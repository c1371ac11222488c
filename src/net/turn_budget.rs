//! What a connection may do before the others on its core have their turn.

use std::time::{Duration, Instant};

/// Requests.
const REQUESTS_MAX: usize = 256;
/// Bytes of replies.
const REPLY_BYTES_MAX: usize = 128 << 10;
/// Work, whatever it is for.
const TIME_MAX: Duration = Duration::from_micros(150);

/// What a connection has had of its share. It goes on from turn to turn, as a turn that ends for want of
/// requests may be followed by the next at once, until others had theirs.
#[derive(Debug)]
pub struct TurnBudget {
    requests: usize,
    reply_bytes: usize,
    time: Duration,
    /// From when on time is not counted yet.
    since: Instant,
}

impl TurnBudget {
    /// A share of which nothing is used.
    pub fn new(now: Instant) -> Self {
        Self { requests: 0, reply_bytes: 0, time: Duration::ZERO, since: now }
    }

    /// A turn begins: what was waited for is not counted.
    pub fn begin_turn(&mut self, now: Instant) {
        self.since = now;
    }

    /// Counts a request, and bytes of replies.
    pub fn add(&mut self, requests: usize, reply_bytes: usize) {
        self.requests += requests;
        self.reply_bytes += reply_bytes;
    }

    /// Counts the time until now. It is for the caller to do so where time may have passed.
    pub fn add_time(&mut self, now: Instant) {
        self.time += now.saturating_duration_since(self.since);
        self.since = now;
    }

    /// Whether others come first now.
    pub fn is_used_up(&self) -> bool {
        self.requests >= REQUESTS_MAX
            || self.reply_bytes >= REPLY_BYTES_MAX
            || self.time >= TIME_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_its_parts_uses_it_up() {
        let now = Instant::now();
        let mut share = TurnBudget::new(now);
        share.add(REQUESTS_MAX - 1, REPLY_BYTES_MAX - 1);
        assert!(!share.is_used_up());
        share.add(1, 0);
        assert!(share.is_used_up());
        let mut share = TurnBudget::new(now);
        share.add(1, REPLY_BYTES_MAX);
        assert!(share.is_used_up());
    }

    #[test]
    fn time_is_that_of_its_turns_together() {
        let start = Instant::now();
        let mut share = TurnBudget::new(start);
        for turn in 0..10 {
            // A second passes between two turns.
            let begin = start + Duration::from_secs(turn);
            share.begin_turn(begin);
            assert!(!share.is_used_up());
            share.add_time(begin + TIME_MAX / 20);
            share.add_time(begin + TIME_MAX / 10);
        }
        assert!(share.is_used_up());
    }
}
