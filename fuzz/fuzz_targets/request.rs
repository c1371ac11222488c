//! See `tests/fuzz/request.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::request::run(bytes));
