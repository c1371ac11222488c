//! Limits log lines of one kind to a few in ten seconds. The next line that is written says how
//! many were left out before it.
//!
//! A client or a broken disk can cause some lines again and again. They must neither fill the log
//! nor hide other lines.
//!
//! Invariants:
//! - The first line of its kind is written immediately.
//! - The next line that is written counts the lines that were left out before it.
//! - The end of an [`Episode`] is written if, and only if, its beginning was.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a limit counts lines before it begins again, from the first line on.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// How many log lines of one kind may be written.
#[derive(Debug)]
pub struct Throttle {
    lines_max: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the first line of the current interval was written. `lines` counts all lines since
    /// then.
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Throttle {
    /// A limit of one line per [`INTERVAL`], for lines that all say the same thing.
    pub const fn new() -> Self {
        Self::of(1)
    }

    /// A limit of `lines_max` lines per [`INTERVAL`], for lines that each name another client.
    pub const fn of(lines_max: u32) -> Self {
        let state = State { since: None, lines: 0, left_out: 0 };
        Self { lines_max, state: Mutex::new(state) }
    }

    /// Asks to write a line now. `None` means no; the line then counts as left out.
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
        // A panic cannot leave a time and two counts half changed, so a poisoned lock is usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

/// How many lines were left out before the line that is written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut(u64);

impl LeftOut {
    /// The count as the field of a log line. `None`, which writes no field, if no line was left
    /// out.
    pub fn field(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }
}

/// Limits the log lines about a state that may come and go quickly: one when it begins, one when it
/// ends.
#[derive(Debug, Default)]
pub struct Episode {
    throttle: Throttle,
    phase: Mutex<Phase>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Over,
    /// The state that the episode is about lasts, and no line about it was written yet.
    Unwritten,
    /// The state that the episode is about lasts, and a line about it was written.
    Written,
}

impl Episode {
    /// Notes that the state lasts, and asks whether to log its beginning now. The caller calls it
    /// when the state begins, and again while it lasts. If an earlier line is recent, a later call
    /// logs the beginning.
    pub fn lasts(&self) -> Option<LeftOut> {
        self.lasts_at(Instant::now())
    }

    /// Notes that the state has ended. Returns whether to log the end: only if the beginning was
    /// logged.
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

/// Writes a log line of the level, with the syntax of `tracing`'s macros. This place of the code
/// may write one line per [`INTERVAL`]. `of N` allows N lines; `by LIMIT` uses that [`Throttle`].
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
        // The first two are short, and left out. The third lasts until a line is allowed again.
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
