//! The real program, killed at every system call that changes a file system: repository, index and all.
//!
//! A case is one kill point. As many cases as there are calls cover each call once, twice as many each call
//! twice: killed as it is entered, and as it is left with a write cut short. The same seed is the same point,
//! as far as the threads of the program arrive in the same order.

mod keys;
mod repairs;

use super::program::{
    Outputs, Station, assert_resumed, assert_whole_or_temporary, backup, build_tree, change_tree, init,
    restore, rot, wait, words,
};
use super::tracer::{self, Death, WRAPPER};
use crate::cli::support::skip;
use crate::support::Scratch;
use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::oracle::{Disturbed, Oracle};
use crate::support::random::{Random, spread};
use dedup_engine::id::ObjectId;
use keys::{key_add, key_writer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Init,
    FirstBackup,
    SecondBackup,
    Restore,
    Check,
    KeyAdd,
    KeyChange,
    KeyRemove,
    KeyWriter,
    KeyImport,
    KeyRotate,
    WriterBackup,
    Forget,
    Prune,
    RepairPacks,
    RepairSnapshots,
    RepairIndex,
    ParityAdd,
    ParityRepair,
}

const WORKS: [Work; 19] = [
    Work::Init,
    Work::FirstBackup,
    Work::SecondBackup,
    Work::Restore,
    Work::Check,
    Work::KeyAdd,
    Work::KeyChange,
    Work::KeyRemove,
    Work::KeyWriter,
    Work::KeyImport,
    Work::KeyRotate,
    Work::WriterBackup,
    Work::Forget,
    Work::Prune,
    Work::RepairPacks,
    Work::RepairSnapshots,
    Work::RepairIndex,
    Work::ParityAdd,
    Work::ParityRepair,
];

/// Repositories at rest, from which every case starts, and what is known of them.
struct Course {
    scratch: Scratch,
    empty: Station,
    made: Station,
    /// With a second slot, `key2`.
    keyed: Station,
    slot: String,
    /// Without any slot; `sheet` has the one there was.
    keyless: Station,
    /// With a snapshot of `tree`, which has changed since.
    one: Station,
    /// The same, and `key2` that only writes.
    served: Station,
    /// With another one of it.
    two: Station,
    /// With the first of them forgotten.
    aged: Station,
    /// With both, and a pack whose own directory has rotted: all chunks in it are sound.
    rotten: Station,
    /// With both, and a pack lost and given up that only the second one needs.
    hurt: Station,
    /// What is left of that one.
    left: Arc<Tree>,
    /// With both, and a segment that has rotted.
    torn: Station,
    /// With two snapshots and parity, a pack lost and one damaged.
    lossy: Station,
    committed: Vec<(ObjectId, Arc<Tree>)>,
    first: Arc<Tree>,
}

impl Course {
    fn new(seed: u64) -> Self {
        let scratch = Scratch::for_trees();
        build_tree(&scratch.dir("first"), seed);
        let tree = scratch.dir("tree");
        build_tree(&tree, seed + 1);
        let station = |name: &str| Station::new(scratch.path(name));
        let empty = station("empty");
        let next = |of: &Station, name: &str| {
            let next = station(name);
            crate::support::copy_dir(&of.path(""), &next.path(""));
            next
        };
        let made = next(&empty, "made");
        made.run("key", &init()).ok("init");
        let keyed = next(&made, "keyed");
        keyed.run("key", &key_add(&keyed)).ok("key add");
        let slot = keys::other_slot(&keyed);

        let keyless = next(&made, "keyless");
        keys::put_on_paper(&keyless);

        let mut committed = Vec::new();
        let mut commit = |station: &Station| {
            let id = station.run("key", &backup(&tree)).ok("backup").snapshot().unwrap();
            committed.push((id, Arc::new(Tree::read(&tree))));
        };
        let one = next(&made, "one");
        commit(&one);
        let served = next(&one, "served");
        served.run("key", &key_writer(&served)).ok("key add --write-only");
        change_tree(&tree, seed);
        let two = next(&one, "two");
        commit(&two);
        let aged = next(&two, "aged");
        aged.run("key", &words(&["forget", &committed[0].0.to_hex()])).ok("forget");
        let rotten = next(&two, "rotten");
        rot(&rotten, "packs");
        let hurt = next(&two, "hurt");
        let left = repairs::hurt(&hurt, &one, committed[1].0, &tree);
        let torn = next(&two, "torn");
        rot(&torn, "segments");
        let lossy = next(&two, "lossy");
        repairs::lose_two(&lossy);
        let first = Arc::new(Tree::read(&scratch.path("first")));
        Self {
            empty,
            made,
            keyed,
            slot,
            keyless,
            one,
            served,
            two,
            aged,
            rotten,
            hurt,
            left,
            torn,
            lossy,
            committed,
            first,
            scratch,
        }
    }

    fn start(&self, work: Work) -> &Station {
        match work {
            Work::Init => &self.empty,
            Work::FirstBackup | Work::KeyAdd | Work::KeyChange | Work::KeyWriter => &self.made,
            Work::KeyRemove => &self.keyed,
            Work::KeyImport => &self.keyless,
            Work::WriterBackup | Work::KeyRotate => &self.served,
            Work::SecondBackup => &self.one,
            Work::Restore | Work::Check | Work::Forget | Work::ParityAdd => &self.two,
            Work::Prune => &self.aged,
            Work::RepairPacks => &self.rotten,
            Work::RepairSnapshots => &self.hurt,
            Work::RepairIndex => &self.torn,
            Work::ParityRepair => &self.lossy,
        }
    }

    fn args(&self, work: Work, at: &Station) -> Vec<String> {
        let new_key = at.path("key2").display().to_string();
        match work {
            Work::Init => init(),
            Work::FirstBackup => backup(&self.scratch.path("first")),
            Work::SecondBackup | Work::WriterBackup => backup(&self.tree()),
            Work::Restore => restore(self.committed[1].0, &self.tree(), &at.path("out")),
            Work::Check => words(&["check", "--read-data"]),
            Work::KeyAdd => key_add(at),
            Work::KeyChange => words(&["key", "change", "--new-key-file", &new_key]),
            Work::KeyRemove => words(&["key", "remove", &self.slot]),
            Work::KeyWriter => key_writer(at),
            Work::KeyImport => words(&["key", "import", &at.path("sheet").display().to_string()]),
            Work::KeyRotate => words(&["key", "rotate", "--keep-all"]),
            Work::Forget => words(&["forget", &self.committed[0].0.to_hex()]),
            Work::Prune => words(&["prune", "--max-unused", "0"]),
            Work::RepairPacks => words(&["repair", "packs", "--read-data"]),
            Work::RepairSnapshots => words(&repairs::SNAPSHOTS),
            Work::RepairIndex => words(&["repair", "index"]),
            Work::ParityAdd => words(&repairs::PARITY_ADD),
            Work::ParityRepair => words(&["parity", "repair"]),
        }
    }

    /// Returns the key file that a work is done with.
    fn key(&self, work: Work) -> &'static str {
        if work == Work::WriterBackup { "key2" } else { "key" }
    }

    fn tree(&self) -> PathBuf {
        self.scratch.path("tree")
    }

    /// Returns the snapshots that must be there, whatever became of the work.
    fn kept(&self, work: Work) -> &[(ObjectId, Arc<Tree>)] {
        match work {
            Work::SecondBackup | Work::WriterBackup | Work::KeyRotate | Work::RepairSnapshots => {
                &self.committed[..1]
            }
            Work::Restore | Work::Check | Work::RepairPacks | Work::RepairIndex => &self.committed[..2],
            Work::ParityAdd | Work::ParityRepair => &self.committed[..2],
            Work::Forget | Work::Prune => &self.committed[1..2],
            _ => &[],
        }
    }

    /// Judges what a work left behind that may have died.
    fn judge(&self, work: Work, at: &Station, said: &super::program::Said, random: &mut Random, case: &str) {
        let is_done = said.code == Some(0);
        match work {
            Work::Init => {
                if !is_done {
                    at.init_goes_on(case);
                }
            }
            Work::Restore => {
                assert_whole_or_temporary(&at.path("out"), &self.committed[1].1, case);
                at.run("key", &self.args(work, at)).ok(&format!("{case}: restore again"));
                assert_resumed(&self.committed[1].1, &at.path("out"), &format!("{case}: restore again"));
            }
            Work::KeyAdd | Work::KeyChange | Work::KeyRemove | Work::KeyWriter => {
                self.judge_keys(work, at, is_done, case);
            }
            Work::KeyImport => {
                assert!(!is_done || at.open_by("key").is_ok(), "{case}: put back, and does not open");
                drop(at.run("key", &self.args(work, at)).ok(&format!("{case}: again")));
            }
            Work::KeyRotate => {
                if !is_done {
                    at.run("key", &self.args(work, at)).ok(&format!("{case}: again"));
                }
                // Who was taken along opens it as before.
                at.run("key2", &words(&["witness"])).ok(&format!("{case}: the other key"));
            }
            // Done or not, it can be done again.
            Work::Forget if is_done => {}
            Work::ParityAdd | Work::ParityRepair if is_done => {}
            Work::Forget | Work::ParityAdd | Work::ParityRepair => {
                drop(at.run("key", &self.args(work, at)).ok(&format!("{case}: again")))
            }
            Work::Prune if random.below(2) == 0 => {
                let again = words(&["prune", "--max-unused", "0", "--fence"]);
                drop(at.run("key", &again).ok(&format!("{case}: prune again")));
            }
            Work::RepairPacks | Work::RepairSnapshots | Work::RepairIndex => {
                drop(at.run("key", &self.args(work, at)).ok(&format!("{case}: repair again")));
            }
            Work::FirstBackup | Work::SecondBackup | Work::WriterBackup | Work::Check | Work::Prune => {}
        }
        let (tree, now) = match work {
            Work::FirstBackup => (self.scratch.path("first"), Some(self.first.clone())),
            Work::SecondBackup | Work::WriterBackup => (self.tree(), Some(self.committed[1].1.clone())),
            // Small, where nothing is to be said of snapshots.
            _ => (self.tree(), None),
        };
        let key = if at.open_by("key").is_ok() { "key" } else { "key2" };
        let mut oracle = Oracle::new(at.key(key).unwrap());
        let mut committed = self.kept(work).to_vec();
        if work == Work::RepairSnapshots {
            committed.push((repairs::made_once(at, &committed, case), self.left.clone()));
        }
        committed.iter().for_each(|(id, expected)| oracle.commit(*id, &self.tree(), expected.clone()));
        let told = now.as_ref().and_then(|_| said.snapshot());
        if random.below(10) == 0 {
            at.judge_by_program(&committed, &tree, key, &format!("{case}, by the program"));
        } else {
            at.judge(
                &oracle,
                &Disturbed { tree: now, told, ..Disturbed::default() },
                &tree,
                random.below(4) != 0,
                case,
            );
        }
    }
}

/// Counts by kind, for the figure.
fn tally(counts: &BTreeMap<Work, u64>) -> String {
    let each = counts.iter().map(|(work, count)| format!("{work:?} {count}"));
    each.collect::<Vec<_>>().join(", ")
}

#[test]
fn the_program_can_be_killed_at_every_system_call() {
    if !cfg!(target_arch = "x86_64") {
        return skip("kill points: the tracer reads the registers of x86-64 only");
    }
    let budget = Budget::of("R1 kill points of the program", 32, 3000);
    let course = Course::new(1);
    let mut calls = Vec::new();
    for work in WORKS {
        let copy = Scratch::in_memory();
        let at = course.start(work).copy(&copy);
        let trace =
            tracer::run(at.command(&WRAPPER, course.key(work), &course.args(work, &at)), Death::Never);
        trace.said.ok(&format!("{work:?}"));
        assert!(trace.calls > 5, "{work:?}: {} calls prove nothing", trace.calls);
        calls.push((work, trace.calls));
    }
    let all: u64 = calls.iter().map(|(_, calls)| calls).sum();
    let (mut killed, mut torn, mut whole) = (BTreeMap::new(), 0, 0);
    budget.each(|number, random| {
        let seed = budget.seed().wrapping_add(number);
        let point = spread(seed, all);
        let mut call = point;
        let work = calls.iter().find(|(_, calls)| {
            let is_here = call < *calls;
            call -= if is_here { 0 } else { *calls };
            is_here
        });
        let work = work.unwrap().0;
        let is_torn = (seed / all + point) % 2 == 1;
        let death = match is_torn {
            true => Death::Within(call, random.below(256) as u8),
            false => Death::Before(call),
        };
        let case = format!("{work:?}, {death:?} of all {all} calls");
        let copy = Scratch::in_memory();
        let at = course.start(work).copy(&copy);
        let trace = tracer::run(at.command(&WRAPPER, course.key(work), &course.args(work, &at)), death);
        if trace.is_killed && trace.said.code.is_none() {
            *killed.entry(work).or_insert(0) += 1;
            torn += u64::from(is_torn);
        } else {
            // The threads made fewer calls this time.
            assert_eq!(trace.said.code, Some(0), "{case}: {}", trace.said.err);
            whole += 1;
        }
        course.judge(work, &at, &trace.said, random, &case);
    });
    let kills: u64 = killed.values().sum();
    budget.tell(&format!(
        "{kills} kills ({torn} of them within a call) at {all} calls: {}; {whole} runs came to their end; \
         0 lost, 0 manual unlocks",
        tally(&killed)
    ));
}

#[test]
fn the_program_can_be_killed_at_any_time() {
    let budget = Budget::of("R1 kills at random times", 6, 400);
    let course = Course::new(2);
    let works = [Work::FirstBackup, Work::SecondBackup, Work::Restore];
    let times: Vec<Duration> = works
        .into_iter()
        .map(|work| {
            let copy = Scratch::in_memory();
            let at = course.start(work).copy(&copy);
            let begun = Instant::now();
            at.run("key", &course.args(work, &at)).ok("undisturbed");
            begun.elapsed()
        })
        .collect();
    let mut kills = 0;
    budget.each(|number, random| {
        let which = (budget.seed().wrapping_add(number) % works.len() as u64) as usize;
        let work = works[which];
        let after = times[which].mul_f64(random.below(1000) as f64 / 1000.0);
        let copy = Scratch::in_memory();
        let at = course.start(work).copy(&copy);
        let mut command = at.command(&[], "key", &course.args(work, &at));
        let outputs = Outputs::of(&mut command);
        let mut child = command.spawn().unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        let said = outputs.read(wait(child));
        kills += u64::from(said.code.is_none());
        course.judge(work, &at, &said, random, &format!("{work:?} killed after {after:?}"));
    });
    budget.tell(&format!("{kills} kills, 0 lost, 0 manual unlocks"));
}
