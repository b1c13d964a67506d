//! Any copies of a chunk, joined by the index beside a sorted map.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("does_index_join", bytes));
