//! Any stream: its chunks are the stream, however it is read.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dedup_fuzz::run("does_chunker", bytes));
