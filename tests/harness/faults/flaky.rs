//! Storage at its worst, for long: calls fail before or after they take effect, replies are short, long or of
//! another place, listings are old, doubled, in another order, or break off; uploads stay half done.

use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::oracle::{Disturbed, Oracle};
use crate::support::random::Random;
use crate::support::world::{Run, World, backup, backup_with, check, open, restore_to_memory, snapshots};
use crate::support::{Scratch, TestEvents, trees};
use dedup_engine::backup::{BackupError, Parent};
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::StoredPath;
use dedup_engine::progress::{Event, Events, Silent};
use dedup_engine::storage::Family;
use dedup_engine::storage::fault::{Call, Fault, FaultStorage, Lie, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often one call in so many goes wrong in a run; 0: never. Of one call in five no run survives, so others
/// must fail less.
const RATES: [u64; 5] = [5, 5, 20, 60, 0];
/// What a system or a network says.
const ERRORS: [ErrorKind; 8] = [
    ErrorKind::StorageFull,
    ErrorKind::QuotaExceeded,
    ErrorKind::TimedOut,
    ErrorKind::ConnectionReset,
    ErrorKind::Interrupted,
    ErrorKind::WouldBlock,
    ErrorKind::PermissionDenied,
    ErrorKind::UnexpectedEof,
];
/// Calls of one run that the plan covers; no run here makes more.
const PLANNED: u64 = 1000;

/// One script: a repository, a tree that changes, and what was committed.
struct Script<'a> {
    world: World,
    tree: Scratch,
    oracle: Oracle,
    files: BTreeMap<ObjectId, BTreeMap<StoredPath, Vec<u8>>>,
    moment: i64,
    random: &'a mut Random,
    told: &'a mut Told,
    /// A storage whose listings are as they were a step ago, if any is.
    old: Option<(Arc<FaultStorage>, bool)>,
}

/// What all scripts came to.
#[derive(Default)]
struct Told {
    calls: u64,
    runs: u64,
    succeeded: u64,
}

impl<'a> Script<'a> {
    fn new(random: &'a mut Random, told: &'a mut Told) -> Self {
        let (world, tree) = (World::new(), Scratch::in_memory());
        let oracle = Oracle::new(world.unlock.clone());
        Self { world, tree, oracle, files: BTreeMap::new(), moment: 0, random, told, old: None }
    }

    fn change_tree(&mut self) {
        let root = self.tree.path("");
        for _ in 0..=self.random.below(3) {
            let path = root.join(format!("{}", self.random.below(8)));
            match self.random.below(5) {
                0 => drop(fs::remove_file(&path)),
                1 => trees::write(&path, &[], self.moment),
                n => {
                    let len = self.random.below(if n == 2 { 40_000 } else { 2000 }) as usize;
                    let content = if n == 3 { self.random.text(len) } else { self.random.bytes(len) };
                    trees::write(&path, &content, self.moment);
                }
            }
        }
    }

    /// Plans what goes wrong. Returns the storage, whether it may lie, not only fail, and whether its lists may be old.
    fn storage(&mut self) -> (Arc<FaultStorage>, bool, bool) {
        let inner = self.world.storage.clone();
        let old = self.old.take().filter(|_| self.random.below(3) == 0);
        let was_kept = old.is_some();
        let (storage, is_old) = old.unwrap_or_else(|| (Arc::new(FaultStorage::new(inner.clone())), false));
        let (later, mut gets_old) = (Arc::new(FaultStorage::new(inner)), false);
        for family in Family::ALL {
            match self.random.below(20) {
                0 => storage.lie(family, Lie::Doubled).unwrap(),
                1 => storage.lie(family, Lie::Unsorted).unwrap(),
                2 => {
                    later.lie(family, Lie::Stale).unwrap();
                    gets_old = true;
                }
                _ => {}
            }
        }
        self.old = Some((later, gets_old));
        let rate = RATES[self.random.below(RATES.len() as u64) as usize];
        let may_lie = self.random.below(3) == 0;
        for call in 0..PLANNED {
            if rate == 0 || self.random.below(rate) > 0 {
                continue;
            }
            let error = ERRORS[self.random.below(ERRORS.len() as u64) as usize];
            let by = 1 + self.random.below(100) as usize;
            let fault = match self.random.below(if may_lie { 7 } else { 4 }) {
                0 => Fault::FailBefore(error),
                1 => Fault::FailAfter(error),
                2 => Fault::FailWithin(self.random.below(5) as usize, error),
                3 => Fault::Stall(Duration::from_micros(200)),
                4 => Fault::Reply(Reply::Short(by)),
                5 => Fault::Reply(Reply::Long(by)),
                _ => Fault::Reply(Reply::Shifted(by)),
            };
            storage.on_call(call, fault);
        }
        (storage, was_kept || may_lie && rate > 0, is_old)
    }

    /// Takes one step over failing storage, then looks at what a restart finds.
    fn step(&mut self, case: &str) {
        self.moment += 10;
        self.change_tree();
        let (storage, lies, saw_old_lists) = self.storage();
        let (tree, index) = (self.tree.path(""), self.world.index());
        let run = Run { tree: &tree, moment: self.moment };
        self.told.runs += 1;
        match self.random.below(5) {
            0 if !self.files.is_empty() => self.restore(storage.clone(), &index, case),
            1 => {
                let repo = open(storage.clone(), &self.world.unlock, &index, &Silent);
                let report = repo.ok().and_then(|repo| check(&repo).ok());
                self.told.succeeded += u64::from(report.is_some());
                // A call that fails is no damage; a storage that lies looks like some.
                let sound = report.as_ref().is_none_or(|report| report.is_sound());
                assert!(lies || sound, "{case}: check took a failing call for damage: {report:#?}");
            }
            _ => {
                let now = Arc::new(Tree::read(&tree));
                let repo = open(storage.clone(), &self.world.unlock, &index, &Silent);
                let told =
                    repo.ok().and_then(|repo| backup(&repo, run).ok()).and_then(|report| report.snapshot);
                self.told.succeeded += u64::from(told.is_some());
                let disturbed = Disturbed { tree: Some(now.clone()), told, saw_old_lists };
                let repo = if self.random.below(2) == 0 {
                    self.world.open_afresh()
                } else {
                    self.world.open().unwrap_or_else(|error| panic!("{case}: {error}"))
                };
                if let Some(id) = self.oracle.assert_nothing_lost(&repo, &disturbed, &tree, case) {
                    self.oracle.commit(id, &tree, now);
                    self.files.insert(id, restore_to_memory(&repo, id).unwrap().0);
                }
            }
        }
        self.told.calls += storage.count();
    }

    /// Restores over failing storage: what comes back is right, what does not is told.
    fn restore(&mut self, storage: Arc<FaultStorage>, index: &Path, case: &str) {
        let choice = self.random.below(self.files.len() as u64) as usize;
        let (id, expected) = self.files.iter().nth(choice).unwrap();
        let Ok(repo) = open(storage, &self.world.unlock, index, &Silent) else { return };
        let Ok((files, report)) = restore_to_memory(&repo, *id) else { return };
        for (path, bytes) in &files {
            assert!(expected.get(path) == Some(bytes), "{case}: {path:?} is restored wrong");
        }
        let told: BTreeSet<_> = report.problems.iter().map(|problem| &problem.path).collect();
        let absent = |path: &&StoredPath| !files.contains_key(*path) && !told.contains(*path);
        let silent: Vec<_> = expected.keys().filter(absent).collect();
        assert!(silent.is_empty(), "{case}: {silent:?} are missing, and nobody says so");
        self.told.succeeded += u64::from(told.is_empty());
    }
}

#[test]
fn scripts_over_failing_storage_lose_nothing() {
    let budget = Budget::of("R8 flaky storage", 12, 560);
    let mut told = Told::default();
    let mut snapshots = 0;
    budget.each(|number, random| {
        let mut script = Script::new(random, &mut told);
        for step in 0..10 {
            script.step(&format!("script {number}, step {step}"));
        }
        // In the end, without faults, it goes on as if nothing had been.
        let (tree, last) = (script.tree.path(""), script.moment + 10);
        let report = script.world.backup(Run { tree: &tree, moment: last }).unwrap();
        let now = Arc::new(Tree::read(&tree));
        script.oracle.commit(report.snapshot.unwrap(), &tree, now);
        let repo = script.world.open_afresh();
        script.oracle.assert_nothing_lost(&repo, &Disturbed::default(), &tree, "in the end");
        snapshots += script.oracle.len();
    });
    let Told { calls, runs, succeeded } = told;
    budget.tell(&format!(
        "{calls} storage calls in {runs} runs, of which {succeeded} succeeded: {snapshots} snapshots, 0 lost, 0 false"
    ));
    assert!(budget.cases() < 12 || (succeeded > runs / 20 && succeeded < runs), "{succeeded} of {runs}");
}

/// A storage that keeps half of an upload breaks its contract. Nothing relies on the half: older snapshots
/// restore, `check` names it and nothing else, and the next backup is whole.
#[test]
fn half_uploads_are_named_and_never_relied_on() {
    let scratch = Scratch::in_memory();
    let tree = scratch.dir("tree");
    trees::build_tiny(&tree, 5);
    let first = World::new();
    first.backup(Run { tree: &tree, moment: 0 }).unwrap();
    let before = restore_to_memory(&first.open().unwrap(), snapshots(&first.open().unwrap())[0]).unwrap().0;
    trees::write(&tree.join("new"), &Random::new(5).bytes(9000), 77);
    let run = Run { tree: &tree, moment: 10 };
    let mut halves = 0;
    for (put, keep) in (0..20).flat_map(|put| [0, 1, 80, 200].map(|keep| (put, keep))) {
        let world = first.fork();
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.on_nth(Call::Put, put, Fault::Half(keep, ErrorKind::ConnectionReset));
        let repo = open(storage.clone(), &world.unlock, &world.index(), &Silent).unwrap();
        let told = backup(&repo, run);
        drop(repo);
        let Some(torn) = storage.torn().pop() else { continue };
        halves += 1;
        let context = format!("{torn}, of which {keep} bytes are stored");
        assert!(told.is_err(), "{context}: success was told");
        for afresh in [false, true] {
            let repo = if afresh { world.open_afresh() } else { world.open().unwrap() };
            let (restored, report) = restore_to_memory(&repo, snapshots_that_open(&repo)[0]).unwrap();
            assert!(restored == before && report.problems_total == 0, "{context}: the first is lost");
            let report = check(&repo).unwrap();
            let others = report.findings.iter().find(|finding| {
                let name = torn.to_string();
                // Of a snapshot whose entry is the half, the log says nothing.
                let follows = finding.object == "packs" || finding.object == "log";
                finding.object != name && !finding.message.contains(&name) && !follows
            });
            assert!(!report.is_sound() && others.is_none(), "{context}: {:#?}", report.findings);
        }
        let next = world.backup(Run { tree: &tree, moment: 20 });
        let next = next.unwrap_or_else(|error| panic!("{context}: no way forward: {error}"));
        let repo = world.open_afresh();
        let (files, report) = restore_to_memory(&repo, next.snapshot.unwrap()).unwrap();
        let all = Tree::read(&tree).0.len();
        assert!(files.len() >= all && report.problems_total == 0, "{context}: {}", files.len());
    }
    assert!(halves >= 20, "{halves}");
}

fn snapshots_that_open(repo: &dedup_engine::repo::Repository) -> Vec<ObjectId> {
    repo.catalog().unwrap().0.into_iter().map(|(id, _)| id).collect()
}

/// Listings in any order, with everything twice, are the same to everybody.
#[test]
fn order_and_repetition_in_listings_mean_nothing() {
    let scratch = Scratch::in_memory();
    let tree = scratch.dir("tree");
    trees::build_tiny(&tree, 6);
    let world = World::new();
    let storage = Arc::new(FaultStorage::new(world.storage.clone()));
    for family in Family::ALL {
        storage.lie(family, Lie::Doubled).unwrap();
        storage.lie(family, Lie::Unsorted).unwrap();
    }
    for moment in 0..3 {
        trees::write(&tree.join("changing"), &Random::new(moment as u64).bytes(500), moment);
        let index = world.other_index(&format!("{}", moment % 2));
        let repo = open(storage.clone(), &world.unlock, &index, &Silent).unwrap();
        let run = Run { tree: &tree, moment };
        let snapshot = backup(&repo, run).unwrap().snapshot.unwrap();
        world.assert_restores(&repo, snapshot, run, &Tree::read(&tree));
        let (doubled, plain) = (check(&repo).unwrap(), check(&world.open_afresh()).unwrap());
        assert_eq!(doubled.findings, plain.findings);
        let counts =
            |report: &dedup_engine::check::CheckReport| (report.snapshots, report.packs, report.packs_read);
        assert_eq!(counts(&doubled), counts(&plain));
        assert!(plain.is_sound());
    }
}

/// Asks to stop after a while, as Ctrl-C does.
struct StopAfter(Instant, Duration);

impl Events for StopAfter {
    fn event(&self, _: Event) {}

    fn cancelled(&self) -> bool {
        self.0.elapsed() > self.1
    }
}

/// The engine sets no time limit of its own: how long a call may take is the storage's to know. A call that
/// hangs delays the run and nothing else, and a run that was asked to stop ends with the call it is in.
#[test]
fn a_stall_delays_and_a_stop_needs_no_more_than_the_call_it_waits_for() {
    const STALL: Duration = Duration::from_millis(150);
    let scratch = Scratch::in_memory();
    let tree = scratch.dir("tree");
    trees::build_tiny(&tree, 7);
    let run = Run { tree: &tree, moment: 0 };
    let world = World::new();
    let counting = Arc::new(FaultStorage::new(world.fork().storage.clone()));
    let index = world.other_index("counted");
    backup(&open(counting.clone(), &world.unlock, &index, &Silent).unwrap(), run).unwrap();
    for call in 0..counting.count() {
        let world = world.fork();
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        let repo = open(storage.clone(), &world.unlock, &world.index(), &Silent).unwrap();
        storage.reset();
        storage.on_call(call, Fault::Stall(STALL));
        let start = Instant::now();
        let told = if call % 2 == 0 {
            let told = backup_with(&repo, run, Parent::Auto, &TestEvents::default());
            assert!(told.is_ok(), "call {call}: {told:?}");
            told
        } else {
            let stop = StopAfter(start, Duration::from_millis(50));
            backup_with(&repo, run, Parent::Auto, &stop)
        };
        assert!(start.elapsed() < STALL + Duration::from_secs(20), "call {call}: {:?}", start.elapsed());
        let stopped = |error: &BackupError| error.kind() == Kind::Cancelled;
        assert!(told.as_ref().err().is_none_or(stopped), "call {call}: {told:?}");
        drop(repo);
        let there = snapshots(&world.open().unwrap());
        assert!(told.is_err() || there == [told.unwrap().snapshot.unwrap()], "call {call}: {there:?}");
    }
}
