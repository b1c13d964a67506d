//! The real program, killed at every system call that changes a file system: repository, index and all.
//!
//! A case is one kill point. As many cases as there are calls cover each call once, twice as many each call
//! twice: killed as it is entered, and as it is left with a write cut short. The same seed is the same point,
//! as far as the threads of the program arrive in the same order.

mod copies;
mod course;
mod keys;
mod repairs;

use super::program::{Outputs, Station, assert_resumed, assert_whole_or_temporary, wait, words};
use super::tracer::{self, Death, WRAPPER};
use crate::cli::support::skip;
use crate::support::Scratch;
use crate::support::budget::Budget;
use crate::support::oracle::{Disturbed, Oracle};
use crate::support::random::{Random, spread};
use course::{Course, WORKS, Work};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

impl Course {
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
            Work::Copy => copies::judge(at, &self.committed, &self.tree(), case),
            Work::Prune if random.below(2) == 0 => {
                let again = words(&["prune", "--max-unused", "0", "--fence"]);
                drop(at.run("key", &again).ok(&format!("{case}: prune again")));
            }
            Work::RepairPacks | Work::RepairSnapshots | Work::RepairIndex | Work::Rewrite => {
                drop(at.run("key", &self.args(work, at)).ok(&format!("{case}: again")));
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
        if work == Work::Rewrite {
            committed = copies::rewritten(at, &self.committed, case);
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
