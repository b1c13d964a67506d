//! What every fuzz target does: hand bytes to one parser or part of the engine and let its assertions speak.

use dedup_engine::testing::TARGETS;

/// Runs the target of this name; what must hold is said in `dedup_engine::testing`.
pub fn run(name: &str, bytes: &[u8]) {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(bytes),
        None => panic!("the engine has no target {name}"),
    }
}
