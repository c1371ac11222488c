//! What a connection may do before the other connections of its worker get their turn.

use std::time::{Duration, Instant};

const REQUESTS_MAX: usize = 256;
/// Most bytes of replies before other connections of the worker run.
const REPLY_BYTES_MAX: usize = 128 << 10;
/// Most processor time, for any kind of work, before other connections of the worker run.
const TIME_MAX: Duration = Duration::from_micros(150);

/// What a connection has used since other connections of its worker last ran.
///
/// The sum goes over several turns: a turn that ends for lack of requests may be followed by the
/// next one before another connection runs.
#[derive(Debug)]
pub struct TurnBudget {
    requests: usize,
    reply_bytes: usize,
    time: Duration,
    /// The moment up to which time is counted.
    since: Instant,
}

impl TurnBudget {
    /// An unused budget; its first turn begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self { requests: 0, reply_bytes: 0, time: Duration::ZERO, since: now }
    }

    /// Begins a turn. Time before `now`, in which the connection waited, does not count.
    pub fn begin_turn(&mut self, now: Instant) {
        self.since = now;
    }

    /// Counts requests and bytes of replies against the turn budget.
    pub fn add(&mut self, requests: usize, reply_bytes: usize) {
        self.requests += requests;
        self.reply_bytes += reply_bytes;
    }

    /// Counts the time since the turn began or since the last call. The connection calls it behind
    /// each piece of work that may take long.
    pub fn add_time(&mut self, now: Instant) {
        self.time += now.saturating_duration_since(self.since);
        self.since = now;
    }

    /// Whether the other connections of the worker come first now.
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
        let mut budget = TurnBudget::new(now);
        budget.add(REQUESTS_MAX - 1, REPLY_BYTES_MAX - 1);
        assert!(!budget.is_used_up());
        budget.add(1, 0);
        assert!(budget.is_used_up());
        let mut budget = TurnBudget::new(now);
        budget.add(1, REPLY_BYTES_MAX);
        assert!(budget.is_used_up());
    }

    #[test]
    fn time_is_that_of_its_turns_together() {
        let start = Instant::now();
        let mut budget = TurnBudget::new(start);
        for turn in 0..10 {
            // One second passes between two turns of the connection.
            let begin = start + Duration::from_secs(turn);
            budget.begin_turn(begin);
            assert!(!budget.is_used_up());
            budget.add_time(begin + TIME_MAX / 20);
            budget.add_time(begin + TIME_MAX / 10);
        }
        assert!(budget.is_used_up());
    }
}
