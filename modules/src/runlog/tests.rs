//! Logs that are whole, torn, forged, old, and of runs that go on.

use super::store::{self, KEEP_COUNT, Outcome};
use super::{End, Line, MAX_LINE_BYTES, MAX_MESSAGE_BYTES, Reader, RunId, Writer};
use crate::id::ModuleId;
use crate::manifest::programs::Severity;
use jiff::{SignedDuration, Timestamp};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn time(secs: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + secs).unwrap()
}

fn run(name: &str) -> RunId {
    RunId::parse(name).unwrap()
}

fn lines(bytes: &[u8]) -> Vec<Line> {
    Reader::new(bytes).map(Result::unwrap).collect()
}

/// A log with two events; its end is of `exit_code`.
fn whole(exit_code: Option<u8>) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), &run("r1"), "backup", time(0)).unwrap();
    let wiki = ModuleId::parse("wiki").unwrap();
    writer.event(time(1), Severity::Warning, Some(&wiki), "line\nfeed \u{1b}[2J \"x\"").unwrap();
    writer.event(time(2), Severity::Debug, None, "").unwrap();
    match exit_code {
        Some(code) => writer.finish(time(3), "partial", code).unwrap(),
        None => writer.to,
    }
}

#[test]
fn what_is_written_is_read() {
    let bytes = whole(Some(3));
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 4, "one line each");
    let read = lines(&bytes);
    let [Line::Head(head), Line::Event(first), Line::Event(second), Line::End(end)] = &read[..] else {
        panic!("{read:?}")
    };
    assert_eq!(
        (head.run.as_str(), head.operation.as_str(), head.time, head.format),
        ("r1", "backup", time(0), 1)
    );
    assert_eq!((first.level, first.module.as_ref().unwrap().as_str()), (Severity::Warning, "wiki"));
    assert_eq!(first.message, "line\nfeed \u{1b}[2J \"x\"");
    assert_eq!((second.level, &second.module, second.time), (Severity::Debug, &None, time(2)));
    assert_eq!(*end, End { time: time(3), result: "partial".into(), exit_code: 3 });
}

/// A crash at any byte: what was whole before it is read, and at most one line is broken.
#[test]
fn a_torn_line_costs_only_itself() {
    let bytes = whole(Some(0));
    for length in 0..bytes.len() {
        let read = lines(&bytes[..length]);
        let complete = bytes[..length].iter().filter(|byte| **byte == b'\n').count();
        assert!(read.len() <= complete + 1, "{length}");
        assert!(!read[..complete.min(read.len())].contains(&Line::Broken), "{length}");
    }
}

#[test]
fn what_is_no_line_of_ours_is_passed_over() {
    let mut bytes = whole(None);
    let long = format!(
        "{{\"time\":\"{}\",\"level\":\"info\",\"message\":\"{}\"}}\n",
        time(5),
        "x".repeat(MAX_LINE_BYTES)
    );
    bytes.extend_from_slice(long.as_bytes());
    bytes.extend_from_slice(b"\xff\n\n{}\n[[[[\n");
    bytes.extend_from_slice(
        format!("{{\"time\":\"{}\",\"level\":\"loud\",\"message\":\"\"}}\n", time(5)).as_bytes(),
    );
    bytes.extend_from_slice(
        format!("{{\"time\":\"{}\",\"level\":\"info\",\"module\":\"../x\",\"message\":\"\"}}\n", time(5))
            .as_bytes(),
    );
    bytes.extend_from_slice("[".repeat(100_000).as_bytes());
    let read = lines(&bytes);
    assert_eq!(read.iter().filter(|line| **line == Line::Broken).count(), read.len() - 3, "{}", read.len());
}

#[test]
fn long_messages_are_cut_between_characters() {
    let mut writer = Writer::begin(Vec::new(), &run("r"), "backup", time(0)).unwrap();
    writer.event(time(1), Severity::Info, None, &"ä\u{1}".repeat(MAX_MESSAGE_BYTES)).unwrap();
    let read = lines(&writer.to);
    let Line::Event(event) = &read[1] else { panic!("{read:?}") };
    assert!(event.message.ends_with("… (cut)") && event.message.len() < MAX_MESSAGE_BYTES + 20);
}

#[test]
fn names_of_runs_are_names_of_files() {
    for bad in ["", ".", "..", ".x", "a/b", "a b", "a\0", "ä", &"a".repeat(65)] {
        assert!(RunId::parse(bad).is_err(), "{bad:?}");
    }
    let forged = br#"{"run":"../../etc/x","operation":"backup","time":"2026-11-21T00:00:00Z","format":1}"#;
    assert_eq!(lines(forged), [Line::Broken]);
}

fn write(dir: &Path, name: &str, began: i64, end: bool) {
    let file = store::create(dir, &run(name), None).unwrap();
    let writer = Writer::begin(file, &run(name), "backup", time(began)).unwrap();
    if end {
        writer.finish(time(began + 1), "complete", 0).unwrap();
    }
}

#[test]
fn runs_that_died_are_told_from_those_that_go_on() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("logs");
    assert_eq!(store::list(&dir).unwrap(), []);
    write(&dir, "ended", 1, true);
    write(&dir, "died", 2, false);
    let file = store::create(&dir, &run("runs"), None).unwrap();
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let writer = Writer::begin(file, &run("runs"), "backup", time(3)).unwrap();
    assert!(store::create(&dir, &run("runs"), None).is_err(), "no log is written over");
    // Torn in the middle of its last line: it was not reached.
    fs::write(dir.join("torn.log"), &whole(Some(0))[..whole(Some(0)).len() - 1]).unwrap();
    fs::write(dir.join("empty.log"), "").unwrap();
    fs::write(dir.join("other.txt"), "").unwrap();
    fs::create_dir(dir.join("dir.log")).unwrap();
    std::os::unix::fs::symlink("ended.log", dir.join("link.log")).unwrap();
    let seen = |wanted: &[(&str, &Outcome)]| {
        let list = store::list(&dir).unwrap();
        let seen: Vec<_> = list.iter().map(|kept| (kept.run.as_str(), &kept.outcome)).collect();
        assert_eq!(seen, wanted);
    };
    let ended = Outcome::Ended(End { time: time(2), result: "complete".into(), exit_code: 0 });
    let (died, running) = (Outcome::Died, Outcome::Running);
    seen(&[("runs", &running), ("died", &died), ("ended", &ended), ("torn", &died), ("empty", &died)]);
    drop(writer);
    seen(&[("runs", &died), ("died", &died), ("ended", &ended), ("torn", &died), ("empty", &died)]);
}

#[test]
fn the_newest_are_kept_for_90_days() {
    let place = tempfile::tempdir().unwrap();
    let count = i64::try_from(KEEP_COUNT).unwrap();
    for n in 0..count + 5 {
        write(place.path(), &format!("r{n}"), n, true);
    }
    let old = store::create(place.path(), &run("goes-on"), None).unwrap();
    let _old = Writer::begin(old, &run("goes-on"), "backup", time(-1)).unwrap();
    assert_eq!(store::rotate(place.path(), time(count)).unwrap(), 5);
    let left = store::list(place.path()).unwrap();
    assert_eq!(left.len(), KEEP_COUNT + 1);
    assert!(left.iter().all(|kept| !["r0", "r4"].contains(&kept.run.as_str())));
    assert_eq!(left.last().unwrap().run.as_str(), "goes-on", "its run still writes it");
    // 90 days after r50: what began before it goes, the newest stays whatever its age.
    let later = time(50).checked_add(SignedDuration::from_hours(90 * 24)).unwrap();
    assert_eq!(store::rotate(place.path(), later).unwrap(), 45);
    let far = time(0).checked_add(SignedDuration::from_hours(900 * 24)).unwrap();
    store::rotate(place.path(), far).unwrap();
    let left = store::list(place.path()).unwrap();
    assert_eq!(
        left.iter().map(|kept| kept.run.as_str()).collect::<Vec<_>>(),
        [&format!("r{}", count + 4), "goes-on"]
    );
}
