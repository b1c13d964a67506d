//! Any bytes as a key change.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("key_change", bytes));
