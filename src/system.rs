//! Calls that only Linux has: affinity, priorities of threads, and figures from `/proc`. A
//! developer's machine with another system gets fallbacks.
//!
//! If the call only makes the server faster, its fallback does nothing. If it reads a figure from
//! `/proc`, its fallback is an error, and never zero.

#[cfg(feature = "bench")]
pub mod process_time;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

/// The file in which Linux reports the memory of a process, in pages.
pub const STATM: &str = "/proc/self/statm";

/// Pins this thread to one of the cores that the process may use. `index` is the number among them;
/// behind the last it begins again at the first.
///
/// # Errors
/// If the system does not pin the thread.
#[cfg(target_os = "linux")]
pub fn pin_to_core(index: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let allowed = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    let core = index.checked_rem(cores.len()).and_then(|nth| cores.get(nth));
    let core = core.ok_or_else(|| io::Error::other("the process may use no core"))?;
    let mut one = CpuSet::new();
    one.set(*core);
    Ok(sched_setaffinity(None, &one)?)
}

/// Does nothing: the thread stays on any core.
#[cfg(not(target_os = "linux"))]
pub fn pin_to_core(_: usize) -> io::Result<()> {
    Ok(())
}

/// Adds `niceness` to that of this thread, so that other threads get the core first.
///
/// # Errors
/// If the system does not change it.
#[cfg(target_os = "linux")]
pub fn lower_priority(niceness: i32) -> io::Result<()> {
    rustix::process::nice(niceness)?;
    Ok(())
}

/// Does nothing: elsewhere niceness belongs to the whole process.
#[cfg(not(target_os = "linux"))]
pub fn lower_priority(_: i32) -> io::Result<()> {
    Ok(())
}

/// The memory of the process as the system reports it, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryFigures {
    /// Memory of the process that is in RAM, in bytes.
    pub resident: u64,
    /// The part of the resident memory that no allocator gave out: the program's code, mapped
    /// files.
    pub outside: u64,
}

/// Returns a function that reads [`STATM`] at each call. The file stays open, so the memory is
/// known even if no descriptor is free.
///
/// # Errors
/// A call fails if the file cannot be read, or has another form.
pub fn memory_figures() -> impl Fn() -> io::Result<MemoryFigures> + Send + Sync {
    let open: OnceLock<File> = OnceLock::new();
    move || {
        let file = match open.get() {
            Some(file) => file,
            None => {
                let file = File::open(STATM)?;
                open.get_or_init(|| file)
            }
        };
        let mut bytes = [0; 256];
        let length = file.read_at(&mut bytes, 0)?;
        let text = bytes.get(..length).and_then(|text| std::str::from_utf8(text).ok());
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(u64::MAX);
        text.and_then(|text| pages(text, page)).ok_or_else(other_form)
    }
}

/// Parses the text of [`STATM`]. Its first fields are the pages in all, the resident ones, and the
/// resident ones of files. `page` is the size of a page in bytes.
fn pages(text: &str, page: u64) -> Option<MemoryFigures> {
    let mut fields = text.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, outside) = (fields.next()?.ok()?, fields.next()?.ok()?);
    let bytes = |pages: u64| pages.checked_mul(page);
    Some(MemoryFigures { resident: bytes(resident)?, outside: bytes(outside)? })
        .filter(|figures| figures.resident > 0)
}

fn other_form() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it has another form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_or_refused() {
        let read = |text| pages(text, 4096);
        let figures = MemoryFigures { resident: 3 * 4096, outside: 2 * 4096 };
        assert_eq!(read("7 3 2 1 0 5 0\n"), Some(figures));
        for bad in ["", "7", "7 3", "7 x 2", "7 0 0 1", "7 18446744073709551615 2"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_thread_is_pinned_to_any_core_of_the_process() {
        std::thread::spawn(|| pin_to_core(12_345)).join().unwrap().unwrap();
    }
}
