//! The table of what the seeds do (`modules/SEEDS.md`), held to the sources: every row is held by tests that are there and
//! run, or says plainly that it is not; and what a seed got wrong is found if somebody gets it wrong here.

use crate::harness::planted::found_by::{FOUND_BY, Part};
use crate::runs::rows::ROWS;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::read_to_string;
use std::path::Path;

/// A row of the table.
#[derive(Debug)]
struct Row {
    id: String,
    kind: String,
    tests: String,
    bugs: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn table() -> String {
    read_to_string(root().join("modules/SEEDS.md")).unwrap()
}

fn cells(line: &str) -> Vec<String> {
    let inside = line.trim().trim_start_matches('|').trim_end_matches('|');
    inside.split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn rows() -> Vec<Row> {
    let text = table();
    let lines = text.lines().filter(|line| line.starts_with("| "));
    let rows = lines
        .map(cells)
        .filter(|cells| cells.len() == 6 && matches!(&cells[1][..], "MUST" | "ALSO" | "FLAW"));
    rows.map(|cells| {
        assert!(!cells[2].is_empty(), "{cells:?} says nothing");
        Row { id: cells[0].clone(), kind: cells[1].clone(), tests: cells[4].clone(), bugs: cells[5].clone() }
    })
    .collect()
}

/// Returns what a row is: held, owed or later.
fn state(row: &Row) -> &'static str {
    match row.tests.split_once(": ") {
        Some(("owed", why)) if !why.is_empty() => "owed",
        Some(("later", why)) if !why.is_empty() => "later",
        _ => "held",
    }
}

/// Returns why a test that a row names holds nothing, if so.
fn fault(test: &str) -> Option<String> {
    let Some((file, name)) = test.split_once('#') else { return Some("no file#name".into()) };
    let Ok(text) = read_to_string(root().join(file)) else { return Some("there is no such file".into()) };
    let head = format!("fn {name}(");
    let Some(at) = text.find(&head) else { return Some("there is no such test".into()) };
    // What stands on the lines above a function belongs to it.
    let above = &text[..text[..at].rfind('\n').unwrap_or(0)];
    let marks = above
        .lines()
        .rev()
        .map(str::trim)
        .take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    let before = marks.collect::<Vec<_>>().join("\n");
    if !before.contains("#[test]") {
        return Some("it is no test".into());
    }
    before.contains("#[ignore").then(|| "it is ignored".into())
}

#[test]
fn every_row_is_held_by_tests_that_run_or_says_that_it_is_not() {
    let rows = rows();
    assert!(rows.len() > 120, "{} rows: the table was not read", rows.len());
    let mut wrong = Vec::new();
    for row in rows.iter().filter(|row| state(row) == "held") {
        let tests: Vec<&str> = row.tests.split_whitespace().map(|test| test.trim_matches('`')).collect();
        if tests.is_empty() {
            wrong.push(format!("{}: no test, neither owed nor later", row.id));
        }
        for test in tests {
            wrong.extend(fault(test).map(|why| format!("{}: {test}: {why}", row.id)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The check itself: each way in which a row could hold nothing is seen.
#[test]
fn a_test_that_holds_nothing_is_seen() {
    assert_eq!(fault("tests/seeds.rs#a_test_that_holds_nothing_is_seen"), None);
    for (test, why) in [
        ("tests/seeds.rs", "no file#name"),
        ("tests/none.rs#x", "no such file"),
        ("tests/seeds.rs#renamed", "no such test"),
        ("tests/seeds.rs#fault", "is no test"),
    ] {
        assert!(fault(test).unwrap_or_default().contains(why), "{test}");
    }
}

#[test]
fn rows_are_numbered_and_their_sums_are_right() {
    let rows = rows();
    let mut next: BTreeMap<char, usize> = BTreeMap::new();
    let mut sums: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for row in &rows {
        let seed = row.id.chars().next().unwrap();
        let number = next.entry(seed).or_insert(0);
        *number += 1;
        assert_eq!(row.id, format!("{seed}{number}"));
        for kind in [row.kind.as_str(), "all"] {
            *sums.entry((kind.to_owned(), state(row))).or_insert(0) += 1;
        }
    }
    assert_eq!(next.len(), 5, "five seeds");
    let text = table();
    for kind in ["MUST", "ALSO", "FLAW", "all"] {
        let sum = |state| sums.get(&(kind.to_owned(), state)).copied().unwrap_or(0);
        let line = format!("| {kind} | {} | {} | {} |", sum("held"), sum("owed"), sum("later"));
        assert!(text.lines().any(|have| have == line), "the table should say: {line}");
    }
}

/// Returns the paths of the tests that must find a bug, as they begin; with the program that they are in.
fn finders(bug: &str) -> Vec<(Part, String)> {
    let of_runs = ROWS.iter().filter(|row| row.bugs.iter().any(|one| format!("{one:?}") == bug));
    let of_runs = of_runs.flat_map(|row| row.tests).map(|test| (Part::Whole, format!("runs::{test}")));
    let others = FOUND_BY.iter().filter(|(one, _, _)| format!("{one:?}") == bug);
    let others = others.flat_map(|(_, part, tests)| tests.iter().map(|test| (*part, (*test).to_owned())));
    of_runs.chain(others).collect()
}

/// Returns the program and the path of a test that a row names; none of tests within the program that people get, which
/// no planted bug is let loose on.
fn path_of(test: &str) -> Option<(Part, String)> {
    let (file, name) = test.split_once('#')?;
    let (part, inside) =
        [(Part::Engine, "engine/src/"), (Part::Modules, "modules/src/"), (Part::Whole, "tests/")]
            .into_iter()
            .find_map(|(part, root)| Some((part, file.strip_prefix(root)?)))?;
    let module = inside.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    Some((part, format!("{module}::{name}")))
}

/// Returns whether a test that a row names is one that must find a bug. Tests within a module, or in a file beside it
/// (`row_tests.rs` is `row::tests`), have a part of their path more or less than their file.
fn is_found_by(row: &Row, bug: &str) -> bool {
    let tests: Vec<_> =
        row.tests.split_whitespace().filter_map(|test| path_of(test.trim_matches('`'))).collect();
    finders(bug).iter().any(|(of, filter)| {
        tests.iter().any(|(part, path)| {
            let (module, name) = path.rsplit_once("::").unwrap_or_default();
            let beside = module.strip_suffix("_tests").unwrap_or(module);
            let paths =
                [path.clone(), format!("{module}::tests::{name}"), format!("{beside}::tests::{name}")];
            of == part && paths.iter().any(|path| path.contains(filter))
        })
    })
}

/// Bugs that a row names are planted, and have tests that must find them. A flaw that is held names at least one that a
/// test of its own row must find, or says why there is none.
#[test]
fn bugs_of_rows_are_planted_and_found_by_their_tests() {
    let text = read_to_string(root().join("engine/src/planted.rs")).unwrap();
    let known: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let mut wrong = Vec::new();
    for row in rows() {
        let is_flaw = row.kind == "FLAW" && state(&row) == "held";
        if let Some(why) = row.bugs.strip_prefix("none:") {
            assert!(is_flaw && why.trim().len() > 20, "{}: why can none be planted?", row.id);
            continue;
        }
        if is_flaw && row.bugs.is_empty() {
            wrong.push(format!("{}: neither a planted bug nor a word why there is none", row.id));
        }
        for bug in row.bugs.split_whitespace() {
            if !known.contains(bug) || finders(bug).is_empty() {
                wrong.push(format!("{}: nobody planted {bug}, or no test must find it", row.id));
            } else if is_flaw && !is_found_by(&row, bug) {
                wrong.push(format!("{}: {bug} is found by none of its tests: {:?}", row.id, finders(bug)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The check itself: a bug that other tests find, and tests of another program, count for nothing.
#[test]
fn a_bug_that_its_row_does_not_find_is_seen() {
    let row =
        |tests: &str| Row { id: "X1".into(), kind: "FLAW".into(), tests: tests.into(), bugs: String::new() };
    let silence = row("`tests/runs/restore_steps.rs#step_r6_nobody_is_asked_in_a_script`");
    assert!(is_found_by(&silence, "SilenceIsYes") && !is_found_by(&silence, "TakePartial"));
    assert!(is_found_by(
        &row("`modules/src/records/row_tests.rs#rows_are_read_as_they_were_written`"),
        "RowsAsText"
    ));
    assert!(is_found_by(&row("`modules/src/runlog/tests.rs#the_newest_are_kept_for_90_days`"), "EmptyLogs"));
    assert!(!is_found_by(&row("`tests/runlog/tests.rs#the_newest_are_kept_for_90_days`"), "EmptyLogs"));
    assert!(!is_found_by(&row("`cli/exit.rs#codes_are_those_of_the_manual_and_unique`"), "AlwaysZero"));
}
