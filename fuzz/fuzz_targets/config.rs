//! Runs `tests/doors/fuzz/config.rs` under cargo-fuzz: settings, and the files that they name.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::config::run(bytes));
