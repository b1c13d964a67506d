//! Any bytes as an intent of a session.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("intent", bytes));
