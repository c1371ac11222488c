//! The clock of a node, which all its cores share.
//!
//! Each turn of a core reads the wall clock of the machine, as it would without this module. Only
//! if the millisecond differs from the last reading of any core, the other clock is read too, and
//! the [`Clock`] moves. Usually both clocks advanced alike since that reading, and then they are
//! read once. Otherwise a clock was set, or the thread was interrupted, and both are read again.
//!
//! Invariants:
//! - All cores see the same time; it is at most a millisecond old.
//! - Keys age by elapsed time, counted from the newest key that the start found. No step of the
//!   wall clock, in a run or between two, makes a key older. The time while no node runs does not
//!   count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};
use snapshot::{Planted, is_planted};

use super::{Ahead, Clock, Noticed, Reading};
use crate::limits::TIME_AHEAD_MS_MAX;
use crate::shard::core::Moment;
use crate::throttle::{Throttle, throttled};
use crate::types::TimeMs;

/// How often an idle node reads the clock, so that a step is noticed when it happens.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Both clocks are read again if more ms passed in between: the thread was interrupted.
const READING_MS: u64 = 1;
/// Most attempts to read both clocks without an interruption.
const READINGS_MAX: usize = 4;

/// The clock that counts elapsed time, with suspends where the system has such a clock.
#[cfg(target_os = "linux")]
const BOOT: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const BOOT: ClockId = ClockId::Monotonic;

/// Functions that read the two clocks, in ms.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// See [`Reading::wall`].
    pub wall: fn() -> u64,
    /// See [`Reading::boot`].
    pub boot: fn() -> u64,
}

impl Source {
    /// The clocks of the machine.
    pub const MACHINE: Self = Self { wall: wall_clock, boot: boot_clock };

    /// Reads both clocks.
    fn read(self) -> Reading {
        let mut boot = (self.boot)();
        let mut reading = Reading { wall: (self.wall)(), boot };
        for _ in 1..READINGS_MAX {
            let after = (self.boot)();
            if after.saturating_sub(boot) <= READING_MS {
                break;
            }
            boot = after;
            reading = Reading { wall: (self.wall)(), boot };
        }
        reading
    }

    /// Reads the other clock for a wall clock that was read just now. Reads both again unless they
    /// advanced alike since `last`.
    fn read_after(self, wall: u64, last: Reading) -> Reading {
        let reading = Reading { wall, boot: (self.boot)() };
        let lead = |reading: Reading| reading.wall.wrapping_sub(reading.boot);
        let gained = lead(reading).wrapping_sub(lead(last));
        match gained.wrapping_add(READING_MS) <= 2 * READING_MS {
            true => reading,
            false => self.read(),
        }
    }
}

/// The standard library asks the C library, which a test replaces to set the clock.
fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_secs().saturating_mul(1000).saturating_add(u64::from(since.subsec_millis()))
}

fn boot_clock() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(BOOT);
    let (seconds, nanos) = (u64::try_from(tv_sec), u64::try_from(tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1000).saturating_add(nanos.unwrap_or(0) / 1_000_000)
}

/// The clock that all cores read, and the limits of its log lines.
#[derive(Debug)]
pub struct SharedClock {
    source: Source,
    clock: Mutex<Clock>,
    /// `boot` at the start, and the time of keys at that moment.
    start: (u64, u64),
    /// The wall clock of the last reading; `now` and `keys` are at least as new.
    seen: AtomicU64,
    now: AtomicU64,
    keys: AtomicU64,
    lines: [Throttle; 2],
}

impl SharedClock {
    /// Begins at the wall clock. `newest_key` is the time of the newest key that the start found,
    /// in the time that keys age by.
    pub fn new(source: Source, newest_key: Option<TimeMs>) -> Arc<Self> {
        let start = source.read();
        let keys = newest_key.map_or(start.wall, TimeMs::get);
        Arc::new(Self {
            source,
            clock: Mutex::new(Clock::new(start)),
            start: (start.boot, keys),
            seen: AtomicU64::new(start.wall),
            now: AtomicU64::new(start.wall),
            keys: AtomicU64::new(keys),
            lines: [Throttle::of(4), Throttle::of(4)],
        })
    }

    /// The time that commands use, and the time that keys age by.
    pub fn moment(&self) -> Moment {
        let wall = (self.source.wall)();
        if wall != self.seen.load(Ordering::Acquire) {
            self.look(wall);
        }
        let time = |of: &AtomicU64| TimeMs::ZERO.saturating_add(of.load(Ordering::Relaxed));
        Moment { now: time(&self.now), keys: time(&self.keys) }
    }

    /// How far the wall clock is ahead of the time that commands use, in ms.
    pub fn behind_wall(&self) -> u64 {
        (self.source.wall)().saturating_sub(self.moment().now.get())
    }

    /// Warns if a start found a message that is more than a day ahead: the wall clock is behind
    /// now, or was ahead then.
    pub fn doubt(&self, newest_message: TimeMs) {
        let now = self.moment().now;
        if newest_message > now.saturating_add(TIME_AHEAD_MS_MAX) {
            throttled!(
                warn,
                newest_message = newest_message.get(),
                now = now.get(),
                "a message is newer than the wall clock by more than a day: the wall clock is behind, or \
                 was ahead; a chat that is ahead is listed in front until its next message"
            );
        }
    }

    /// Reads the clock periodically, so that a step is noticed and logged while no requests come.
    pub async fn keep_looking(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            self.moment();
        }
    }

    /// Reads the other clock and moves the time, unless another core is doing so. `wall` is the wall
    /// clock as it was read just now.
    fn look(&self, wall: u64) {
        let mut clock = match self.clock.try_lock() {
            Ok(clock) => clock,
            // The clock is a few numbers: a panic cannot leave them broken.
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return,
        };
        let reading = self.source.read_after(wall, clock.last);
        let noticed = clock.observe(reading);
        let (boot, keys) = self.start;
        let keys = match is_planted(Planted::KeysAgeByClock) {
            true => reading.wall,
            false => keys.saturating_add(reading.boot.saturating_sub(boot)),
        };
        let now = if is_planted(Planted::ClockBelieved) { reading.wall } else { clock.now() };
        self.now.store(now, Ordering::Relaxed);
        self.keys.store(keys, Ordering::Relaxed);
        self.seen.store(reading.wall, Ordering::Release);
        drop(clock);
        if noticed != Noticed::default() {
            self.say(noticed, now);
        }
    }

    #[cold]
    fn say(&self, Noticed { step, fell, ahead }: Noticed, now: u64) {
        let [steps, others] = &self.lines;
        if step > 0 {
            throttled!(by steps, warn, by_ms = step, "the wall clock was set forward");
        } else if step < 0 {
            throttled!(by steps, warn, by_ms = step,
                "the wall clock was set back; the time of commands stands still until it is there, \
                 for a minute at most");
        }
        if let Some(by_ms) = fell {
            throttled!(by others, warn, by_ms, now,
                "the wall clock stayed back, and the time of commands has gone back to it");
        }
        match ahead {
            Some(Ahead::By(by_ms)) => throttled!(by others, warn, by_ms,
                "the wall clock is ahead of the time of commands, which follows by 1 s a minute; \
                 a restart follows at once"),
            Some(Ahead::Over) => throttled!(by others, info,
                "the time of commands is the wall clock's again"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::HEADROOM_MS;
    use super::*;

    thread_local! {
        static WALL: Cell<u64> = const { Cell::new(1_000_000) };
        static BOOT: Cell<u64> = const { Cell::new(7) };
    }

    const SET: Source = Source { wall: || WALL.get(), boot: || BOOT.get() };

    fn pass(ms: u64) {
        WALL.set(WALL.get() + ms);
        BOOT.set(BOOT.get() + ms);
    }

    #[test]
    fn keys_age_by_what_elapses_from_the_newest_on() {
        let newest = TimeMs::new(9_000_000).unwrap();
        let clock = SharedClock::new(SET, Some(newest));
        assert_eq!(clock.moment().keys, newest);
        pass(5);
        WALL.set(0);
        assert_eq!(clock.moment().keys, newest.saturating_add(5));
        WALL.set(1 << 50);
        assert_eq!(clock.moment().keys, newest.saturating_add(5));
        // The elapsed time, plus headroom, minus what the limit fell meanwhile.
        assert_eq!(clock.moment().now.get(), 1_000_004 + HEADROOM_MS);
        assert_eq!(clock.behind_wall(), (1 << 50) - 1_000_004 - HEADROOM_MS);
        pass(20);
        assert_eq!(clock.moment().keys, newest.saturating_add(25));
    }

    #[test]
    fn the_machine_has_both_clocks() {
        let (clock, start) = (SharedClock::new(Source::MACHINE, None), Source::MACHINE.read());
        assert!(start.wall > 1_700_000_000_000 && start.boot > 0);
        while Source::MACHINE.read().boot < start.boot + 3 {
            clock.moment();
        }
        let Moment { now, keys } = clock.moment();
        assert!(now.get() >= start.wall && keys.get() > start.wall);
    }
}
