//! Any bytes as the body of a parity object.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("parity", bytes));
