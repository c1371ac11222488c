//! Runs `tests/doors/fuzz/request.rs` under cargo-fuzz: requests, in MessagePack and in JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::request::run(bytes));
