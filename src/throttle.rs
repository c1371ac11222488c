//! Limits log lines that repeat: a few in ten seconds. The next line says how many were left out.
//!
//! A client or a broken disk can cause some lines again and again. They must not fill the log, or
//! hide other lines.
//!
//! Invariants:
//! - The first line of its kind is written immediately.
//! - The next line that is written counts the lines that were left out before it.
//! - The end of an [`Episode`] is written exactly if its beginning was.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time for which a limit counts lines, from the first one on.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// The limit of one kind of log line.
#[derive(Debug)]
pub struct Throttle {
    lines_max: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the interval's first line was written; `lines` counts all lines of the interval.
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Throttle {
    /// One line per [`INTERVAL`], for lines that all say one thing.
    pub const fn new() -> Self {
        Self::of(1)
    }

    /// At most `lines_max` lines per [`INTERVAL`], for lines that each name another peer.
    pub const fn of(lines_max: u32) -> Self {
        let state = State { since: None, lines: 0, left_out: 0 };
        Self { lines_max, state: Mutex::new(state) }
    }

    /// Whether a line may be written now. `None` means that it may not; it is counted as left out.
    pub fn admit(&self) -> Option<LeftOut> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<LeftOut> {
        let admitted = self.take_turn(now);
        if admitted.is_none() {
            self.leave_out();
        }
        admitted
    }

    fn take_turn(&self, now: Instant) -> Option<LeftOut> {
        let mut state = self.lock();
        if state.since.is_none_or(|since| now.saturating_duration_since(since) >= INTERVAL) {
            (state.since, state.lines) = (Some(now), 0);
        }
        (state.lines < self.lines_max).then(|| {
            state.lines += 1;
            LeftOut(std::mem::take(&mut state.left_out))
        })
    }

    fn leave_out(&self) {
        let mut state = self.lock();
        state.left_out = state.left_out.saturating_add(1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is a time and two counts: a panic cannot leave it broken.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

/// Number of lines that were left out before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut(u64);

impl LeftOut {
    /// The value of a log line's field. `None`, which is not written, if no line was left out.
    pub fn field(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }
}

/// The lines about a state that may come and go quickly: one when it begins, one when it ends.
#[derive(Debug, Default)]
pub struct Episode {
    throttle: Throttle,
    phase: Mutex<Phase>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Over,
    /// The state lasts, and no line about it was written yet.
    Unwritten,
    /// The state lasts, and a line about it was written.
    Written,
}

impl Episode {
    /// Whether to write now that the state has begun. Call it at the beginning and again while the
    /// state lasts: a beginning soon after another one is written late.
    pub fn lasts(&self) -> Option<LeftOut> {
        self.lasts_at(Instant::now())
    }

    /// Ends the state. Returns whether to write a line about the end.
    pub fn ends(&self) -> bool {
        let ended = std::mem::take(&mut *self.lock());
        if ended == Phase::Unwritten {
            self.throttle.leave_out();
        }
        ended == Phase::Written
    }

    fn lasts_at(&self, now: Instant) -> Option<LeftOut> {
        let mut phase = self.lock();
        if *phase == Phase::Written {
            return None;
        }
        let admitted = self.throttle.take_turn(now);
        *phase = if admitted.is_some() { Phase::Written } else { Phase::Unwritten };
        admitted
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a log line like `tracing`'s macro of the level, within the limit of its kind: one line
/// per [`INTERVAL`] from this place of the code. `of N` allows N lines; `by LIMIT` uses that
/// [`Throttle`].
macro_rules! throttled {
    (by $throttle:expr, $level:ident, $($line:tt)+) => {
        if let Some(left_out) = $throttle.admit() {
            tracing::$level!(left_out = left_out.field(), $($line)+);
        }
    };
    (of $lines:literal, $level:ident, $($line:tt)+) => {{
        static THROTTLE: $crate::throttle::Throttle = $crate::throttle::Throttle::of($lines);
        $crate::throttle::throttled!(by THROTTLE, $level, $($line)+);
    }};
    ($level:ident, $($line:tt)+) => {
        $crate::throttle::throttled!(of 1, $level, $($line)+)
    };
}
pub(crate) use throttled;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_an_interval_counts_those_before_it() {
        let (throttle, start) = (Throttle::new(), Instant::now());
        assert_eq!(throttle.admit_at(start).unwrap().field(), None);
        for _ in 0..7 {
            assert_eq!(throttle.admit_at(start + INTERVAL / 2), None);
        }
        assert_eq!(throttle.admit_at(start + INTERVAL).unwrap().field(), Some(7));
        assert_eq!(throttle.admit_at(start + INTERVAL), None);
        assert_eq!(throttle.admit_at(start + 3 * INTERVAL).unwrap().field(), Some(1));
        assert_eq!(throttle.admit_at(start + 4 * INTERVAL).unwrap().field(), None);
    }

    #[test]
    fn a_kind_whose_lines_differ_has_some_in_each_interval() {
        let (throttle, start) = (Throttle::of(3), Instant::now());
        let admitted = |at| (0..5).filter(|_| throttle.admit_at(at).is_some()).count();
        assert_eq!(admitted(start), 3);
        assert_eq!(admitted(start + INTERVAL / 2), 0);
        assert_eq!(throttle.admit_at(start + INTERVAL).unwrap().field(), Some(7));
        assert_eq!(admitted(start + INTERVAL), 2);
    }

    #[test]
    fn the_end_of_an_episode_is_written_exactly_if_its_begin_was() {
        let (episode, start) = (Episode::default(), Instant::now());
        assert!(!episode.ends());
        assert_eq!(episode.lasts_at(start).unwrap().field(), None);
        assert_eq!(episode.lasts_at(start + 5 * INTERVAL), None);
        assert!(episode.ends());
        // Two short ones are left out; the third lasts until its line is due.
        for _ in 0..2 {
            assert_eq!(episode.lasts_at(start), None);
            assert!(!episode.ends());
        }
        assert_eq!(episode.lasts_at(start), None);
        assert_eq!(episode.lasts_at(start), None);
        assert_eq!(episode.lasts_at(start + INTERVAL).unwrap().field(), Some(2));
        assert!(episode.ends() && !episode.ends());
    }
}
