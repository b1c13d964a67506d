//! Any bytes as a key slot.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("slot", bytes));
