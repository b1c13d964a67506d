//! What the program does on a recorded device, and what it promised when.

use super::super::program::{
    Said, Station, backup, build_tree, change_again, change_tree, init, restore, words,
};
use super::image::Kind;
use super::recorder::{Event, Recorder, Recording};
use crate::support::compare::Tree;
use crate::support::{Scratch, copy_dir};
use dedup_engine::id::ObjectId;
use std::path::PathBuf;
use std::sync::Arc;

/// One run of the program, as far as a restart must know it.
pub struct Step {
    pub name: &'static str,
    /// The tree that it backs up.
    pub tree: Option<Arc<Tree>>,
    /// The snapshot that it saved.
    pub snapshot: Option<ObjectId>,
    /// Key files that open the repository when it is done.
    pub keys: Vec<&'static str>,
    /// Whether it restores the first snapshot to `out`.
    pub restores: bool,
    /// The indexes when it was done, and what the machine remembered, if they are on another disk.
    pub indexes: Option<Station>,
}

/// A device that was recorded while the program worked on it.
pub struct Play {
    pub kind: Kind,
    pub recording: Recording,
    pub steps: Vec<Step>,
    /// The directory that was backed up.
    pub tree: PathBuf,
    /// Positions of events before which to cut: right after each promise.
    pub promises: Vec<usize>,
    /// The same: right before each flush.
    pub flushes: Vec<usize>,
    #[expect(dead_code, reason = "removes the tree and the indexes")]
    scratch: Scratch,
}

impl Play {
    /// Records init, three backups, work on keys and a restore. The index is on the recorded device too, or on
    /// another disk that loses nothing.
    pub fn record(kind: Kind, index_elsewhere: bool, seed: u64) -> Result<Self, String> {
        Self::record_with(kind, index_elsewhere, seed, &|station, key, args| station.run(key, args))
    }

    /// The same with a way of its own to run the program.
    pub fn record_with(
        kind: Kind,
        index_elsewhere: bool,
        seed: u64,
        run: &dyn Fn(&Station, &str, &[String]) -> Said,
    ) -> Result<Self, String> {
        let start = run;
        let scratch = Scratch::for_trees();
        let tree = scratch.dir("tree");
        build_tree(&tree, seed);
        let recorder = Recorder::start(kind)?;
        let root = recorder.path().join("station");
        let station = match index_elsewhere {
            true => Station::with_index(root, scratch.dir("indexes")),
            false => Station::new(root),
        };
        let mut steps: Vec<Step> = Vec::new();
        let mut run = |name: &'static str, key: &str, args: Vec<String>, keys: &[&'static str]| {
            let is_backup = args[0] == "backup";
            let said = start(&station, key, &args).ok(name);
            recorder.done();
            let indexes = index_elsewhere.then(|| {
                let kept = Station::new(scratch.path(format!("kept-{}", steps.len())));
                copy_dir(station.indexes(), kept.indexes());
                if station.state().is_dir() {
                    copy_dir(&station.state(), &kept.state());
                }
                kept
            });
            steps.push(Step {
                name,
                tree: is_backup.then(|| Arc::new(Tree::read(&tree))),
                snapshot: said.snapshot(),
                keys: keys.to_vec(),
                restores: args[0] == "restore",
                indexes,
            });
            said.snapshot()
        };
        run("init", "key", init(), &["key"]);
        let first = run("first backup", "key", backup(&tree), &["key"]).unwrap();
        let new_key = |name: &str| station.path(name).display().to_string();
        let change = words(&["key", "change", "--new-key-file", &new_key("key2")]);
        run("key change", "key", change, &["key2"]);
        let add = words(&["key", "add", "--new-key-file", &new_key("key3")]);
        run("key add", "key2", add, &["key2", "key3"]);
        run("restore", "key3", restore(first, &tree, &station.path("out")), &["key2", "key3"]);
        change_tree(&tree, seed);
        run("second backup", "key2", backup(&tree), &["key2", "key3"]);
        change_again(&tree, seed + 1_000);
        run("third backup", "key3", backup(&tree), &["key2", "key3"]);
        let recording = recorder.finish();

        let events = recording.events.iter().enumerate();
        let promises = events.clone().filter(|(_, event)| matches!(event, Event::Done));
        let flushes = events.clone().filter(|(_, event)| matches!(event, Event::Flush));
        let (promises, flushes) = (
            promises.map(|(at, _)| at + 1).collect::<Vec<_>>(),
            flushes.map(|(at, _)| at).collect::<Vec<_>>(),
        );
        assert_eq!(promises.len(), steps.len());
        assert!(flushes.len() > 20, "{} flushes: syncs do not reach the device", flushes.len());
        Ok(Self { kind, recording, steps, tree, promises, flushes, scratch })
    }

    /// Returns how many steps were done before event `cut`.
    pub fn done_before(&self, cut: usize) -> usize {
        self.promises.iter().filter(|at| **at <= cut).count()
    }
}
