//! Few runs, each call of each in every order that numbers choose: two to four at once of backups, prunes, a reader,
//! somebody who forgets and somebody who takes back.
//!
//! The model (`tests/model`) has seen every order of the protocol's steps; here the code itself goes, in orders by chance:
//! uniform ones, and such with few changes. Threads that wait for the system cannot run under a checker of schedules
//! such as loom or shuttle (RocksDB is one of them), so what is ordered here are calls of storage, which is all that two machines have in common.

use super::turns::{Fate, Guest, Order, Paced, Turns};
use super::{Contents, Expected, assert_holds, contents, judge};
use crate::support::budget::Budget;
use crate::support::pruned::{LATER, forget, prune};
use crate::support::random::Random;
use crate::support::world::{Run, World, backup, check, open};
use crate::support::{Scratch, trees};
use dedup_engine::error::Kind;
use dedup_engine::forget::{self, ForgetError};
use dedup_engine::id::ObjectId;
use dedup_engine::progress::Silent;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What a machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// Stores a tree; most of it is what the forgotten snapshot alone still holds.
    Backup(usize),
    Prune,
    /// Restores a snapshot that stays.
    Read,
    /// Looks for damage, of which there is none.
    Check,
    /// Forgets one on which a backup may be made at this moment.
    Forget,
    /// Takes the forgotten one back.
    TakeBack,
}

/// How it ended.
enum Done {
    Stored(ObjectId),
    Forgot,
    TookBack,
    /// Nothing that anybody has to know of.
    Else,
    /// It has to be done again: somebody was quicker.
    Overtaken,
    Died,
}

/// A repository at rest.
struct Course {
    world: World,
    /// Keeps the trees.
    _scratch: Scratch,
    /// What the backups store.
    trees: [PathBuf; 2],
    /// Forgotten, stays, and stays unless it is forgotten.
    snapshots: [(ObjectId, Contents); 3],
}

impl Course {
    fn new(seed: u64) -> Self {
        let (world, scratch) = (World::new(), Scratch::in_memory());
        let random = &mut Random::new(seed);
        let pool: Vec<Vec<u8>> = (0..6).map(|_| random.bytes(9_000)).collect();
        // Which pieces of the pool each holds: the first snapshot alone has 0, 1 and 2.
        let tree = |name: &str, pieces: &[usize]| {
            let tree = scratch.dir(name);
            for piece in pieces {
                trees::write(&tree.join(format!("{piece}")), &pool[*piece], 5);
            }
            trees::write(&tree.join("own"), name.as_bytes(), 6);
            tree
        };
        let made = [("old", &[0, 1, 2, 3][..]), ("stays", &[3, 4]), ("may go", &[4, 5])];
        let snapshots = made.map(|(name, pieces)| {
            let tree = tree(name, pieces);
            let report = world.backup(Run { tree: &tree, moment: 0 }).unwrap();
            (report.snapshot.unwrap(), contents(&tree))
        });
        forget(&world.open().unwrap(), &[snapshots[0].0]);
        // The second is the next state of a tree whose snapshot may go while it is the parent.
        let trees = [tree("next", &[0, 1, 4]), tree("may go", &[1, 2, 5])];
        Self { world, _scratch: scratch, trees, snapshots }
    }

    /// Does a work to its end, or to the machine's.
    fn go(&self, world: &World, turns: &Arc<Turns>, machine: usize, work: Work, fate: Fate) -> Done {
        let _guest = Guest { turns, machine };
        let storage = Paced::new(world.storage.clone(), turns.clone(), machine, fate);
        let index = world.other_index(&format!("machine-{machine}"));
        let ended = self.try_go(world, &storage, &index, work);
        match ended {
            Ok(done) => done,
            Err(_) if storage.is_dead() => Done::Died,
            Err((Kind::Busy, _)) => Done::Overtaken,
            Err((kind, text)) => panic!("{work:?}: {kind:?}: {text}"),
        }
    }

    fn try_go(
        &self,
        world: &World,
        storage: &Arc<Paced>,
        index: &std::path::Path,
        work: Work,
    ) -> Result<Done, (Kind, String)> {
        let repo =
            open(storage.clone(), &world.unlock, index, &Silent).map_err(|e| (e.kind(), e.to_string()))?;
        let [old, stays, may_go] = &self.snapshots;
        match work {
            Work::Backup(which) => {
                let run = Run { tree: &self.trees[which], moment: 100 + which as i64 };
                let report = backup(&repo, run).map_err(|e| (e.kind(), e.to_string()))?;
                assert_eq!(report.problems, [], "{work:?}");
                Ok(Done::Stored(report.snapshot.unwrap()))
            }
            Work::Prune => {
                let report = prune(&repo).map_err(|e| (e.kind(), e.to_string()))?;
                assert_eq!(report.chunks_missing, 0, "a prune");
                Ok(Done::Else)
            }
            // Who is going to die may call that damage.
            Work::Read | Work::Check if storage.dies() => Ok(Done::Else),
            Work::Check => {
                let report = check(&repo).map_err(|e| (e.kind(), e.to_string()))?;
                assert!(report.is_sound(), "a check: {:#?}", report.findings);
                Ok(Done::Else)
            }
            Work::Read => {
                assert_holds(&repo, stays.0, &stays.1, "a reader");
                Ok(Done::Else)
            }
            Work::Forget => forget::forget(&repo, &[may_go.0].into(), LATER)
                .map(|_| Done::Forgot)
                .map_err(|e| (e.kind(), e.to_string())),
            Work::TakeBack => match forget::take_back(&repo, Some(&[old.0].into()), LATER) {
                Ok(_) => Ok(Done::TookBack),
                Err(ForgetError::Gone(_)) => Ok(Done::Else),
                Err(error) => Err((error.kind(), error.to_string())),
            },
        }
    }

    /// One schedule. Returns how many calls it had, and how many runs have to be done again.
    fn case(&self, seed: u64, random: &mut Random, tally: &mut BTreeMap<Work, u64>) -> (u64, u64) {
        let world = self.world.fork();
        let order = match random.below(3) {
            0 => Order::Uniform,
            _ => Order::Priorities(1 + random.below(5)),
        };
        let turns = Turns::new(seed, order);
        use Work::{Backup, Check, Forget, Prune, Read, TakeBack};
        let others = [Backup(0), Backup(1), Prune, Read, Check, Forget, TakeBack];
        // A prune is always there, and often a backup.
        let mut works = vec![Prune, others[random.below(10).saturating_sub(3) as usize]];
        works.extend((0..random.below(3)).map(|_| others[random.below(7) as usize]));
        let fates: Vec<Fate> = works.iter().map(|_| fate(random)).collect();
        let case = format!("{works:?} in {order:?}, {fates:?}");
        turns.enter(0..works.len());
        let done: Vec<Done> = std::thread::scope(|scope| {
            let one = |machine: usize| {
                let (world, turns, work, fate) = (&world, &turns, works[machine], fates[machine]);
                scope.spawn(move || self.go(world, turns, machine, work, fate))
            };
            let all: Vec<_> = (0..works.len()).map(one).collect();
            all.into_iter().map(|one| one.join().unwrap_or_else(|_| panic!("{case}"))).collect()
        });
        works.iter().for_each(|work| *tally.entry(*work).or_insert(0) += 1);

        let [old, stays, may_go] = &self.snapshots;
        let mut expected: Expected = [stays.clone(), may_go.clone()].into();
        let (mut maybe, mut overtaken) = (Vec::new(), 0);
        for (work, done) in works.iter().zip(&done) {
            match (work, done) {
                (Work::Backup(which), Done::Stored(id)) => {
                    expected.insert(*id, contents(&self.trees[*which]));
                }
                (Work::Backup(which), Done::Died) => maybe.push(contents(&self.trees[*which])),
                (Work::Forget, Done::Forgot | Done::Died) => {
                    expected.remove(&may_go.0);
                    maybe.extend(matches!(done, Done::Died).then(|| may_go.1.clone()));
                }
                (_, Done::TookBack) => drop(expected.insert(old.0, old.1.clone())),
                (Work::TakeBack, Done::Died) => maybe.push(old.1.clone()),
                (_, Done::Overtaken) => overtaken += 1,
                _ => {}
            }
        }
        // Nobody is stuck: who was overtaken succeeds when the others are gone.
        for (work, done) in works.iter().zip(&done) {
            if let (Work::Backup(which), Done::Overtaken) = (work, done) {
                let repo = world.open().unwrap();
                let again = backup(&repo, Run { tree: &self.trees[*which], moment: 200 });
                let again = again.unwrap_or_else(|error| panic!("{case}: again: {error}"));
                expected.insert(again.snapshot.unwrap(), contents(&self.trees[*which]));
            }
        }
        judge(&world, &expected, &maybe, &case);
        (turns.calls(), overtaken)
    }
}

/// One machine in five dies, one in five sleeps.
fn fate(random: &mut Random) -> Fate {
    let mut fate = Fate::default();
    match random.below(5) {
        0 => (fate.dies_at, fate.last_counts) = (Some(random.below(200)), random.below(2) == 0),
        1 => fate.sleeps = Some((random.below(200), 48 * 3600)),
        _ => {}
    }
    fate
}

#[test]
fn runs_in_any_order_lose_nothing() {
    let budget = Budget::of("R11 schedules", 12, 100_000);
    let course = Course::new(11);
    let (mut calls, mut overtaken, mut tally) = (0, 0, BTreeMap::new());
    budget.each(|number, random| {
        let (made, again) = course.case(budget.seed().wrapping_add(number), random, &mut tally);
        (calls, overtaken) = (calls + made, overtaken + again);
    });
    budget.tell(&format!(
        "{} schedules of {calls} calls, of {tally:?}; {overtaken} runs overtaken; 0 lost, 0 stuck",
        budget.cases()
    ));
}
