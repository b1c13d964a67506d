//! Any bytes as a dump of MySQL.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("foreign_dump", bytes));
