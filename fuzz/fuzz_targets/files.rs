//! Runs `tests/doors/fuzz/files.rs` under cargo-fuzz: the files of a data directory.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::files::run(bytes));
