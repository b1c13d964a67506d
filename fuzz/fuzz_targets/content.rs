//! Any bytes as a list of a file's chunks.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("content", bytes));
