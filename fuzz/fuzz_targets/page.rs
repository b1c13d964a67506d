//! Any bytes as a page of the file cache.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("page", bytes));
