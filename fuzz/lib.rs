//! What every fuzz target does: hand bytes to one parser or part and let its assertions speak.

/// Runs the target of this name; what must hold is said in `dedup_engine::testing` and `dedup_modules::testing`.
pub fn run(name: &str, bytes: &[u8]) {
    let all = dedup_engine::testing::TARGETS.iter().chain(&dedup_modules::testing::TARGETS);
    match all.into_iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(bytes),
        None => panic!("there is no target {name}"),
    }
}
