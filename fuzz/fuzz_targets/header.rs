//! Any bytes as the header of an object.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("header", bytes));
