//! Any bytes as numbers, texts and extensions.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("wire", bytes));
