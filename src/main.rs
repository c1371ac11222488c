//! The binary: it runs the command line and returns its exit code.

use cap::Cap;
use mimalloc::MiMalloc;

/// Counts allocated bytes for `--memory-max`. It uses no huge pages, because the kernel takes
/// milliseconds to provide one, and a growing store would often wait for that. It sets no limit,
/// because a refused allocation would end the process.
#[global_allocator]
static ALLOCATOR: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

fn main() -> std::process::ExitCode {
    chatshard::run(std::env::args_os(), || ALLOCATOR.allocated())
}
