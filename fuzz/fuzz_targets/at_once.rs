//! See `tests/fuzz/at_once.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::at_once::run(bytes));
