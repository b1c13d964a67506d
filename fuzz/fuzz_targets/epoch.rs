//! Any bytes as a key epoch.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("epoch", bytes));
