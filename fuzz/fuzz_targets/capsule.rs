//! Any bytes as an opened capsule or a zstd frame.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("capsule", bytes));
