//! The clock of a node, which all its cores share.
//!
//! Each turn of a core reads the wall clock. If it shows another millisecond than the last reading
//! of any core, `boot` is read too, and the [`Clock`] moves. Usually both clocks then moved by the
//! same amount, and one reading is enough. If not, somebody set a clock, or the thread was
//! interrupted, so both are read again.
//!
//! Invariants:
//! - All cores see one time, which is at most a millisecond old.
//! - Idempotency keys age by elapsed time, counted from the newest key that the start found, or that
//!   the active before has used. So no
//!   step of the wall clock makes a key older. The time in which no node runs does not count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};
use snapshot::{Planted, is_planted};

use super::{Ahead, Clock, Noticed, Reading};
use crate::limits::TIME_AHEAD_MS_MAX;
use crate::shard::machine::Moment;
use crate::throttle::{Throttle, throttled};
use crate::types::TimeMs;

/// How often an idle node reads the clock, so that a step is noticed early.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Both clocks are read again if more than this many ms lie between the two readings: then the
/// thread was interrupted.
const READING_MS: u64 = 1;
/// How often both clocks are read at most, until a reading without interruption succeeds.
const READINGS_MAX: usize = 4;

/// A clock that counts elapsed time. On Linux it also counts suspends.
#[cfg(target_os = "linux")]
const BOOT: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const BOOT: ClockId = ClockId::Monotonic;

/// How the two clocks are read, in ms.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Reads [`Reading::wall`].
    pub wall: fn() -> u64,
    /// Reads [`Reading::boot`].
    pub boot: fn() -> u64,
}

impl Source {
    /// The clocks of the machine.
    pub const MACHINE: Self = Self { wall: wall_clock, boot: boot_clock };

    /// Reads both clocks, again if the thread was interrupted in between.
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

    /// Reads `boot` for a wall clock that was read just now. Reads both again if they did not move
    /// by the same amount since `last`.
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

/// Uses the standard library, which asks the C library: a test replaces that to set the clock.
fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_secs().saturating_mul(1000).saturating_add(u64::from(since.subsec_millis()))
}

fn boot_clock() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(BOOT);
    let (seconds, nanos) = (u64::try_from(tv_sec), u64::try_from(tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1000).saturating_add(nanos.unwrap_or(0) / 1_000_000)
}

/// The clock that all cores read, and the throttles of its log lines.
#[derive(Debug)]
pub struct SharedClock {
    source: Source,
    clock: Mutex<Clock>,
    /// The `boot` of the start, and the time of idempotency keys at that moment. The second changes
    /// once if this node continues the keys of another one; see [`Self::continue_keys`].
    start: (u64, AtomicU64),
    /// The time of the newest key that any node of a journal has used, as far as this one has
    /// applied it. 0 if none is known.
    logged_keys: AtomicU64,
    /// The wall clock of the newest reading. `now` and `keys` are from this reading or a later one.
    seen: AtomicU64,
    now: AtomicU64,
    keys: AtomicU64,
    lines: [Throttle; 2],
}

impl SharedClock {
    /// A clock that begins at the wall clock. `newest_key` is the time of the newest idempotency
    /// key that the start found.
    pub fn new(source: Source, newest_key: Option<TimeMs>) -> Arc<Self> {
        let start = source.read();
        let keys = newest_key.map_or(start.wall, TimeMs::get);
        Arc::new(Self {
            source,
            clock: Mutex::new(Clock::new(start)),
            start: (start.boot, AtomicU64::new(keys)),
            logged_keys: AtomicU64::new(newest_key.map_or(0, TimeMs::get)),
            seen: AtomicU64::new(start.wall),
            now: AtomicU64::new(start.wall),
            keys: AtomicU64::new(keys),
            lines: [Throttle::of(4), Throttle::of(4)],
        })
    }

    /// The time that commands use, and the time by which idempotency keys age.
    pub fn moment(&self) -> Moment {
        let wall = (self.source.wall)();
        if wall != self.seen.load(Ordering::Acquire) {
            self.look(wall);
        }
        let time = |of: &AtomicU64| TimeMs::ZERO.saturating_add(of.load(Ordering::Relaxed));
        Moment { now: time(&self.now), keys: time(&self.keys) }
    }

    /// By how many ms the wall clock is ahead of the time that commands use.
    pub fn behind_wall(&self) -> u64 {
        (self.source.wall)().saturating_sub(self.moment().now.get())
    }

    /// The clock that nobody sets: it counts what elapses, with suspends.
    pub fn boot(&self) -> Duration {
        Duration::from_millis((self.source.boot)())
    }

    /// Keeps the time of commands at or above `time`, in ms since 1970, for good: behind it, the time
    /// runs at half speed until the wall clock is there.
    pub fn not_below(&self, time: u64) {
        if is_planted(Planted::ClockBackOnPromotion) {
            return;
        }
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.not_below(time);
        self.now.fetch_max(clock.now(), Ordering::Relaxed);
    }

    /// Notes the time of a key that another node has used.
    pub fn keys_logged(&self, newest: TimeMs) {
        self.logged_keys.fetch_max(newest.get(), Ordering::Relaxed);
    }

    /// Lets keys age from the newest key of the journal on. A node that followed another one has a
    /// time of its own, which may be far behind, or so far ahead that all keys would be too old. The
    /// caller calls it before the node decides anything.
    pub fn continue_keys(&self) {
        let newest = self.logged_keys.load(Ordering::Relaxed);
        if newest == 0 {
            return;
        }
        // Held, so that no reading in between brings the time of before.
        let clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let (boot, keys) = &self.start;
        let elapsed = (self.source.boot)().saturating_sub(*boot);
        keys.store(newest.wrapping_sub(elapsed), Ordering::Relaxed);
        self.keys.store(newest, Ordering::Relaxed);
        drop(clock);
    }

    /// Warns if a start found a message that is more than a day ahead. Then the wall clock is
    /// behind now, or was ahead when the message came.
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

    /// Reads the clock now and then, so that a step is logged even while no requests come.
    pub async fn keep_looking(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            self.moment();
        }
    }

    /// Takes a new reading and moves the time, unless another core is doing so. `wall` is the wall
    /// clock, read just now.
    fn look(&self, wall: u64) {
        let mut clock = match self.clock.try_lock() {
            Ok(clock) => clock,
            // A panic cannot leave the clock broken, because it is only a few numbers.
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return,
        };
        let reading = self.source.read_after(wall, clock.last);
        let noticed = clock.observe(reading);
        let (boot, keys) = &self.start;
        let keys = keys.load(Ordering::Relaxed);
        let keys = match is_planted(Planted::KeysAgeByClock) {
            true => reading.wall,
            // The time at the start may be below 0, if the newest key was found long after it.
            false => keys.wrapping_add(reading.boot.saturating_sub(*boot)),
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
                 for a minute at most; on the active of a journal it runs at half speed");
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
        // The elapsed time and the headroom, minus what the limit fell in the meantime.
        assert_eq!(clock.moment().now.get(), 1_000_004 + HEADROOM_MS);
        assert_eq!(clock.behind_wall(), (1 << 50) - 1_000_004 - HEADROOM_MS);
        pass(20);
        assert_eq!(clock.moment().keys, newest.saturating_add(25));
    }

    #[test]
    fn keys_continue_where_another_node_has_used_them() {
        for newest in [5, 900_000, 2_000_000] {
            WALL.set(1_000_000);
            let clock = SharedClock::new(SET, None);
            clock.continue_keys();
            assert_eq!(clock.moment().keys.get(), 1_000_000, "none is known");
            pass(100);
            clock.keys_logged(TimeMs::new(newest).unwrap());
            clock.keys_logged(TimeMs::new(newest - 1).unwrap());
            assert_eq!(clock.moment().keys.get(), 1_000_100);
            clock.continue_keys();
            assert_eq!(clock.moment().keys.get(), newest);
            pass(20);
            assert_eq!(clock.moment().keys.get(), newest + 20);
        }
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
