//! Any bytes as versions, conditions, sizes and times.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("version", bytes));
