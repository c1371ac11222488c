//! Runs `tests/doors/fuzz/fast_path.rs` under cargo-fuzz: replies on the fast path equal those of commands.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::fast_path::run(bytes));
