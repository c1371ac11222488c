//! The binary: parse, run, exit code.

/// It asks for no huge pages: to get one takes a core milliseconds, and a store that grows would often wait for one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    chatshard::cli::run(std::env::args_os())
}
