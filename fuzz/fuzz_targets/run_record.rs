//! Any bytes as a run record.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("run_record", bytes));
