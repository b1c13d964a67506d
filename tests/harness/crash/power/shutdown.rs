//! The file system is shut down under the running program, which loses all that was not synced; then it is
//! mounted again. `xfs_io` gives the order, as the ioctl cannot be had without unsafe code; ext4 knows it too.

use super::super::program::{
    Outputs, Station, assert_resumed, backup, build_tree, change_tree, init, restore, wait, words,
};
use super::image::{Image, Kind, Mount, missing, one_at_a_time, system};
use crate::cli::support::skip;
use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::oracle::{Disturbed, Oracle};
use crate::support::random::Random;
use crate::support::{Scratch, copy_dir};
use dedup_engine::id::ObjectId;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A file system with a repository and one snapshot of a tree that has changed since.
struct Stage {
    kind: Kind,
    image: Image,
    scratch: Scratch,
    snapshot: ObjectId,
    first: Arc<Tree>,
    now: Arc<Tree>,
    /// How long a backup takes there.
    time: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Backup,
    Restore,
    KeyAdd,
    KeyChange,
    Init,
}

impl Stage {
    fn new(kind: Kind, seed: u64) -> Self {
        let scratch = Scratch::for_trees();
        let (tree, place) = (scratch.dir("tree"), Scratch::in_memory());
        build_tree(&tree, seed);
        let file = Image::made(kind).to_file(&place.path("image"));
        let mount = Mount::image(kind, &file, &place.dir("mount")).unwrap();
        let station = Station::new(mount.path().join("station"));
        station.run("key", &init()).ok("init");
        let snapshot = station.run("key", &backup(&tree)).ok("backup").snapshot().unwrap();
        let first = Arc::new(Tree::read(&tree));
        drop((station, mount));
        change_tree(&tree, seed);
        let now = Arc::new(Tree::read(&tree));
        let image = Image::read(&file);
        let mount = Mount::image(kind, &file, &place.dir("mount")).unwrap();
        let begun = Instant::now();
        Station::new(mount.path().join("station")).run("key", &backup(&tree)).ok("second backup");
        Self { kind, image, scratch, snapshot, first, now, time: begun.elapsed() }
    }

    fn tree(&self) -> PathBuf {
        self.scratch.path("tree")
    }

    /// Cuts a run of the program; returns whether it died of it.
    fn cut(&self, random: &mut Random) -> bool {
        let works = [
            Work::Backup,
            Work::Backup,
            Work::Backup,
            Work::Restore,
            Work::KeyAdd,
            Work::KeyChange,
            Work::Init,
        ];
        let work = works[random.below(works.len() as u64) as usize];
        let is_short = !matches!(work, Work::Backup | Work::Restore);
        // Giving the order takes time too.
        let longest = self.time.mul_f64(if is_short { 0.1 } else { 0.8 });
        let after = longest.mul_f64(random.below(1000) as f64 / 1000.0);
        let case = format!("{}, {work:?}, shut down after {after:?}", self.kind.name());
        let place = Scratch::in_memory();
        let file = self.image.to_file(&place.path("image"));
        let at = place.dir("mount");
        let mount = Mount::image(self.kind, &file, &at).unwrap();
        let root = match work {
            Work::Init => at.join("new"),
            _ => at.join("station"),
        };
        let station = Station::new(root.clone());
        let new_key = root.join("key2").display().to_string();
        let args = match work {
            Work::Backup => backup(&self.tree()),
            Work::Restore => restore(self.snapshot, &self.tree(), &root.join("out")),
            Work::KeyAdd => words(&["key", "add", "--new-key-file", &new_key]),
            Work::KeyChange => words(&["key", "change", "--new-key-file", &new_key]),
            Work::Init => init(),
        };
        let mut command = station.command(&[], "key", &args);
        let outputs = Outputs::of(&mut command);
        let child = command.spawn().unwrap();
        std::thread::sleep(after);
        let shutdown = system(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&at));
        shutdown.unwrap_or_else(|error| panic!("{case}: {error}"));
        let said = outputs.read(wait(child));
        drop(mount);
        let is_done = said.code == Some(0);

        let mount = Mount::image(self.kind, &file, &at);
        let mount = mount.unwrap_or_else(|error| panic!("{case}: it does not mount: {error}"));
        let station = Station::new(root.clone());
        if work == Work::Restore {
            let out = root.join("out");
            if is_done {
                self.first.assert_same(&Tree::read(&out), &format!("{case}: what was restored"));
            } else {
                station.run("key", &args).ok(&format!("{case}: restore again"));
                assert_resumed(&self.first, &out, &format!("{case}: restore again"));
            }
        }
        let copy = Station::new(place.path("copy"));
        for part in ["repo", "index"].into_iter().filter(|part| root.join(part).is_dir()) {
            copy_dir(&root.join(part), &copy.path(part));
        }
        for key in ["key", "key2"].into_iter().filter(|key| root.join(key).is_file()) {
            std::fs::copy(root.join(key), copy.path(key)).unwrap();
        }
        drop(mount);
        self.judge(work, &copy, &said, random, &case);
        !is_done
    }

    fn judge(
        &self,
        work: Work,
        copy: &Station,
        said: &super::super::program::Said,
        random: &mut Random,
        case: &str,
    ) {
        let is_done = said.code == Some(0);
        if work == Work::Init && !is_done {
            copy.init_goes_on(case);
        }
        let (old, new) = (copy.open_by("key"), copy.open_by("key2"));
        match work {
            Work::KeyChange => {
                assert!(old.is_ok() || new.is_ok(), "{case}: locked out: {old:?}, {new:?}");
                assert!(!is_done || new.is_ok(), "{case}: done: {new:?}");
            }
            Work::KeyAdd => {
                assert!(old.is_ok(), "{case}: {old:?}");
                assert!(!is_done || new.is_ok(), "{case}: done: {new:?}");
            }
            _ => assert!(old.is_ok(), "{case}: {old:?}"),
        }
        let mut oracle = Oracle::new(copy.key(if old.is_ok() { "key" } else { "key2" }).unwrap());
        if work != Work::Init {
            oracle.commit(self.snapshot, &self.tree(), self.first.clone());
        }
        let tree = (work == Work::Backup).then(|| self.now.clone());
        let told = tree.as_ref().and_then(|_| said.snapshot());
        copy.judge(
            &oracle,
            &Disturbed { tree, told, ..Disturbed::default() },
            &self.tree(),
            random.below(4) != 0,
            case,
        );
    }
}

#[test]
fn the_power_can_go_at_any_time() {
    let budget = Budget::of("R3 shutdowns", 8, 500);
    let kinds = [Kind::Ext4, Kind::Xfs];
    let mut stages = Vec::new();
    for kind in kinds {
        let _turn = one_at_a_time();
        match missing(kind, &["xfs_io"]) {
            Some(why) => skip(&format!("shutdowns of {}: {why}", kind.name())),
            None => stages.push(Stage::new(kind, 3)),
        }
    }
    if stages.is_empty() {
        return;
    }
    let (mut counts, mut died) = (BTreeMap::new(), 0);
    budget.each(|number, random| {
        let _turn = one_at_a_time();
        let seed = budget.seed().wrapping_add(number);
        let stage = &stages[(seed % stages.len() as u64) as usize];
        *counts.entry(stage.kind.name()).or_insert(0) += 1;
        died += u64::from(stage.cut(random));
    });
    budget.tell(&format!("{} power cuts {counts:?}, {died} within a run; 0 lost", budget.cases()));
}
