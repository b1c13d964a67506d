//! A program that inserts a row and writes a file together, and never stops for long: what is restored has both or neither.

use super::app::Machine;
use crate::support::budget::Budget;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Writes pairs until the end; while `pause` is there it stands still between two pairs, and says so by `paused`.
fn write_pairs(place: &Path, over: &AtomicBool) -> u64 {
    let database = rusqlite::Connection::open(place.join("rows.db")).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    database.pragma_update(None, "synchronous", "OFF").unwrap();
    let mut number = 0i64;
    while !over.load(Ordering::SeqCst) {
        if place.join("pause").exists() {
            fs::write(place.join("paused"), "").unwrap();
            thread::sleep(Duration::from_millis(2));
            continue;
        }
        number += 1;
        database.execute("insert into pairs values (?1)", [number]).unwrap();
        thread::sleep(Duration::from_micros(200));
        fs::write(place.join(format!("files/{number}")), number.to_string()).unwrap();
        // Old pairs go, together too, so that the runs do not grow.
        if number > 200 {
            fs::remove_file(place.join(format!("files/{}", number - 200))).unwrap();
            database.execute("delete from pairs where n <= ?1", [number - 200]).unwrap();
        }
    }
    number.cast_unsigned()
}

/// Returns the rows and the files of a restored module.
fn pairs(restored: &Path, place: &Path) -> (BTreeSet<i64>, BTreeSet<i64>) {
    let database = rusqlite::Connection::open(restored.join("rows.db")).unwrap();
    let mut rows = database.prepare("select n from pairs").unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let files = restored.join(place.strip_prefix("/").unwrap()).join("files");
    let number =
        |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
    (rows, fs::read_dir(files).unwrap().map(number).collect())
}

/// Makes the machine; the writer is its service, or nothing stops it.
fn machine(is_service: bool) -> Machine {
    let machine = Machine::new();
    let place = machine.place.path("app");
    fs::create_dir_all(place.join("files")).unwrap();
    let database = rusqlite::Connection::open(place.join("rows.db")).unwrap();
    database.execute_batch("pragma journal_mode = wal; create table pairs(n integer primary key)").unwrap();
    let at = place.display();
    for (name, text) in [
        ("status", format!("[ ! -e {at}/pause ]")),
        (
            "stop",
            format!("rm -f {at}/paused; touch {at}/pause; while [ ! -e {at}/paused ]; do sleep 0.01; done"),
        ),
        ("start", format!("rm -f {at}/pause")),
    ] {
        let path = machine.place.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let program = |name: &str| machine.place.path(name);
    let service = format!(
        "[[service]]\nname = \"writer\"\nkind = \"command\"\nstatus = [{:?}]\nstop = [{:?}]\nstart = [{:?}]\n",
        program("status"),
        program("stop"),
        program("start")
    );
    let text = format!(
        "schema = 1\n[module]\nid = \"app\"\n[data]\ndirectories = [{:?}]\n[[source]]\nname = \"rows\"\ndriver = \"sqlite\"\npath = {:?}\n{}",
        place.join("files"),
        place.join("rows.db"),
        if is_service { &service } else { "" },
    );
    fs::write(machine.manifest("app"), text).unwrap();
    machine
}

/// Backs up beside the writer so often; returns how often rows and files were the same, and how many pairs were written.
fn runs(machine: &Machine, count: u64, strict: bool) -> (u64, u64) {
    let place = machine.place.path("app");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| write_pairs(&place, &over));
        // Whatever fails here, the writer must come to its end.
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            thread::sleep(Duration::from_millis(300));
            let mut same = 0;
            for number in 0..count {
                let run = machine.dedup(&["backup"]);
                assert!(run.code == 0 || !strict, "{}{}", run.out, run.err);
                let target = machine.place.path(format!("out-{number}"));
                machine.dedup(&["restore", "latest-any", "--target", target.to_str().unwrap()]).ok();
                let (rows, files) = pairs(&target.join("app"), &place);
                assert!(rows.len() > 20, "the writer was at work: {} rows", rows.len());
                assert!(rows == files || !strict, "run {number}: {:?}", rows.symmetric_difference(&files));
                same += u64::from(rows == files);
                fs::remove_dir_all(target).unwrap();
            }
            same
        }));
        over.store(true, Ordering::SeqCst);
        let _ = fs::remove_file(place.join("pause"));
        let written = writer.join().unwrap();
        (checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), written)
    })
}

#[test]
fn a_row_and_its_file_are_restored_together() {
    let budget = Budget::of("a writer of rows and files", 5, 100);
    let (same, written) = runs(&machine(true), budget.cases(), true);
    budget.tell(&format!(
        "{same} of {} restored sets equal, {written} pairs written meanwhile",
        budget.cases()
    ));
    assert_eq!(same, budget.cases());
}

/// The control: where nothing stops the writer, dumps and files are of two moments, and the test above would see it.
#[test]
fn a_writer_that_does_not_stand_still_is_noticed() {
    let (same, _) = runs(&machine(false), 5, false);
    assert!(same < 5, "{same} of 5 are equal all the same");
}
