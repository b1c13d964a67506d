//! Any chunks: packed and read; then with a bit changed.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("does_pack", bytes));
