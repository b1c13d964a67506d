//! Any bytes as an entry of a listing.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("listing_node", bytes));
