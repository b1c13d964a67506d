//! Any bytes as what a module of its own program says.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("protocol", bytes));
