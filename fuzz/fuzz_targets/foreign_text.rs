//! Any bytes as what PHP serialises, and a manifest in Python or JSON.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("foreign_text", bytes));
