//! Runs `tests/doors/fuzz/records.rs` under cargo-fuzz: records of the log.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::records::run(bytes));
