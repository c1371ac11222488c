//! See `tests/fuzz/http.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::http::run(bytes));
