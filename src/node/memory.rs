//! How much memory the process uses, and whether there is room for more chats and members.
//!
//! Two figures count. Resident memory is what systems and containers look at before they kill a
//! process. Live memory is what the program has allocated and not freed.
//!
//! The allocator returns freed memory late, and only whole pages. So resident memory stays high for
//! long after removals, and growth first fills that freed memory. So the bound counts what live
//! memory needs, if that is less than the resident memory.
//!
//! Invariants:
//! - Only one thing keeps the bound: requests that make the store grow are refused. Requests
//!   between two readings of the figures may exceed it. So may memory that is not data: buffers of
//!   connections, the queue of the log, captures of a snapshot.
//! - Growth may not be able to fill freed memory. Then resident memory stays at most one part in
//!   `CEILING_SHARE` above the bound, unless less than half of the bound is in use.
//! - Once growth is refused, it stays refused until one part in `ROOM_SHARE` of the bound is free.
//!   Otherwise it would change with each reading.
//! - If a figure cannot be read, the last one counts, and [`Memory::is_stale`] says so. Reading
//!   needs no new file descriptor, so it works when none is left.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::{info, warn};

use crate::command::Error;
use crate::system::{MemoryFigures, STATM, memory_figures};
use crate::throttle::Episode;

/// How often the figures are read.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Growth is accepted again when one part in this many of the bound is free.
const ROOM_SHARE: u64 = 16;
/// Because of freed memory, resident memory may exceed the bound by one part in this many.
const CEILING_SHARE: u64 = 10;
/// The allocator needs at most one part in this many beyond live memory. Its size classes and spare
/// pages take a tenth to a fifth.
const OVERHEAD_SHARE: u64 = 3;

/// Counts the bytes that the program has allocated and not freed.
static LIVE: OnceLock<fn() -> usize> = OnceLock::new();

/// Registers the counter of the program's allocator. Without a counter the bound looks only at
/// resident memory.
pub fn count_live_by(count: fn() -> usize) {
    // A program has only one allocator, so a second registration is ignored.
    _ = LIVE.set(count);
}

/// Reads the figures of the process.
type Source = Box<dyn Fn() -> io::Result<MemoryFigures> + Send + Sync>;

/// The bound on memory, and whether growth is refused at present.
pub struct Memory {
    bytes_max: Option<u64>,
    source: Source,
    live: Option<fn() -> usize>,
    /// The last figures that could be read.
    resident: AtomicU64,
    outside: AtomicU64,
    is_stale: AtomicBool,
    is_full: AtomicBool,
    /// Limits log lines while the figures cannot be read.
    blindness: Episode,
    /// Limits log lines: near the bound, growth may be refused and accepted many times a minute.
    shortage: Episode,
}

impl Memory {
    /// Reads the memory of this process. `bytes_max` is the bound; `None` stands for no bound.
    pub fn new(bytes_max: Option<u64>) -> Self {
        Self::reading(bytes_max, Box::new(memory_figures()), LIVE.get().copied())
    }

    fn reading(bytes_max: Option<u64>, source: Source, live: Option<fn() -> usize>) -> Self {
        let memory = Self {
            bytes_max,
            source,
            live,
            resident: AtomicU64::new(0),
            outside: AtomicU64::new(0),
            is_stale: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            blindness: Episode::default(),
            shortage: Episode::default(),
        };
        memory.look();
        memory
    }

    /// Checks whether the bound can be kept.
    ///
    /// # Errors
    /// If there is a bound, and the system does not report the memory of the process.
    pub fn check(&self) -> io::Result<()> {
        match (self.source)() {
            Err(error) if self.bytes_max.is_some() => Err(io::Error::new(
                error.kind(),
                format!(
                    "memory-max cannot be held, because {STATM} cannot be read: {error}; mount \
                     /proc, or start without memory-max"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The bound in bytes. `None` stands for no bound.
    pub fn bytes_max(&self) -> Option<u64> {
        self.bytes_max
    }

    /// Whether growth is refused.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Whether the newest reading of the figures failed. Then [`Self::resident`] is an older
    /// figure.
    pub fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Relaxed)
    }

    /// Resident memory in bytes, from the newest reading that succeeded. `None` if none did.
    pub fn resident(&self) -> Option<u64> {
        Some(self.resident.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// Live memory in bytes. `None` if the allocator does not count.
    pub fn live(&self) -> Option<u64> {
        self.live.map(|count| u64::try_from(count()).unwrap_or(u64::MAX))
    }

    /// The error for a request that makes the store grow. `None` while growth is accepted.
    pub fn refusal(&self) -> Option<Error> {
        self.is_full().then(|| {
            Error::not_applied(
                "memory is used up (--memory-max); what adds no chats and members goes on",
            )
        })
    }

    /// Reads the figures, and decides whether growth is refused.
    pub fn look(&self) {
        match (self.source)() {
            Ok(figures) => {
                self.resident.store(figures.resident, Ordering::Relaxed);
                self.outside.store(figures.outside, Ordering::Relaxed);
                if self.is_stale.swap(false, Ordering::Relaxed) && self.blindness.ends() {
                    info!(bytes = figures.resident, "the memory of the process can be read again");
                }
            }
            Err(error) => {
                self.is_stale.store(true, Ordering::Relaxed);
                if let Some(left_out) = self.blindness.lasts() {
                    warn!(
                        %error,
                        bytes = self.resident(),
                        left_out = left_out.field(),
                        "the memory of the process cannot be read; the last figure counts"
                    );
                }
            }
        }
        let outside = self.outside.load(Ordering::Relaxed);
        if let Some(resident) = self.resident() {
            self.note(MemoryFigures { resident, outside }, self.live());
        }
    }

    /// Decides from these figures whether growth is refused.
    fn note(&self, figures: MemoryFigures, live: Option<u64>) {
        let Some(bytes_max) = self.bytes_max else { return };
        let MemoryFigures { resident, outside } = figures;
        let used = live.map_or(resident, |live| {
            let needed = live.saturating_add(live / OVERHEAD_SHARE);
            resident.min(outside.saturating_add(needed))
        });
        let is_above = resident >= bytes_max.saturating_add(bytes_max / CEILING_SHARE)
            && used >= bytes_max / 2;
        let was_full = self.is_full();
        if !was_full && (used >= bytes_max || is_above) {
            self.is_full.store(true, Ordering::Relaxed);
        } else if was_full && used < bytes_max - bytes_max / ROOM_SHARE && !is_above {
            self.is_full.store(false, Ordering::Relaxed);
            if self.shortage.ends() {
                info!(
                    bytes = resident,
                    live, bytes_max, "there is memory again; new chats and members are taken"
                );
            }
        }
        if self.is_full()
            && let Some(left_out) = self.shortage.lasts()
        {
            warn!(
                bytes = resident,
                live,
                bytes_max,
                left_out = left_out.field(),
                "memory is used up; new chats and members are refused"
            );
        }
    }

    /// Reads the figures again and again, if there is a bound.
    pub async fn keep_looking(self: Arc<Self>) {
        while self.bytes_max.is_some() {
            tokio::time::sleep(LOOK_INTERVAL).await;
            self.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes_max: Option<u64>) -> Memory {
        Memory::reading(bytes_max, Box::new(|| Err(io::Error::other("no descriptor"))), None)
    }

    fn at(resident: u64) -> MemoryFigures {
        MemoryFigures { resident, outside: 0 }
    }

    #[test]
    fn growth_is_refused_at_the_bound_and_until_there_is_room() {
        let memory = memory(Some(1600));
        for (bytes, is_full) in
            [(1599, false), (1600, true), (1599, true), (1500, true), (1499, false), (1599, false)]
        {
            memory.note(at(bytes), None);
            assert_eq!(memory.is_full(), is_full, "{bytes}");
            assert_eq!(memory.refusal().is_some(), is_full, "{bytes}");
        }
    }

    #[test]
    fn what_was_freed_and_not_given_back_is_room() {
        let memory = memory(Some(1600));
        // Nearly all resident memory is live, so resident memory counts.
        memory.note(at(1600), Some(1400));
        assert!(memory.is_full());
        // 1125 and a third of it are 1500: not yet more than a sixteenth below the bound.
        memory.note(at(1600), Some(1125));
        assert!(memory.is_full());
        memory.note(at(1600), Some(1100));
        assert!(!memory.is_full(), "the resident memory is as it was");
        // Memory outside the heap counts in full.
        memory.note(MemoryFigures { resident: 1700, outside: 200 }, Some(1100));
        assert!(memory.is_full());
    }

    #[test]
    fn what_was_freed_and_cannot_be_filled_has_a_ceiling() {
        let memory = memory(Some(1600));
        memory.note(at(1759), Some(1100));
        assert!(!memory.is_full());
        memory.note(at(1760), Some(1100));
        assert!(memory.is_full(), "a tenth above");
        memory.note(at(1900), Some(599));
        assert!(!memory.is_full(), "so much is free that growth finds room in it");
        memory.note(at(1900), Some(600));
        assert!(memory.is_full());
    }

    #[test]
    fn without_a_bound_nothing_is_refused() {
        let memory = memory(None);
        memory.note(at(u64::MAX), Some(u64::MAX));
        assert_eq!(memory.refusal(), None);
    }

    #[test]
    fn a_figure_that_cannot_be_read_is_the_last_known_one() {
        static IS_READABLE: AtomicBool = AtomicBool::new(true);
        let source = || match IS_READABLE.load(Ordering::Relaxed) {
            true => Ok(at(1600)),
            false => Err(io::Error::from(io::ErrorKind::OutOfMemory)),
        };
        let memory = Memory::reading(Some(1600), Box::new(source), None);
        assert!(memory.is_full() && !memory.is_stale() && memory.check().is_ok());
        IS_READABLE.store(false, Ordering::Relaxed);
        for _ in 0..3 {
            memory.look();
            assert!(memory.is_full() && memory.is_stale());
            assert_eq!(memory.resident(), Some(1600));
        }
        assert!(memory.check().is_err());
        IS_READABLE.store(true, Ordering::Relaxed);
        memory.look();
        assert!(!memory.is_stale());
    }

    #[test]
    fn what_was_never_read_is_unknown_and_a_bound_on_it_cannot_be_held() {
        let unbounded = memory(None);
        assert!(unbounded.is_stale() && unbounded.check().is_ok());
        assert_eq!(unbounded.resident(), None);
        assert!(memory(Some(1)).check().unwrap_err().to_string().contains("memory-max"));
    }

    #[test]
    fn the_memory_of_this_process_is_known() {
        let memory = Memory::new(None);
        assert!(memory.resident() > Some(0) || !cfg!(target_os = "linux"));
    }
}
