//! Any bytes as the key of a listing.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("stored_path", bytes));
