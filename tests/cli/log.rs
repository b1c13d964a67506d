//! `dedup log`: what runs told, and what people may see of it.

use super::support::{Place, Run};
use dedup_modules::manifest::programs::Severity;
use dedup_modules::runlog::{RunId, Writer, store};
use jiff::Timestamp;
use std::fs;

fn time(secs: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + secs).unwrap()
}

/// Writes the log of a run; returns the place of its file.
fn write(place: &Place, name: &str, began: i64, end: Option<u8>) {
    let run = RunId::parse(name).unwrap();
    let file = store::create(&place.path("state/logs"), &run, None).unwrap();
    let mut writer = Writer::begin(file, &run, "backup", time(began)).unwrap();
    writer.event(time(began + 1), Severity::Info, None, "begins").unwrap();
    let wiki = "wiki".parse().unwrap();
    writer.event(time(began + 2), Severity::Error, Some(&wiki), "bad\u{1b}[2J\nfake line").unwrap();
    writer.event(time(began + 3), Severity::Debug, None, "detail").unwrap();
    if let Some(code) = end {
        writer.finish(time(began + 4), "partial", code).unwrap();
    }
}

fn log(place: &Place, arguments: &[&str]) -> Run {
    let mut command = place.command([&["log"], arguments].concat());
    command.env("DEDUP_STATE_DIR", place.path("state"));
    super::support::finish(command, b"")
}

#[test]
fn logs_are_listed_newest_first() {
    let place = Place::empty();
    log(&place, &[]).ok().says(&["there are no logs"]);
    write(&place, "aa11", 100, Some(3));
    write(&place, "aa22", 0, None);
    let list = log(&place, &["--json"]).ok().quiet().json();
    assert_eq!(list["type"], "logs");
    let logs = list["logs"].as_array().unwrap();
    let seen: Vec<_> =
        logs.iter().map(|log| (log["run"].as_str().unwrap(), log["result"].as_str().unwrap())).collect();
    assert_eq!(seen, [("aa11", "partial"), ("aa22", "died")]);
    assert_eq!((&logs[0]["exit_code"], &logs[0]["operation"]), (&3.into(), &"backup".into()));
    let shown = log(&place, &[]).ok().quiet().out;
    assert_eq!(shown.lines().count(), 3, "{shown}");
}

#[test]
fn a_run_is_shown_by_level_and_escaped() {
    let place = Place::empty();
    write(&place, "aa11", 0, Some(3));
    write(&place, "aa22", 100, None);
    let shown = log(&place, &["aa11"]).ok().quiet().out;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines[1].contains("error     wiki: bad\\x1b[2J\\nfake line"), "{shown}");
    assert_eq!(log(&place, &["aa11", "--level", "debug"]).ok().out.lines().count(), 3);
    assert_eq!(log(&place, &["aa11", "--level", "critical"]).ok().out, "");
    log(&place, &["latest"]).ok().says(&["warning: this run died"]);
    log(&place, &["aa"]).ends(2).says(&["several runs"]);
    log(&place, &["zz"]).ends(1).says(&["no log of a run zz"]);
    log(&place, &["../aa11"]).ends(1);
    log(&place, &["aa11", "--level", "loud"]).ends(2).says(&["loud"]);
    let json = log(&place, &["aa1", "--json"]).ok().quiet().json();
    assert_eq!(
        (&json["type"], &json["result"], &json["lines_broken"]),
        (&"log".into(), &"partial".into(), &0.into())
    );
    assert_eq!(json["events"][1]["message"], "bad\u{1b}[2J\nfake line");
    assert_eq!(json["events"][1]["module"], "wiki");
}

#[test]
fn a_torn_log_is_read_as_far_as_it_goes() {
    let place = Place::empty();
    write(&place, "torn", 0, Some(0));
    let file = place.path("state/logs/torn.log");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 20]).unwrap();
    let run = log(&place, &["torn"]).ok().says(&["1 line could not be read", "died"]);
    assert_eq!(run.out.lines().count(), 2);
    fs::write(&file, [0xff; 1000]).unwrap();
    log(&place, &["torn"]).ok();
    log(&place, &[]).ok();
}

#[test]
fn a_state_directory_is_a_whole_path() {
    let place = Place::empty();
    let mut command = place.command(["log"]);
    command.env("DEDUP_STATE_DIR", "state");
    super::support::finish(command, b"").ends(2).says(&["DEDUP_STATE_DIR"]);
}
