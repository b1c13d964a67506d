//! Any bytes as the name of a source, a table, rows.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("record_spec", bytes));
