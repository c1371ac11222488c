//! Runs `tests/doors/fuzz/at_once.rs` under cargo-fuzz: replies on the fast path equal those of commands.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::at_once::run(bytes));
