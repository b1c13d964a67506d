//! Any bytes as the directory of a pack.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("pack_directory", bytes));
