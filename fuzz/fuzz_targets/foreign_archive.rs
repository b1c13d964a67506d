//! Any bytes as an archive of another product.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("foreign_archive", bytes));
