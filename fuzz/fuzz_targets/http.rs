//! Runs `tests/doors/fuzz/http.rs` under cargo-fuzz: bytes of an HTTP connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::http::run(bytes));
