//! Any bytes: compressed and back.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("does_compress", bytes));
