//! Any bytes as a retention object.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("retention", bytes));
