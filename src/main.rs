//! The binary: parse, run, exit code.

use cap::Cap;
use mimalloc::MiMalloc;

/// It counts what lives, for `--memory-max`, and asks for no huge pages: to get one takes a core milliseconds, and a
/// store that grows would often wait for one. It sets no bound itself: whoever was refused memory would end.
#[global_allocator]
static ALLOCATOR: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

fn main() -> std::process::ExitCode {
    chatshard::node::memory::count_live_by(|| ALLOCATOR.allocated());
    chatshard::cli::run(std::env::args_os())
}
