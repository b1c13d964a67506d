//! Any bytes as a reference to a byte string out of line.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("blob", bytes));
