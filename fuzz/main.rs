//! Hands the fuzzer's bytes to one target and lets its assertions speak; `run.sh` builds and runs it.
//!
//! One program for all targets: a program for each would link RocksDB dozens of times. `FUZZ` names the target.
//! What must hold is said in `dedup_engine::testing` and `dedup_modules::testing`.

#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ").expect("FUZZ names the target; fuzz/corpus has a folder for each");
    let all = dedup_engine::testing::TARGETS.into_iter().chain(dedup_modules::testing::TARGETS);
    let named = all.into_iter().find(|(known, _)| *known == name);
    named.unwrap_or_else(|| panic!("there is no target {name}")).1
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
