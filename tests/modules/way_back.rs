//! A restore in place: everything is as stored afterwards, or as it was before. What is compared shares nothing with the program.

use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::trees;
use crate::support::world::{Run, World, backup, restore_with};
use dedup_engine::listing::StoredPath;
use dedup_modules::files::{FilesSink, Safety, SinkOptions, settle, take_back};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

fn stored(path: &Path) -> StoredPath {
    StoredPath::from_slashes(path.as_os_str().as_bytes()).unwrap()
}

fn options(live: &Path) -> SinkOptions {
    SinkOptions { strip: stored(live), devices: true, root_metadata: true, ..Default::default() }
}

#[test]
fn trees_of_all_kinds_are_replaced_and_come_back() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: devices and owners are restored by root only");
        return;
    }
    let budget = Budget::of("restores in place that are taken back", 4, 100);
    for case in 0..budget.cases() {
        let seed = budget.seed().wrapping_add(case);
        let world = World::new();
        let (live, target) = (world.scratch.dir("live"), world.scratch.dir("target"));
        trees::build_all_kinds(&live, seed);
        // What is there has the same names, other content, and other kinds here and there.
        trees::build_all_kinds(&target, seed.wrapping_add(1000));
        trees::change(&target, seed);
        let (expected, before) = (Tree::read(&live), Tree::read(&target));
        let repo = world.open().unwrap();
        let snapshot = backup(&repo, Run { tree: &live, moment: 0 }).unwrap().snapshot.unwrap();
        let log = world.scratch.dir("state").join("log");
        let restore = |clear: bool| {
            let safety = Safety { run: format!("case-{case}"), log: log.clone() };
            let sink = FilesSink::with_safety(&target, options(&live), &safety).unwrap();
            if clear {
                for entry in fs::read_dir(&target).unwrap() {
                    let name = entry.unwrap().file_name();
                    if !name.as_bytes().starts_with(b".dedup-aside") {
                        assert!(sink.set_aside(&stored(&live.join(name))).unwrap());
                    }
                }
            }
            let report = restore_with(&repo, snapshot, stored(&live), &sink).unwrap();
            assert!(report.problems.is_empty(), "{:?}", report.problems);
            sink.sync().unwrap();
        };
        for clear in [false, true] {
            restore(clear);
            let done = take_back(&target, &log).unwrap();
            assert_eq!(done.left, [""; 0], "seed {seed}");
            before.assert_same(&Tree::read(&target), &format!("taken back, seed {seed}"));
            fs::remove_file(&log).unwrap();
        }
        restore(true);
        settle(&target, &log).unwrap();
        expected.assert_same(&Tree::read(&target), &format!("settled, seed {seed}"));
    }
    budget.tell("0 differences");
}

/// What a way back costs: all files are replaced, with and without one.
#[test]
fn a_way_back_costs_little() {
    let budget = Budget::of("restore of files with a way back", 2_000, 50_000);
    let world = World::new();
    let live = world.scratch.dir("live");
    let fill = |root: &Path, content: &str| {
        for n in 0..budget.cases() {
            let directory = root.join(format!("{:03}", n / 100));
            if n % 100 == 0 {
                fs::create_dir_all(&directory).unwrap();
            }
            fs::write(directory.join(format!("{n}")), content.repeat(200 + n as usize % 400)).unwrap();
        }
    };
    fill(&live, "restored");
    let repo = world.open().unwrap();
    let snapshot = backup(&repo, Run { tree: &live, moment: 0 }).unwrap().snapshot.unwrap();
    // Nothing is removed before the end: ext4 avoids inodes that were freed within the last minute, which costs more than all
    // that is measured. Other work on the machine makes one slower than it is, so the medians of several are compared, which
    // take turns at being first.
    let turns: &[bool] = if budget.cases() < 50_000 {
        &[false, true]
    } else {
        &[false, true, true, false, false, true, true, false, false, true]
    };
    let targets: Vec<_> = (0..turns.len()).map(|n| world.scratch.dir(format!("target-{n}"))).collect();
    targets.iter().for_each(|target| fill(target, "before"));
    rustix::fs::sync();
    let measured = |n: usize, safely: bool| {
        let safety = Safety { run: "r".into(), log: world.scratch.dir("state").join(format!("log-{n}")) };
        let start = Instant::now();
        let target = &targets[n];
        let sink = match safely {
            true => FilesSink::with_safety(target, options(&live), &safety).unwrap(),
            false => FilesSink::new(target, options(&live)).unwrap(),
        };
        let report = restore_with(&repo, snapshot, stored(&live), &sink).unwrap();
        let elapsed = start.elapsed();
        assert_eq!(report.unchanged, 0);
        assert_eq!(target.join(".dedup-aside-r/tree/000/0").exists(), safely);
        elapsed
    };
    let all: Vec<(bool, Duration)> =
        turns.iter().enumerate().map(|(n, safely)| (*safely, measured(n, *safely))).collect();
    let times = |wanted: bool| {
        let mut times: Vec<_> =
            all.iter().filter(|(safely, _)| *safely == wanted).map(|(_, time)| *time).collect();
        times.sort();
        times
    };
    let (plain, safe) = (times(false), times(true));
    // What was kept is removed in the end, which is a part of the price.
    let mut settled: Vec<Duration> = (0..turns.len())
        .filter(|n| turns[*n])
        .map(|n| {
            let start = Instant::now();
            settle(&targets[n], &world.scratch.dir("state").join(format!("log-{n}"))).unwrap();
            start.elapsed()
        })
        .collect();
    settled.sort();
    let median = |times: &[Duration]| times[times.len() / 2];
    let ratio = (median(&safe) + median(&settled)).as_secs_f64() / median(&plain).as_secs_f64();
    let files = budget.cases();
    budget.tell(&format!(
        "{files} files: plain {plain:.2?}, with a way back {safe:.2?}, its removal {settled:.2?}, medians {ratio:.2} times"
    ));
    assert!(files < 50_000 || ratio <= 1.3, "{ratio:.2} times as long");
}
