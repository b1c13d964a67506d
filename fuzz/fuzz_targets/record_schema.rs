//! Any bytes as a schema of a table or source, or a table's end.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("record_schema", bytes));
