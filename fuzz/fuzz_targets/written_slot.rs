//! Any key slot: written and opened.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("written_slot", bytes));
