//! Runs `tests/doors/fuzz/frame.rs` under cargo-fuzz: frames in a stream of bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::frame::run(bytes));
