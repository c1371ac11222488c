//! See `tests/fuzz/reply.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::reply::run(bytes));
