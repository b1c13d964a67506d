//! Any session, intent, end, condemned set and generation: written and read.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("written_control", bytes));
