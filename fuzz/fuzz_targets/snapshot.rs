//! Runs `tests/doors/fuzz/snapshot.rs` under cargo-fuzz: blocks of a snapshot.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::snapshot::run(bytes));
