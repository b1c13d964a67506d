//! Any bytes as the root of a map.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("map_root", bytes));
