//! Any list of chunks: built and read.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("does_content", bytes));
