//! How much memory the process has, and whether there is room for more data.
//!
//! What is measured is the resident memory, because that is what the system and its containers count before they
//! kill a process. The allocator gives memory back late and only where whole pages are free, so after
//! deletions it falls behind what the data needs; what was freed is used again meanwhile.
//!
//! Invariants:
//! - The bound is held by refusing what makes the store grow, and nothing else. It may be passed by what comes
//!   between two looks, and by what is not data: buffers of connections, the log's queue, a snapshot's copies.
//! - Once refused, growth is refused until there is room worth mentioning: nobody sees it change with each look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::{info, warn};

use crate::command::Error;
use crate::throttle::Episode;

/// How often the memory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Growth begins again when this share of the bound is free: one part of so many.
const ROOM_SHARE: u64 = 16;

/// The bound on memory, and on which side of it the process is.
#[derive(Debug)]
pub struct Memory {
    bytes_max: Option<u64>,
    is_full: AtomicBool,
    /// Around the bound the memory may be full and not full many times a minute.
    shortage: Episode,
}

impl Memory {
    /// A bound, if there is one.
    pub fn new(bytes_max: Option<u64>) -> Self {
        let memory =
            Self { bytes_max, is_full: AtomicBool::new(false), shortage: Episode::default() };
        memory.note(resident_bytes());
        memory
    }

    /// The bound, in bytes.
    pub fn bytes_max(&self) -> Option<u64> {
        self.bytes_max
    }

    /// Whether growth is refused.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Why growth must be refused now, if it must.
    pub fn refusal(&self) -> Option<Error> {
        self.is_full().then(|| {
            Error::not_applied(
                "memory is used up (--memory-max); what adds no chats and members goes on",
            )
        })
    }

    /// Takes note of how much memory the process has.
    pub fn note(&self, bytes: u64) {
        let Some(bytes_max) = self.bytes_max else { return };
        let was_full = self.is_full();
        if !was_full && bytes >= bytes_max {
            self.is_full.store(true, Ordering::Relaxed);
        } else if was_full && bytes < bytes_max - bytes_max / ROOM_SHARE {
            self.is_full.store(false, Ordering::Relaxed);
            if self.shortage.ends() {
                info!(bytes, bytes_max, "there is memory again; new chats and members are taken");
            }
        }
        if self.is_full()
            && let Some(left_out) = self.shortage.lasts()
        {
            warn!(
                bytes,
                bytes_max,
                left_out = left_out.field(),
                "memory is used up; new chats and members are refused"
            );
        }
    }

    /// Looks at the memory again and again, if there is a bound.
    pub async fn keep_looking(self: Arc<Self>) {
        while self.bytes_max.is_some() {
            tokio::time::sleep(LOOK_INTERVAL).await;
            self.note(resident_bytes());
        }
    }
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_refused_at_the_bound_and_until_there_is_room() {
        let memory = Memory::new(None);
        let memory = Memory { bytes_max: Some(1600), ..memory };
        for (bytes, is_full) in
            [(1599, false), (1600, true), (1599, true), (1500, true), (1499, false), (1599, false)]
        {
            memory.note(bytes);
            assert_eq!(memory.is_full(), is_full, "{bytes}");
            assert_eq!(memory.refusal().is_some(), is_full, "{bytes}");
        }
    }

    #[test]
    fn without_a_bound_nothing_is_refused() {
        let memory = Memory::new(None);
        memory.note(u64::MAX);
        assert_eq!(memory.refusal(), None);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_bytes() > 0 || !cfg!(target_os = "linux"));
    }
}
