//! All bugs that stand in [`FOUND_BY`], one after the other.

use super::found_by::{FOUND_BY, by_part};
use super::run::{Programs, Verdict};
use crate::runs::rows::ROWS;
use crate::support::budget::Budget;
use dedup_engine::planted::Bug;

#[test]
fn every_planted_bug_is_found() {
    let budget = Budget::of("planted", FOUND_BY.len() as u64, FOUND_BY.len() as u64);
    let programs = Programs::build();
    for (part, filters) in by_part() {
        let verdict = programs.run(part, &filters, None);
        assert!(matches!(verdict, Verdict::Passed), "without any bug the tests of {part:?} {verdict}");
    }
    let mut missed = Vec::new();
    for (bug, part, filters) in FOUND_BY {
        let verdict = programs.run(*part, filters, Some(*bug));
        println!("{}: {verdict}", bug.name());
        if !matches!(verdict, Verdict::Failed { .. }) {
            missed.push(bug.name());
        }
    }
    budget.tell(&format!("{} of {} found", FOUND_BY.len() - missed.len(), FOUND_BY.len()));
    assert!(missed.is_empty(), "missed: {missed:?}");
}

/// A bug that nobody looks for is no test of anything.
#[test]
fn every_bug_is_looked_for_once() {
    for bug in Bug::ALL {
        let rows = FOUND_BY.iter().filter(|(found, _, filters)| found == bug && !filters.is_empty());
        let of_runs = ROWS.iter().filter(|row| row.bugs.contains(bug)).count();
        // A rule may be that of two steps: one run at a time.
        assert_eq!(rows.count() + of_runs.min(1), 1, "{}", bug.name());
    }
    assert!(Bug::ALL.len() >= 20);
}
