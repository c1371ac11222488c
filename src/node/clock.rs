//! The time that commands use: the wall clock, where it can be trusted.
//!
//! People and daemons set a wall clock, so it may be wrong for a moment or for long. What is
//! decided at a wrong time stays: a chat whose `last_time` is a year ahead is listed in front for a
//! year. So a second clock, `boot`, bounds the time of decisions. Nobody sets `boot`. It counts
//! only elapsed time, suspends included.
//!
//! ```text
//! limit      begins HEADROOM_MS above the wall clock of the start; rises as time elapses; moves to
//!            the wall clock + HEADROOM_MS by at most 1 s a minute, up or down
//! reachable  the wall clock or the limit, whichever is less
//! now        the reachable time; if that falls below `now`, `now` stands still for at most
//!            WAIT_MS, and then goes back to it
//! ```
//!
//! | the wall clock | `now` |
//! |---|---|
//! | steps forward, for a moment | gains 1/60 of the moment |
//! | steps forward, for good | follows by 1 s a minute; a restart follows immediately |
//! | steps back by up to a minute | stands still until the wall clock is there |
//! | steps back by more | stands still for a minute, then equals the wall clock |
//! | steps back and returns | as if nothing had happened, except for the time that it stood still |
//! | was ahead at the start, then corrected | stands still for a minute, then equals the wall clock |
//! | was behind at the start, then corrected | follows by 1 s a minute; a restart follows immediately |
//! | is behind the time at which another member of the journal has decided | begins at that time, and runs at half speed until the wall clock is there |
//!
//! Invariants, for readings whose `boot` never decreases:
//! - `now` is at most the wall clock of the start + HEADROOM_MS + 61/60 of the elapsed time.
//!   Between any two readings the limit rises by at most 61/60 of the time between them.
//! - `now` goes back only after the wall clock was below it for [`WAIT_MS`] without a break. It
//!   then goes back to the wall clock.
//! - On a node that was the active of a journal ([`Clock::not_below`]) `now` never goes back: while
//!   the reachable time is behind it, `now` runs at half speed. The bound of the first invariant
//!   counts from the time of the journal then, if that is later than the wall clock of the start.
//! - While the wall clock is between `now` and the limit, `now` equals the wall clock.
//!
//! LSNs, sequences and versions must not decrease, so they are counted and do not use this time.
//! Idempotency keys age only by elapsed time; see [`shared`].

pub mod shared;

/// How long `now` stands still, in ms, while the wall clock is behind it. Then `now` goes back.
pub const WAIT_MS: u64 = 60_000;

/// In any time that elapses, the limit moves toward the wall clock by one part in this many of it:
/// 1 s a minute.
pub const DRAWN_SHARE: u64 = 60;

/// How far the limit is above a correct wall clock, in ms. The two clocks are read one after the
/// other, in whole ms. Without headroom `now` would often be 1 ms behind the wall clock.
pub const HEADROOM_MS: u64 = 10;

/// From this difference on, in ms, between wall clock and elapsed time, the wall clock was set.
/// Smaller ones may come from the time between the two readings.
const STEP_MS: u64 = 100;

/// From this lead on, in ms, a wall clock ahead of `now` is reported. The end of the lead is
/// reported too.
const AHEAD_MS: u64 = 1000;

/// The two clocks, read at one moment, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock of the machine, in ms since 1970.
    pub wall: u64,
    /// Elapsed time since some moment. It counts suspends, and nobody sets it.
    pub boot: u64,
}

/// Computes `now` from the two clocks, reading after reading.
#[derive(Debug, Clone)]
pub struct Clock {
    last: Reading,
    /// The limit in units of 1/60 ms. In each ms it may gain one unit on the elapsed time.
    limit: u64,
    now: u64,
    /// The `boot` at which the wall clock fell behind `now`. `None` while it is not behind.
    behind_since: Option<u64>,
    /// How `now` runs at half speed behind the time of a journal; `None` without a journal.
    slow: Option<HalfSpeed>,
    is_ahead: bool,
}

/// Runs at half speed, without a loss at odd ms.
#[derive(Debug, Clone, Copy, Default)]
struct HalfSpeed {
    /// Whether the reachable time was behind `now` at the newest reading.
    is_behind: bool,
    /// A ms that has elapsed and does not count yet.
    odd_ms: u64,
}

impl HalfSpeed {
    /// By how much `now` gains in so many elapsed ms.
    fn gain(&mut self, elapsed: u64) -> u64 {
        let elapsed = elapsed.saturating_add(self.odd_ms);
        self.odd_ms = elapsed % 2;
        elapsed / 2
    }
}

/// What a reading shows of the wall clock, for log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Noticed {
    /// By how many ms somebody set the wall clock: above 0 forward, below 0 back. 0 if nobody set
    /// it.
    pub step: i64,
    /// By how many ms `now` went back to the wall clock, if it did.
    pub fell: Option<u64>,
    /// Whether the wall clock began or ceased to be ahead of `now`. `None` if neither.
    pub ahead: Option<Ahead>,
}

/// Whether the wall clock is ahead of `now`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// The wall clock is ahead by this many ms, at this reading.
    By(u64),
    /// The wall clock is no longer ahead.
    Over,
}

impl Clock {
    /// A clock that begins at the wall clock of this reading.
    pub fn new(start: Reading) -> Self {
        let limit = aim(start.wall);
        Self {
            last: start,
            limit,
            now: start.wall,
            behind_since: None,
            slow: None,
            is_ahead: false,
        }
    }

    /// The time of decisions at the newest reading, in ms since 1970.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Takes a new reading: moves the limit and `now`.
    pub fn observe(&mut self, reading: Reading) -> Noticed {
        let elapsed = reading.boot.saturating_sub(self.last.boot);
        let step = step(self.last.wall.saturating_add(elapsed), reading.wall);
        self.last = reading;
        self.move_limit(elapsed, reading.wall);
        let fell = self.move_now(reading, elapsed);
        Noticed { step, fell, ahead: self.note_ahead(reading.wall) }
    }

    /// Moves `now` and the limit up to `time`: another node has already decided at that time. From
    /// now on `now` never goes back.
    pub fn not_below(&mut self, time: u64) {
        let slow = self.slow.get_or_insert_default();
        self.behind_since = None;
        if time > self.now {
            self.now = time;
            self.limit = self.limit.max(aim(time));
            *slow = HalfSpeed { is_behind: true, odd_ms: 0 };
        }
    }

    fn move_limit(&mut self, elapsed: u64, wall: u64) {
        let there = self.limit.saturating_add(elapsed.saturating_mul(DRAWN_SHARE));
        let (least, most) = (there.saturating_sub(elapsed), there.saturating_add(elapsed));
        self.limit = aim(wall).clamp(least, most);
    }

    /// Moves `now`. Returns by how many ms it went back, if it did.
    fn move_now(&mut self, Reading { wall, boot }: Reading, elapsed: u64) -> Option<u64> {
        let reachable = wall.min(self.limit / DRAWN_SHARE);
        if let Some(slow) = &mut self.slow {
            let at_least = match slow.is_behind || reachable < self.now {
                true => self.now.saturating_add(slow.gain(elapsed)),
                false => self.now,
            };
            slow.is_behind = reachable < at_least;
            self.now = reachable.max(at_least);
            return None;
        }
        if reachable >= self.now {
            (self.now, self.behind_since) = (reachable, None);
            return None;
        }
        let since = *self.behind_since.get_or_insert(boot);
        if boot.saturating_sub(since) < WAIT_MS {
            return None;
        }
        let fell = self.now - reachable;
        (self.now, self.behind_since) = (reachable, None);
        Some(fell)
    }

    fn note_ahead(&mut self, wall: u64) -> Option<Ahead> {
        let by = wall.saturating_sub(self.now);
        let was_ahead = self.is_ahead;
        self.is_ahead = if was_ahead { by > 0 } else { by >= AHEAD_MS };
        match (was_ahead, self.is_ahead) {
            (false, true) => Some(Ahead::By(by)),
            (true, false) => Some(Ahead::Over),
            _ => None,
        }
    }
}

/// Where the limit must be if the wall clock is right, in 1/60 ms.
fn aim(wall: u64) -> u64 {
    wall.saturating_add(HEADROOM_MS).saturating_mul(DRAWN_SHARE)
}

/// By how many ms the wall clock was set. 0 if it is about where elapsed time lets it be expected.
fn step(expected: u64, wall: u64) -> i64 {
    let by = i64::try_from(wall.abs_diff(expected)).unwrap_or(i64::MAX);
    match u64::try_from(by) {
        Ok(size) if size < STEP_MS => 0,
        _ if wall < expected => -by,
        _ => by,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Reading = Reading { wall: 1_800_000_000_000, boot: 5_000_000 };
    const YEAR: u64 = 365 * 24 * 60 * 60 * 1000;

    /// So much time elapses. The wall clock moves by that time, and by `set` ms more.
    #[derive(Debug, Clone, Copy)]
    struct Elapses {
        ms: u64,
        set: i64,
    }

    fn elapses() -> impl Strategy<Value = Elapses> {
        // A turn, a second, a suspend of 70 s, and up to a night.
        let ms = prop_oneof![0..20_u64, 500..2000_u64, Just(70_000), 0..50_000_000_u64];
        let year = i64::try_from(YEAR).unwrap();
        let set = prop_oneof![
            20 => Just(0_i64),
            // Drift, or the time between the readings of the two clocks.
            4 => -2..=2_i64,
            2 => -70_000..70_000_i64,
            1 => -2 * year..2 * year,
            1 => Just(year),
            1 => Just(-year),
            1 => Just(i64::MIN),
            1 => Just(i64::MAX / 2),
        ];
        (ms, set).prop_map(|(ms, set)| Elapses { ms, set })
    }

    fn wall_after(wall: u64, Elapses { ms, set }: Elapses) -> u64 {
        wall.saturating_add(ms).saturating_add_signed(set)
    }

    proptest! {
        #[test]
        fn the_invariants_hold_whatever_the_wall_clock_does(
            all in prop::collection::vec(elapses(), 1..200),
        ) {
            let (mut clock, mut at) = (Clock::new(START), START);
            // The `boot` since when the wall clock was below `now` without a break.
            let mut below: Option<u64> = None;
            for next in all {
                let (before, limit) = (clock.now(), clock.limit);
                at = Reading { wall: wall_after(at.wall, next), boot: at.boot + next.ms };
                let noticed = clock.observe(at);
                let now = clock.now();

                let elapsed = at.boot - START.boot;
                prop_assert!(now <= START.wall + HEADROOM_MS + elapsed + elapsed / DRAWN_SHARE);
                prop_assert!(clock.limit <= limit + next.ms * (DRAWN_SHARE + 1));
                prop_assert!(now <= clock.limit / DRAWN_SHARE);

                below = (at.wall < before).then(|| below.unwrap_or(at.boot));
                let waited = below.map_or(0, |since| at.boot - since);
                if now < before {
                    prop_assert!(waited >= WAIT_MS, "it went back after {waited} ms");
                    prop_assert_eq!(now, at.wall);
                    prop_assert_eq!(noticed.fell, Some(before - now));
                    below = None;
                } else {
                    prop_assert_eq!(noticed.fell, None);
                    prop_assert!(waited < WAIT_MS, "it stood still for {waited} ms");
                }
                if at.wall >= before {
                    prop_assert_eq!(now, at.wall.min(clock.limit / DRAWN_SHARE));
                }
                let is_step = next.set.unsigned_abs() >= STEP_MS && ![0, u64::MAX].contains(&at.wall);
                prop_assert!(!is_step || noticed.step != 0, "a step of {} ms", next.set);
            }
        }

        /// A minute after a step, a clock that is read often and one that is read rarely differ by
        /// at most 1 ms. So requests, which read the clock, do not change the time.
        #[test]
        fn who_looks_often_sees_what_who_looks_seldom_sees(
            set in -200_000..200_000_i64,
            looks in prop::collection::vec(1..3_000_u64, 1..50),
        ) {
            let (mut often, mut seldom) = (Clock::new(START), Clock::new(START));
            let stepped = Reading { wall: START.wall.saturating_add_signed(set), ..START };
            often.observe(stepped);
            seldom.observe(stepped);
            let mut at = stepped;
            for ms in looks.into_iter().chain([WAIT_MS]) {
                at = Reading { wall: at.wall + ms, boot: at.boot + ms };
                often.observe(at);
            }
            seldom.observe(at);
            prop_assert!(often.now().abs_diff(seldom.now()) <= 1);
        }
    }

    proptest! {
        #[test]
        fn behind_a_journal_it_runs_at_half_speed_and_never_goes_back(
            lead in 0..100_000_000_u64,
            again in 0..200_usize,
            all in prop::collection::vec(elapses(), 1..200),
        ) {
            let (mut clock, mut at) = (Clock::new(START), START);
            clock.not_below(START.wall + lead);
            prop_assert_eq!(clock.now(), START.wall + lead);
            for (number, next) in all.into_iter().enumerate() {
                let before = clock.now();
                at = Reading { wall: wall_after(at.wall, next), boot: at.boot + next.ms };
                prop_assert_eq!(clock.observe(at).fell, None);
                let reachable = at.wall.min(clock.limit / DRAWN_SHARE);
                if clock.now() > reachable {
                    let half = before + next.ms / 2;
                    prop_assert!(clock.now() == half || clock.now() == half + 1);
                } else {
                    prop_assert!(clock.now() == reachable && clock.now() >= before);
                }
                if number == again {
                    clock.not_below(clock.now() + lead);
                }
            }
        }
    }

    #[test]
    fn odd_pieces_of_time_lose_nothing_at_half_speed() {
        let (mut clock, mut at) = (Clock::new(START), START);
        clock.not_below(START.wall + 10_000);
        for _ in 0..3000 {
            at = Reading { wall: at.wall + 1, boot: at.boot + 1 };
            clock.observe(at);
        }
        assert_eq!(clock.now(), START.wall + 11_500);
        at = Reading { wall: at.wall + 17_000, boot: at.boot + 17_000 };
        clock.observe(at);
        assert_eq!(clock.now(), at.wall, "it has caught up");
        run(&mut clock, &mut at, 1000);
        assert_eq!(clock.now(), at.wall);
    }

    /// Reads the clock every 100 ms, for `ms` ms. Returns how often `now` went back.
    fn run(clock: &mut Clock, at: &mut Reading, ms: u64) -> usize {
        let mut falls = 0;
        for _ in 0..ms / 100 {
            *at = Reading { wall: at.wall + 100, boot: at.boot + 100 };
            falls += usize::from(clock.observe(*at).fell.is_some());
        }
        falls
    }

    fn set(clock: &mut Clock, at: &mut Reading, by: i64) -> Noticed {
        at.wall = at.wall.saturating_add_signed(by);
        clock.observe(*at)
    }

    #[test]
    fn each_row_of_the_table_is_so() {
        let year = i64::try_from(YEAR).unwrap();
        let begin = || (Clock::new(START), START);

        // The wall clock steps forward, for a moment.
        let (mut clock, mut at) = begin();
        let noticed = set(&mut clock, &mut at, year);
        let ahead = Some(Ahead::By(YEAR - HEADROOM_MS));
        assert_eq!(noticed, Noticed { step: year, fell: None, ahead });
        run(&mut clock, &mut at, 300);
        let noticed = set(&mut clock, &mut at, -year);
        assert_eq!(noticed, Noticed { step: -year, fell: None, ahead: Some(Ahead::Over) });
        assert_eq!(clock.now(), START.wall + 305 + HEADROOM_MS);
        assert_eq!(run(&mut clock, &mut at, 1000), 0);
        assert_eq!(clock.now(), at.wall);

        // The wall clock steps forward, for good.
        let (mut clock, mut at) = begin();
        set(&mut clock, &mut at, year);
        run(&mut clock, &mut at, 600_000);
        assert_eq!(clock.now(), START.wall + 610_000 + HEADROOM_MS);
        let (mut clock, mut at) = begin();
        set(&mut clock, &mut at, 5000);
        run(&mut clock, &mut at, 299_000);
        assert!(clock.now() < at.wall);
        run(&mut clock, &mut at, 1000);
        assert_eq!(clock.now(), at.wall);

        // The wall clock steps back by up to a minute.
        let (mut clock, mut at) = begin();
        let noticed = set(&mut clock, &mut at, -50_000);
        assert_eq!(noticed, Noticed { step: -50_000, ..Noticed::default() });
        run(&mut clock, &mut at, 49_900);
        assert_eq!(clock.now(), START.wall);
        assert_eq!(run(&mut clock, &mut at, 10_000), 0);
        assert_eq!(clock.now(), at.wall);

        // The wall clock steps back by a year, stays there, and then returns.
        let (mut clock, mut at) = begin();
        set(&mut clock, &mut at, -year);
        run(&mut clock, &mut at, WAIT_MS - 100);
        assert_eq!(clock.now(), START.wall);
        assert_eq!(run(&mut clock, &mut at, 100), 1);
        assert_eq!(clock.now(), at.wall);
        assert_eq!(run(&mut clock, &mut at, 600_000), 0);
        assert_eq!(clock.now(), at.wall);
        let noticed = set(&mut clock, &mut at, year);
        assert_eq!(
            noticed.ahead,
            Some(Ahead::By(11_000 - HEADROOM_MS)),
            "the limit went down meanwhile"
        );
        assert_eq!(run(&mut clock, &mut at, 660_000), 0);
        assert_eq!(clock.now(), at.wall);

        // The wall clock steps back, for a moment.
        let (mut clock, mut at) = begin();
        set(&mut clock, &mut at, -year);
        run(&mut clock, &mut at, 300);
        set(&mut clock, &mut at, year);
        assert_eq!(clock.now(), START.wall + 300);
        run(&mut clock, &mut at, 400);
        assert_eq!(clock.now(), at.wall);
    }

    #[test]
    fn a_suspended_machine_has_not_stepped() {
        let mut clock = Clock::new(START);
        let night = Reading { wall: START.wall + 30_000_000, boot: START.boot + 30_000_000 };
        assert_eq!(clock.observe(night), Noticed::default());
        assert_eq!(clock.now(), night.wall);
    }
}
