//! Any bytes as what a MariaDB server says.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("mariadb", bytes));
