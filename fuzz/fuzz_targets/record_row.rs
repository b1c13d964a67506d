//! Any bytes as a row of a table.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("record_row", bytes));
