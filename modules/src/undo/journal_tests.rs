//! Journals that are cut, damaged, taken over.

use super::*;

type Acts = Journal<String>;

fn header() -> Header {
    Header { run: "r1".into(), operation: "backup".into(), begun: "now".into() }
}

fn acts(journal: &Acts) -> Vec<&str> {
    journal.open().iter().map(|(_, act)| &act[..]).collect()
}

#[test]
fn what_is_open_survives_and_nobody_takes_it_from_the_living() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs");
    assert_eq!(journals(&runs).unwrap(), Vec::<PathBuf>::new());
    let mut journal = Acts::create(&runs, header()).unwrap();
    let first = journal.push("start a".into()).unwrap();
    journal.push("start b\n\"'".into()).unwrap();
    journal.push("unlock".into()).unwrap();
    journal.done(first).unwrap();
    let [path] = &journals(&runs).unwrap()[..] else { panic!("one journal") };
    assert!(Acts::take_over(path).unwrap().is_none(), "the run lives");
    drop(journal);
    let (mut journal, damage) = taken(path);
    assert!(damage.is_none());
    assert_eq!(journal.header(), &header());
    assert_eq!(acts(&journal), ["start b\n\"'", "unlock"]);
    let tickets: Vec<_> = journal.open().iter().map(|(ticket, _)| *ticket).collect();
    journal.done(tickets[0]).unwrap();
    let new = journal.push("more".into()).unwrap();
    assert!(!tickets.contains(&new));
    assert!(!journal.close().unwrap(), "something is left");
    let (mut journal, _) = taken(path);
    assert_eq!(acts(&journal), ["unlock", "more"]);
    journal.done(tickets[1]).unwrap();
    journal.done(new).unwrap();
    assert!(journal.close().unwrap());
    assert!(Acts::take_over(path).unwrap().is_none(), "it is gone");
}

/// A restore that is killed once it is whole stays whole: nothing of it is put back.
#[test]
fn acts_stand_all_together() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Acts::create(dir.path(), header()).unwrap();
    let tickets: Vec<_> =
        ["files", "database", "service", "kept"].map(|act| journal.push(act.into()).unwrap()).to_vec();
    journal.stand(&tickets[..2], &tickets[3..]).unwrap();
    journal.done(tickets[0]).unwrap();
    drop(journal);
    let (journal, damage) = taken(&path_of(dir.path(), "r1"));
    assert!(damage.is_none());
    assert_eq!(acts(&journal), ["database", "service"]);
    assert_eq!(
        tickets.iter().map(|ticket| journal.stands(*ticket)).collect::<Vec<_>>(),
        [true, true, false, false]
    );
}

/// Takes a journal over that nobody has. A program that another test is just starting has our open files, and our lock
/// with them, for a moment.
fn taken(path: &std::path::Path) -> (Acts, Option<JournalError>) {
    for _ in 0..500 {
        if let Some(taken) = Acts::take_over(path).unwrap() {
            return taken;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} is locked", path.display());
}

/// The line of an act is durable before the act begins: so a line that is cut short stands for nothing.
#[test]
fn every_cut_leaves_the_acts_whose_lines_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Acts::create(dir.path(), header()).unwrap();
    for act in ["one", "two", "three"] {
        journal.push(act.into()).unwrap();
    }
    let path = path_of(dir.path(), "r1");
    drop(journal);
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (mut journal, damage) = taken(&path);
        assert!(damage.is_none(), "cut at {cut}");
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(acts(&journal), ["one", "two", "three"][..lines.saturating_sub(1)], "cut at {cut}");
        journal.push("after".into()).unwrap();
        drop(journal);
        let (journal, damage) = taken(&path);
        assert!(damage.is_none(), "cut at {cut}: {damage:?}");
        assert_eq!(acts(&journal).last(), Some(&"after"), "cut at {cut}");
    }
}

#[test]
fn damage_in_the_middle_is_told_and_the_rest_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Acts::create(dir.path(), header()).unwrap();
    for act in ["one", "two", "three"] {
        journal.push(act.into()).unwrap();
    }
    drop(journal);
    let path = path_of(dir.path(), "r1");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("two", "twa")).unwrap();
    let (journal, damage) = taken(&path);
    assert!(matches!(damage, Some(JournalError::Damaged { lines: 1, .. })), "{damage:?}");
    assert_eq!(acts(&journal), ["one", "three"]);
}
