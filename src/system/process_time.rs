//! The CPU time of a process, for the load tool.

use std::io;

use super::other_form;

/// Length of a clock tick of `/proc` in microseconds, on all platforms that have it.
const TICK_US: u64 = 10_000;

/// User and system time of a process with all its threads, in microseconds.
///
/// # Errors
/// If the process is gone, or the system does not report its time.
pub fn cpu_us(pid: u32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    ticks(&text).map(|ticks| ticks.saturating_mul(TICK_US)).ok_or_else(other_form)
}

/// Finds fields 14 and 15. They are counted from the last bracket, because field 2, the name, may
/// contain brackets and spaces.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    next()?.checked_add(next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_process_is_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 5";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (a) S 1"), None);
        assert!(cpu_us(std::process::id()).is_ok() || !cfg!(target_os = "linux"));
    }
}
