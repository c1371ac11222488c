//! Runs `tests/doors/fuzz/reply.rs` under cargo-fuzz: replies, as a client reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::reply::run(bytes));
