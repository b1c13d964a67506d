//! The list of what went wrong with single entries, at the end of a run.

use crate::escape;
use crate::human;
use crate::output::{Output, complain, outcome_word};
use dedup_engine::backup::Problem;

/// How many are told on standard error.
const SHOWN: usize = 20;

/// Lists the first problems on standard error. In JSON each was told when it happened.
///
/// `total` counts those that are not among `problems` as well; `heading` is for one or many.
pub fn list(output: Output, heading: &str, problems: &[Problem], total: u64) {
    if output.json || problems.is_empty() {
        return;
    }
    complain(&format!("{heading}: {}", human::count(total)));
    for problem in problems.iter().take(SHOWN) {
        let path = escape::name(&problem.path.to_slashes());
        complain(&format!(
            "  /{path}: {} ({})",
            escape::text(&problem.message),
            outcome_word(problem.outcome)
        ));
    }
    let shown = problems.len().min(SHOWN) as u64;
    if total > shown {
        complain(&format!("  … and {} more", human::count(total - shown)));
    }
}
