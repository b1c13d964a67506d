//! R10: real processes over one directory, for as long as the budget says: four back up, two forget and prune, one checks, one restores;
//! now and then one of them is killed.

use crate::harness::crash::program::{
    Outputs, Said, Station, backup, build_tree, change_again, init, restore, wait, words,
};
use crate::support::Scratch;
use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::random::Random;
use dedup_engine::id::ObjectId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What somebody was told is safe, and nobody gave up.
#[derive(Default)]
struct Told {
    committed: BTreeMap<ObjectId, (PathBuf, Arc<Tree>)>,
    /// Nobody forgets these now.
    in_use: BTreeSet<ObjectId>,
    /// What ended as it should not; everybody goes home then.
    alarms: Vec<String>,
    tally: BTreeMap<&'static str, u64>,
}

struct Town {
    scratch: Scratch,
    told: Mutex<Told>,
    end: Instant,
}

impl Town {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    fn count(&self, what: &'static str) {
        *self.told().tally.entry(what).or_insert(0) += 1;
    }

    /// Everybody has an index of its own.
    fn station(&self, name: &str) -> Station {
        Station::with_index(self.scratch.path("town"), self.scratch.dir(format!("index-{name}")))
    }

    /// Runs the program; one in eight is killed. Returns nothing if it was, or has to try again since a prune was quicker.
    fn run(
        &self,
        station: &Station,
        args: &[String],
        random: &mut Random,
        what: &'static str,
    ) -> Option<Said> {
        let mut command = station.command(&[], "key", args);
        let outputs = Outputs::of(&mut command);
        let mut child = command.spawn().unwrap();
        if random.below(8) == 0 {
            std::thread::sleep(Duration::from_millis(random.below(400)));
            let _ = child.kill();
        }
        let said = outputs.read(wait(child));
        if said.code.is_none() {
            self.count("killed");
            return None;
        }
        let is_overtaken = said.code == Some(1)
            && (said.err.contains("a prune removed what this run relied on")
                || said.err.contains("others change"));
        self.count(if is_overtaken { "overtaken" } else { what });
        if !is_overtaken && said.code != Some(0) {
            let alarm = format!("{what} ended with {:?}:\n{}{}", said.code, said.out, said.err);
            self.told().alarms.push(alarm);
        }
        (said.code == Some(0)).then_some(said)
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.end && self.told().alarms.is_empty()
    }

    fn backs_up(&self, number: u64, seed: u64) {
        let (station, random) = (self.station(&format!("backup-{number}")), &mut Random::new(seed));
        let tree = self.scratch.dir(format!("tree-{number}"));
        // Two and two have the same files, so everybody meets chunks that somebody else is storing or removing.
        build_tree(&tree, number / 2);
        while self.goes_on() {
            change_again(&tree, random.below(6));
            let now = Arc::new(Tree::read(&tree));
            if let Some(said) = self.run(&station, &backup(&tree), random, "backups") {
                self.told().committed.insert(said.snapshot().unwrap(), (tree.clone(), now));
            }
        }
    }

    fn prunes(&self, number: u64, seed: u64) {
        let (station, random) = (self.station(&format!("prune-{number}")), &mut Random::new(seed));
        while self.goes_on() {
            let gone: Vec<String> = {
                let mut told = self.told();
                let free: Vec<_> =
                    told.committed.keys().filter(|id| !told.in_use.contains(*id)).copied().collect();
                let many = free.len() * 2 / 3;
                let gone = free.into_iter().filter(|_| random.below(3) > 0).take(many);
                let gone: Vec<ObjectId> = gone.collect();
                gone.iter().for_each(|id| drop(told.committed.remove(id)));
                gone.iter().map(ObjectId::to_hex).collect()
            };
            if !gone.is_empty() {
                let args = [words(&["forget", "--allow-empty"]), gone].concat();
                let _ = self.run(&station, &args, random, "forgets");
            }
            let prune = words(&["prune", "--max-unused", "0", "--allow-empty"]);
            let _ = self.run(&station, &prune, random, "prunes");
        }
    }

    fn checks(&self, seed: u64) {
        let (station, random) = (self.station("check"), &mut Random::new(seed));
        while self.goes_on() {
            let _ = self.run(&station, &words(&["check", "--read-data"]), random, "checks");
        }
    }

    fn restores(&self, seed: u64) {
        let (station, random) = (self.station("restore"), &mut Random::new(seed));
        while self.goes_on() {
            let chosen = {
                let mut told = self.told();
                let many = told.committed.len() as u64;
                let chosen = told.committed.iter().nth(random.below(many.max(1)) as usize);
                let chosen = chosen.map(|(id, (tree, now))| (*id, tree.clone(), now.clone()));
                told.in_use.extend(chosen.iter().map(|(id, ..)| *id));
                chosen
            };
            let Some((id, tree, expected)) = chosen else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            let out = Scratch::for_trees();
            let args = restore(id, &tree, &out.path("out"));
            if self.run(&station, &args, random, "restores").is_some() {
                expected.assert_same(&Tree::read(&out.path("out")), &format!("snapshot {}", id.short()));
            }
            self.told().in_use.remove(&id);
        }
    }
}

#[test]
fn processes_beside_one_another_lose_nothing() {
    let budget = Budget::of("R10 seconds of real processes", 8, 1200);
    let end = Instant::now() + Duration::from_secs(budget.cases());
    let town = Town { scratch: Scratch::in_memory(), told: Mutex::default(), end };
    let station = town.station("first");
    station.run("key", &init()).ok("init");
    let seed = budget.seed() * 100;
    std::thread::scope(|scope| {
        (0..4).for_each(|number| {
            drop(scope.spawn({
                let town = &town;
                move || town.backs_up(number, seed + number)
            }))
        });
        (0..2).for_each(|number| {
            drop(scope.spawn({
                let town = &town;
                move || town.prunes(number, seed + 10 + number)
            }))
        });
        scope.spawn(|| town.checks(seed + 20));
        scope.spawn(|| town.restores(seed + 30));
    });
    let alarms = std::mem::take(&mut town.told().alarms);
    if !alarms.is_empty() {
        let calm = station.run("key", &words(&["check", "--read-data"]));
        panic!(
            "{}\nwhen all is calm, check ends with {:?}:\n{}{}",
            alarms.join("\n"),
            calm.code,
            calm.out,
            calm.err
        );
    }
    // A prune that is told that nobody is left makes clean.
    station
        .run("key", &words(&["prune", "--max-unused", "0", "--allow-empty", "--fence"]))
        .ok("the last prune");
    let told = town.told();
    let list = station.run("key", &words(&["snapshots", "--json"])).ok("snapshots").out;
    for (id, (tree, expected)) in &told.committed {
        assert!(list.contains(&id.to_hex()), "snapshot {} is lost", id.short());
        let out = Scratch::for_trees();
        station.run("key", &restore(*id, tree, &out.path("out"))).ok("restore in the end");
        expected.assert_same(&Tree::read(&out.path("out")), &format!("in the end, snapshot {}", id.short()));
    }
    station.run("key", &words(&["check", "--read-data"])).ok("the last check");
    budget.tell(&format!("{:?}, {} snapshots in the end; 0 lost, 0 stuck", told.tally, told.committed.len()));
}
