//! The table of what the seeds do (`modules/SEEDS.md`), held to the sources: every row is held by tests that are there and
//! run, or says plainly that it is not.

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

/// Bugs that a row names are planted, and the steps that they take out have tests that must find them.
#[test]
fn bugs_of_rows_are_planted() {
    let text = read_to_string(root().join("engine/src/planted.rs")).unwrap();
    let known: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let found: BTreeSet<String> =
        crate::runs::rows::ROWS.iter().flat_map(|row| row.bugs).map(|bug| format!("{bug:?}")).collect();
    for row in rows() {
        for bug in row.bugs.split_whitespace() {
            assert!(known.contains(bug), "{}: nobody planted {bug}", row.id);
            assert!(found.contains(bug), "{}: no test must find {bug}", row.id);
        }
    }
}
