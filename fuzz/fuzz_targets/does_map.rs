//! Any map: built, walked, searched and compared beside a sorted map.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("does_map", bytes));
