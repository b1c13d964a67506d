//! Any bytes as a condemned set.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("condemned", bytes));
