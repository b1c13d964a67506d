//! Any bytes as an opened bundle of keys.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("bundle", bytes));
