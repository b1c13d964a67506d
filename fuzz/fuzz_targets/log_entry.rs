//! Any bytes as an entry of a log.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("log_entry", bytes));
