//! Any bytes as a segment of the index.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("segment", bytes));
