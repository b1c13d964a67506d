//! Run records: what is said of a snapshot after it was committed.

use crate::support::trees;
use crate::support::world::{Run, World, check, open_keys, snapshots};
use dedup_engine::check::{Finding, Severity};
use dedup_engine::error::Kind;
use dedup_engine::id::{ObjectId, SessionId};
use dedup_engine::listing::Time;
use dedup_engine::repo::Repository;
use dedup_engine::repo::records::{RunRecord, RunVerdict};
use dedup_engine::storage::{Family, Name, Part, Storage};

struct Scene {
    world: World,
    /// Two snapshots and their sessions.
    runs: [(ObjectId, SessionId); 2],
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let tree = world.scratch.dir("tree");
        for moment in [0, 10] {
            trees::write(&tree.join("file"), b"content", moment);
            world.backup(Run { tree: &tree, moment }).unwrap();
        }
        let all = world.open().unwrap().snapshots().unwrap();
        let runs = [0, 1].map(|n: usize| (all[n].0, all[n].1.session));
        Self { world, runs }
    }
}

fn record(snapshot: ObjectId, verdict: RunVerdict, text: &str) -> RunRecord {
    let hooks = vec![("post-backup".to_owned(), 75), ("verify".to_owned(), -9)];
    let time = Time { secs: 4_000_000_100, nanos: 7 };
    RunRecord { number: 0, snapshot, verdict, text: text.to_owned(), hooks, time }
}

fn suspects(repo: &Repository) -> Vec<(ObjectId, String)> {
    repo.suspects(&repo.snapshots().unwrap()).unwrap().into_iter().collect()
}

#[test]
fn the_newest_record_of_a_run_counts() {
    let scene = Scene::new();
    let repo = scene.world.open().unwrap();
    let [(first, session), (second, other)] = scene.runs;
    assert_eq!(suspects(&repo), []);
    let mut written = Vec::new();
    for (verdict, text, doubts) in [
        (RunVerdict::Owed, "the upload is not done", false),
        (RunVerdict::Suspect, "it was not stopped", true),
        (RunVerdict::Good, "verified", false),
        (RunVerdict::Suspect, "it does not start", true),
    ] {
        let record = record(first, verdict, text);
        let number = repo.add_run_record(session, &record).unwrap();
        written.push(RunRecord { number, ..record });
        assert_eq!(number, written.len() as u64);
        let expected: Vec<_> = Some((first, text.to_owned())).into_iter().filter(|_| doubts).collect();
        // Whoever opens the repository next is told the same.
        assert_eq!(suspects(&repo), expected);
        assert_eq!(suspects(&open_keys(scene.world.storage.clone(), &scene.world.unlock).unwrap()), expected);
    }
    repo.add_run_record(other, &record(second, RunVerdict::Good, "")).unwrap();
    assert_eq!(repo.run_records(session).unwrap(), written);
    assert_eq!(repo.run_records(other).unwrap().len(), 1);
    // What is suspect is there all the same.
    assert_eq!(snapshots(&repo), [first, second]);
    assert!(check(&repo).unwrap().findings.is_empty());
}

/// Another writer takes each number first, as on another machine.
#[test]
fn two_writers_take_numbers_one_after_the_other() {
    let scene = Scene::new();
    let [(first, session), _] = scene.runs;
    let numbers = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let repo = open_keys(scene.world.storage.clone(), &scene.world.unlock).unwrap();
                scope.spawn(move || {
                    let text = format!("writer {writer}");
                    let record = record(first, RunVerdict::Good, &text);
                    (0..5).map(|_| repo.add_run_record(session, &record).unwrap()).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut numbers: Vec<u64> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    });
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    let records = scene.world.open().unwrap().run_records(session).unwrap();
    assert!(records.iter().map(|record| record.number).eq(1..=20));
}

#[test]
fn records_of_what_was_not_committed_are_refused() {
    let scene = Scene::new();
    let repo = scene.world.open().unwrap();
    let [(_, session), (second, _)] = scene.runs;
    let strange = SessionId::from_bytes([7; 16]);
    for session in [session, strange] {
        let refused = repo.add_run_record(session, &record(second, RunVerdict::Good, "")).unwrap_err();
        assert_eq!(refused.kind(), Kind::Refused, "{refused}");
    }
    let long = record(second, RunVerdict::Good, &"x".repeat(4097));
    assert!(repo.add_run_record(scene.runs[1].1, &long).is_err());
    assert!(scene.world.storage.objects().iter().all(|(name, _)| name.family() != Family::Runs));
}

/// A record that cannot be read might say anything: `latest` does not rely on the snapshot, and a check tells.
#[test]
fn a_record_that_cannot_be_read_makes_its_snapshot_suspect() {
    let scene = Scene::new();
    let repo = scene.world.open().unwrap();
    let [(first, session), _] = scene.runs;
    repo.add_run_record(session, &record(first, RunVerdict::Good, "")).unwrap();
    let name = Name::Run(session, 1);
    let mut bytes = scene.world.storage.get_all(&name, 1 << 20).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    scene.world.storage.overwrite(name, &bytes);
    let [(suspect, why)] = &suspects(&repo)[..] else { panic!("one is suspect") };
    assert!(*suspect == first && why.contains("cannot be read"), "{why}");
    let report = check(&repo).unwrap();
    assert!(report.findings.iter().any(|finding| finding.object == name.to_string()), "{report:?}");
    assert!(!report.is_sound());
}

/// The seal binds a record to its name: one that is moved to another run does not open there.
#[test]
fn a_record_of_another_run_is_found_out() {
    let scene = Scene::new();
    let repo = scene.world.open().unwrap();
    let [(first, session), (second, other)] = scene.runs;
    repo.add_run_record(session, &record(first, RunVerdict::Good, "")).unwrap();
    let bytes = scene.world.storage.get_all(&Name::Run(session, 1), 1 << 20).unwrap();
    scene.world.storage.put(&Name::Run(other, 1), &bytes).unwrap();
    assert_eq!(suspects(&repo).into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [second]);
    assert!(!check(&repo).unwrap().is_sound());
}

/// A prune that was cut off may leave the record of a session that is gone: that is no damage.
#[test]
fn a_record_without_its_session_is_a_notice() {
    let scene = Scene::new();
    let repo = scene.world.open().unwrap();
    let [(first, session), _] = scene.runs;
    repo.add_run_record(session, &record(first, RunVerdict::Suspect, "")).unwrap();
    scene.world.storage.delete(&Name::snapshot(first)).unwrap();
    scene.world.storage.delete(&Name::Session(session, Part::End)).unwrap();
    let report = check(&repo).unwrap();
    // That the snapshot is gone the log tells; of the record nobody can say more than that it counts for nobody.
    let damaged = report.findings.iter().filter(|finding| finding.severity == Severity::Damage);
    let damaged: Vec<&str> = damaged.map(|finding| &finding.object[..]).collect();
    assert_eq!(damaged, [Name::snapshot(first).to_string()], "{:?}", report.findings);
    let notice = |finding: &&Finding| finding.object == Name::Run(session, 1).to_string();
    assert_eq!(report.findings.iter().find(notice).map(|finding| finding.severity), Some(Severity::Notice));
}
