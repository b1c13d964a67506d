//! Any bytes as a description of a platform.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("platform", bytes));
