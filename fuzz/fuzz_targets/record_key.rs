//! Any bytes as a key of a table's entry.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("record_key", bytes));
