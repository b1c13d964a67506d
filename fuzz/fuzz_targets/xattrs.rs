//! Any bytes as a set of extended attributes.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("xattrs", bytes));
