//! What every fuzz target does: hand bytes to one parser and let its assertions speak.

/// Runs the parser of this name; what must hold is said in `dedup_engine::testing` and `dedup_modules::testing`.
pub fn run(name: &str, bytes: &[u8]) {
    let all = dedup_engine::testing::TARGETS.iter().chain(&dedup_modules::testing::TARGETS);
    match all.into_iter().find(|(known, _)| *known == name) {
        Some((_, parser)) => parser(bytes),
        None => panic!("there is no parser {name}"),
    }
}
