//! What is killed, and the repositories at rest from which every case starts.

use super::keys::{self, key_add, key_writer};
use super::{copies, repairs};
use crate::harness::crash::program::{Station, backup, build_tree, change_tree, init, restore, rot, words};
use crate::support::Scratch;
use crate::support::compare::Tree;
use dedup_engine::id::ObjectId;
use std::path::PathBuf;
use std::sync::Arc;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
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
    Copy,
    Rewrite,
}

pub(super) const WORKS: [Work; 21] = [
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
    Work::Copy,
    Work::Rewrite,
];

/// Repositories at rest, from which every case starts, and what is known of them.
pub(super) struct Course {
    pub(super) scratch: Scratch,
    pub(super) empty: Station,
    pub(super) made: Station,
    /// With a second slot, `key2`.
    pub(super) keyed: Station,
    pub(super) slot: String,
    /// Without any slot; `sheet` has the one there was.
    pub(super) keyless: Station,
    /// With a snapshot of `tree`, which has changed since.
    pub(super) one: Station,
    /// The same, and `key2` that only writes.
    pub(super) served: Station,
    /// With another one of it.
    pub(super) two: Station,
    /// With the first of them forgotten.
    pub(super) aged: Station,
    /// With both, and a pack whose own directory has rotted: all chunks in it are sound.
    pub(super) rotten: Station,
    /// With both, and a pack lost and given up that only the second one needs.
    pub(super) hurt: Station,
    /// What is left of that one.
    pub(super) left: Arc<Tree>,
    /// With both, and a segment that has rotted.
    pub(super) torn: Station,
    /// With two snapshots and parity, a pack lost and one damaged.
    pub(super) lossy: Station,
    /// With both, and an empty repository beside it, with keys of its own.
    pub(super) linked: Station,
    pub(super) committed: Vec<(ObjectId, Arc<Tree>)>,
    pub(super) first: Arc<Tree>,
}

impl Course {
    pub(super) fn new(seed: u64) -> Self {
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
        let linked = next(&two, "linked");
        copies::target(&linked).run("key", &init()).ok("init of the other");
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
            linked,
            committed,
            first,
            scratch,
        }
    }

    pub(super) fn start(&self, work: Work) -> &Station {
        match work {
            Work::Init => &self.empty,
            Work::FirstBackup | Work::KeyAdd | Work::KeyChange | Work::KeyWriter => &self.made,
            Work::KeyRemove => &self.keyed,
            Work::KeyImport => &self.keyless,
            Work::WriterBackup | Work::KeyRotate => &self.served,
            Work::SecondBackup => &self.one,
            Work::Restore | Work::Check | Work::Forget | Work::ParityAdd | Work::Rewrite => &self.two,
            Work::Prune => &self.aged,
            Work::RepairPacks => &self.rotten,
            Work::RepairSnapshots => &self.hurt,
            Work::RepairIndex => &self.torn,
            Work::ParityRepair => &self.lossy,
            Work::Copy => &self.linked,
        }
    }

    pub(super) fn args(&self, work: Work, at: &Station) -> Vec<String> {
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
            Work::Copy => copies::copy(at),
            Work::Rewrite => words(&copies::REWRITE),
        }
    }

    /// Returns the key file that a work is done with.
    pub(super) fn key(&self, work: Work) -> &'static str {
        if work == Work::WriterBackup { "key2" } else { "key" }
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.scratch.path("tree")
    }

    /// Returns the snapshots that must be there, whatever became of the work.
    pub(super) fn kept(&self, work: Work) -> &[(ObjectId, Arc<Tree>)] {
        match work {
            Work::SecondBackup | Work::WriterBackup | Work::KeyRotate | Work::RepairSnapshots => {
                &self.committed[..1]
            }
            Work::Restore | Work::Check | Work::RepairPacks | Work::RepairIndex => &self.committed[..2],
            Work::ParityAdd | Work::ParityRepair | Work::Copy => &self.committed[..2],
            Work::Forget | Work::Prune => &self.committed[1..2],
            _ => &[],
        }
    }
}
