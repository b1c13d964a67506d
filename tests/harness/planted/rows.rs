//! Would the tests of a step notice if its rule were taken out?

use super::found_by::Part;
use super::run::{Programs, Verdict};
use crate::runs::rows::{ROWS, is_held};
use crate::support::budget::Budget;

/// Every bug of every row, one at a time, on the tests of its row; all of them pass without any.
#[test]
fn every_rule_that_is_taken_out_is_noticed() {
    let budget = Budget::of("rows", ROWS.len() as u64, ROWS.len() as u64);
    let programs = Programs::build();
    let rows: Vec<_> = ROWS.iter().filter(|row| is_held(row)).collect();
    let names = |tests: &[&str]| tests.iter().map(|test| format!("runs::{test}")).collect::<Vec<_>>();
    let all: Vec<String> = rows.iter().flat_map(|row| names(row.tests)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let verdict = programs.run(Part::Whole, &all, None);
    assert!(matches!(verdict, Verdict::Passed), "without any bug the tests {verdict}");
    let (mut found, mut missed) = (0, Vec::new());
    for row in &rows {
        let before = missed.len();
        for bug in row.bugs {
            let tests = names(row.tests);
            let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
            let verdict = programs.run(Part::Whole, &tests, Some(*bug));
            println!("step {}: {}: {verdict}", row.step, bug.name());
            if !matches!(verdict, Verdict::Failed { .. }) {
                missed.push(format!("{}: {}", row.step, bug.name()));
            }
        }
        found += usize::from(missed.len() == before);
    }
    let lack = ROWS.iter().filter(|row| !is_held(row)).map(|row| format!("{} ({})", row.step, row.lacks));
    let lack: Vec<_> = lack.collect();
    budget.tell(&format!("{found} of {} found; not done yet: {}", ROWS.len(), lack.join(", ")));
    assert!(missed.is_empty(), "missed: {missed:?}");
}
