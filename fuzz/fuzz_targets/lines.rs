//! Runs `tests/doors/fuzz/lines.rs` under cargo-fuzz: files for `import`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatshard_fuzz::targets::lines::run(bytes));
