//! Any bytes as a tar archive, and as what an export says of itself.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("archive", bytes));
