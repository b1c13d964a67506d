//! R9: eight machines that back up, forget, take back and read, and two that prune. They die, they sleep for two days in the
//! middle of a call, and their clocks are up to thirty hours wrong.

use super::turns::{Fate, Guest, Order, Paced, Turns};
use super::{Contents, Expected, assert_holds, contents, judge};
use crate::support::budget::Budget;
use crate::support::pruned::{LATER, prune};
use crate::support::random::Random;
use crate::support::world::{Run, World, backup, open};
use crate::support::{Scratch, trees};
use dedup_engine::error::Kind;
use dedup_engine::forget::{self, ForgetError};
use dedup_engine::id::ObjectId;
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const CLIENTS: usize = 8;
const PRUNES: usize = 2;
/// What each machine does, so many times.
const ROUNDS: u64 = 2;
const TWO_DAYS: i64 = 48 * 3600;
/// Once overtaken, a run is tried again; nobody here is overtaken that often.
const ATTEMPTS: usize = 4;

/// What everybody together was told, and what happened.
#[derive(Default)]
struct Told {
    expected: Expected,
    maybe: Vec<Contents>,
    /// Runs, deaths, runs overtaken, prunes; by these, sessions fenced and packs that somebody began to need meanwhile.
    tally: [u64; 6],
}

struct Fleet {
    world: World,
    turns: Arc<Turns>,
    trees: Scratch,
    pool: Vec<Vec<u8>>,
    told: Mutex<Told>,
    case: String,
}

/// One machine of the fleet.
struct Machine<'a> {
    fleet: &'a Fleet,
    number: usize,
    random: Random,
    storage: Arc<Paced>,
    repo: Option<Repository>,
    /// Snapshots it made and can name, alive and forgotten.
    own: BTreeMap<ObjectId, Contents>,
    forgotten: BTreeMap<ObjectId, Contents>,
    /// Seconds that its clock is wrong.
    clock: i64,
}

/// Why something was not done.
enum Not {
    Died,
    Overtaken,
}

impl Fleet {
    fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let order = if random.below(3) > 0 { Order::Uniform } else { Order::Priorities(random.below(20)) };
        let pool = (0..10).map(|_| random.bytes(4_000)).collect();
        let (world, turns) = (World::new(), Turns::new(seed, order));
        let case = format!("fleet {seed}, {order:?}");
        Self { world, turns, trees: Scratch::in_memory(), pool, told: Mutex::new(Told::default()), case }
    }

    fn run(&self, seed: u64) {
        let machines = CLIENTS + PRUNES;
        self.turns.enter(0..machines);
        std::thread::scope(|scope| {
            for number in 0..machines {
                scope.spawn(move || {
                    let _guest = Guest { turns: &self.turns, machine: number };
                    let mut machine = Machine::new(self, number, seed);
                    for _ in 0..ROUNDS {
                        if number < CLIENTS { machine.work() } else { machine.prune() }
                    }
                });
            }
        });
        let told = self.told.lock().unwrap();
        judge(&self.world, &told.expected, &told.maybe, &self.case);
    }
}

impl<'a> Machine<'a> {
    fn new(fleet: &'a Fleet, number: usize, seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(1_000).wrapping_add(number as u64));
        let storage = Paced::new(fleet.world.storage.clone(), fleet.turns.clone(), number, Fate::default());
        let clock = random.below(60 * 3600) as i64 - 30 * 3600;
        let (own, forgotten) = (BTreeMap::new(), BTreeMap::new());
        Self { fleet, number, random, storage, repo: None, own, forgotten, clock }
    }

    fn tree(&self) -> PathBuf {
        self.fleet.trees.dir(format!("{}", self.number))
    }

    /// Says what happens in the next work: one in four dies, one in four sleeps.
    fn meet_fate(&mut self) {
        let mut fate = Fate::default();
        match self.random.below(4) {
            0 => {
                (fate.dies_at, fate.last_counts) = (Some(self.random.below(80)), self.random.below(2) == 0);
            }
            1 => fate.sleeps = Some((self.random.below(60), TWO_DAYS)),
            _ => {}
        }
        self.storage.meet(fate);
    }

    /// Does something with the repository, which is opened again after a death, now and then without its index.
    fn with<R>(&mut self, what: impl FnOnce(&Repository) -> Result<R, (Kind, String)>) -> Result<R, Not> {
        let fleet = self.fleet;
        let index = fleet.world.other_index(&format!("machine-{}", self.number));
        let result = match self.repo.take() {
            Some(repo) => Ok(repo),
            None => open(self.storage.clone(), &fleet.world.unlock, &index, &Silent)
                .map_err(|error| (error.kind(), error.to_string())),
        };
        let result = result.and_then(|repo| what(&repo).map(|done| (repo, done)));
        match result {
            Ok((repo, done)) => {
                self.repo = Some(repo);
                Ok(done)
            }
            Err(_) if self.storage.is_dead() => {
                if self.random.below(3) == 0 {
                    std::fs::remove_dir_all(index).unwrap_or_default();
                }
                fleet.told.lock().unwrap().tally[1] += 1;
                self.storage.meet(Fate::default());
                Err(Not::Died)
            }
            Err((Kind::Busy, _)) => {
                fleet.told.lock().unwrap().tally[2] += 1;
                Err(Not::Overtaken)
            }
            Err((kind, text)) => panic!("{}, machine {}: {kind:?}: {text}", fleet.case, self.number),
        }
    }

    fn work(&mut self) {
        self.meet_fate();
        self.change_tree();
        self.back_up();
        match self.random.below(4) {
            0 => self.forget(),
            1 => self.take_back(),
            2 => self.read(),
            _ => {}
        }
    }

    fn change_tree(&mut self) {
        let tree = self.tree();
        for _ in 0..2 {
            let piece = self.random.below(self.fleet.pool.len() as u64) as usize;
            let name = tree.join(format!("{}", self.random.below(4)));
            let now = self.fleet.turns.now();
            trees::write(&name, &self.fleet.pool[piece], now);
            trees::write(&tree.join("when"), format!("{now} {}", self.random.next()).as_bytes(), now);
        }
    }

    fn back_up(&mut self) {
        let (tree, fleet) = (self.tree(), self.fleet);
        let now = contents(&tree);
        for _ in 0..ATTEMPTS {
            let moment = fleet.turns.now() + self.clock;
            let result = self.with(|repo| {
                let report = backup(repo, Run { tree: &tree, moment })
                    .map_err(|error| (error.kind(), error.to_string()))?;
                assert_eq!(report.problems, []);
                Ok(report.snapshot.unwrap())
            });
            let mut told = fleet.told.lock().unwrap();
            told.tally[0] += 1;
            match result {
                Ok(id) => {
                    self.own.insert(id, now.clone());
                    told.expected.insert(id, now);
                    return;
                }
                Err(Not::Died) => told.maybe.push(now.clone()),
                Err(Not::Overtaken) => {}
            }
        }
        panic!("{}, machine {}: overtaken {ATTEMPTS} times: stuck", fleet.case, self.number);
    }

    fn forget(&mut self) {
        let Some((id, contents)) = self.own.pop_first() else { return };
        {
            let mut told = self.fleet.told.lock().unwrap();
            told.expected.remove(&id);
            told.maybe.push(contents.clone());
        }
        let result = self.with(|repo| {
            forget::forget(repo, &[id].into(), LATER).map_err(|error| (error.kind(), error.to_string()))
        });
        if result.is_ok() {
            self.forgotten.insert(id, contents);
        }
    }

    fn take_back(&mut self) {
        let Some((id, contents)) = self.forgotten.pop_first() else { return self.read() };
        let back = self.with(|repo| match forget::take_back(repo, Some(&[id].into()), LATER) {
            Ok(_) => Ok(true),
            Err(ForgetError::Gone(_)) => Ok(false),
            Err(error) => Err((error.kind(), error.to_string())),
        });
        if let Ok(true) = back {
            self.fleet.told.lock().unwrap().expected.insert(id, contents.clone());
            self.own.insert(id, contents);
        }
    }

    fn read(&mut self) {
        let Some((id, contents)) = self.own.last_key_value().map(|(id, contents)| (*id, contents.clone()))
        else {
            return;
        };
        // Whoever dies here has seen nothing; what is wrong is seen by those that do not.
        self.storage.meet(Fate::default());
        let case = &self.fleet.case;
        let _ = self.with(|repo| {
            assert_holds(repo, id, &contents, case);
            Ok(())
        });
    }

    fn prune(&mut self) {
        self.meet_fate();
        self.fleet.told.lock().unwrap().tally[3] += 1;
        // Who prunes comes late, by up to three days.
        self.fleet.turns.wait(self.number, self.random.below(72 * 3600) as i64);
        let pruned = self.with(|repo| match prune(repo) {
            Ok(report) => {
                assert_eq!(report.chunks_missing, 0);
                Ok((report.fenced, report.packs_rescued))
            }
            // There is nothing yet.
            Err(error) if error.kind() == Kind::Refused => Ok((0, 0)),
            Err(error) => Err((error.kind(), error.to_string())),
        });
        if let Ok((fenced, rescued)) = pruned {
            let mut told = self.fleet.told.lock().unwrap();
            told.tally[4] += fenced;
            told.tally[5] += rescued;
        }
    }
}

#[test]
fn a_fleet_loses_nothing_and_is_never_stuck() {
    let budget = Budget::of("R9 fleets", 2, 10_000);
    let (mut calls, mut snapshots, mut tally) = (0, 0, [0; 6]);
    budget.each(|number, _| {
        let seed = budget.seed().wrapping_add(number);
        let fleet = Fleet::new(seed);
        fleet.run(seed);
        let told = fleet.told.lock().unwrap();
        (calls, snapshots) = (calls + fleet.turns.calls(), snapshots + told.expected.len());
        tally.iter_mut().zip(told.tally).for_each(|(sum, one)| *sum += one);
    });
    let [runs, deaths, overtaken, prunes, fenced, rescued] = tally;
    assert!(snapshots as u64 >= budget.cases() * CLIENTS as u64, "{snapshots} snapshots prove little");
    budget.tell(&format!(
        "{} fleets of {CLIENTS} and {PRUNES}: {calls} calls, {runs} backups, {prunes} prunes, {deaths} deaths, {overtaken} overtaken, \
         {fenced} sessions fenced, {rescued} packs rescued; {snapshots} snapshots, 0 lost, 0 stuck",
        budget.cases()
    ));
}
