//! See `tests/fuzz/lines.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::lines::run(bytes));
