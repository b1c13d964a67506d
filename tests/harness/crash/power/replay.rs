//! Images as a power cut may have left them, each mounted and judged.
//!
//! Cuts are right after a promise (a run ended with success) and right before a flush. All that was written
//! before the last flush is there; of the rest nothing, all, some writes, or some sectors of them. Runs of a
//! seed differ in the moments at which a file system writes, so a seed gives a like case and not the same one.

use super::super::program::{Station, assert_resumed, init, restore, words};
use super::super::tracer::{self, Death, WRAPPER};
use super::image::{Kind, Mount, missing, one_at_a_time};
use super::recorder::{Event, Loss, Recorder};
use super::script::Play;
use crate::cli::support::skip;
use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::oracle::{Disturbed, Oracle};
use crate::support::random::{Random, spread};
use crate::support::{Scratch, copy_dir};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

/// Judges one cut.
fn judge(play: &Play, cut: usize, random: &mut Random) {
    let ways = random.below(15);
    // After a promise, that nothing survives by luck is the hardest.
    let way = if play.promises.contains(&cut) && ways < 10 { 0 } else { ways % 5 };
    judge_loss(play, cut, way, random);
}

/// Judges one cut with a way to lose what was written since the last flush: 0 and 1 are all of it.
fn judge_loss(play: &Play, cut: usize, way: u64, random: &mut Random) {
    let done = play.done_before(cut);
    let doing = play.steps.get(done);
    let share = random.below(101);
    let mut coins = random.clone();
    let mut keep = || coins.below(100) < share;
    let mut loss = match way {
        0 | 1 => Loss::All,
        2 => Loss::None,
        3 => Loss::Some(&mut keep),
        _ => Loss::Torn(&mut keep),
    };
    let loss_name = ["all", "all", "none", "some writes", "some sectors"][way as usize];
    let case = format!(
        "{}, cut before event {cut}, {done} runs done, in {:?}, of the writes since the last flush lost: {loss_name}",
        play.kind.name(),
        doing.map(|step| step.name)
    );

    let place = Scratch::in_memory();
    let file = play.recording.image_at(cut, &mut loss).to_file(&place.path("image"));
    let mount = Mount::image(play.kind, &file, &place.dir("mount"));
    let mount = mount.unwrap_or_else(|error| panic!("{case}: it does not mount: {error}"));
    let root = mount.path().join("station");
    let there = Station::new(root.clone());
    let before = &play.steps[..done];
    let restored = before.iter().any(|step| step.restores);
    let is_restoring = doing.is_some_and(|step| step.restores);
    let first = play.steps.iter().find(|step| step.snapshot.is_some()).unwrap();
    if is_restoring {
        // It goes on, on the very file system.
        let args = restore(first.snapshot.unwrap(), &play.tree, &root.join("out"));
        there.run("key3", &args).ok(&format!("{case}: restore again"));
    }
    let (expected, out) = (first.tree.as_ref().unwrap(), root.join("out"));
    if is_restoring {
        assert_resumed(expected, &out, &format!("{case}: restore again"));
    } else if restored {
        expected.assert_same(&Tree::read(&out), &format!("{case}: what was restored"));
    }
    let copy = Station::new(place.path("copy"));
    for part in ["repo", "index"].into_iter().filter(|part| root.join(part).is_dir()) {
        copy_dir(&root.join(part), &copy.path(part));
    }
    for key in ["key", "key2", "key3"].into_iter().filter(|key| root.join(key).is_file()) {
        std::fs::copy(root.join(key), copy.path(key)).unwrap();
    }
    drop(mount);

    let Some(last) = before.last() else {
        return copy.init_goes_on(&case);
    };
    // On another disk that lost nothing.
    let has_index = match &last.indexes {
        Some(kept) if play.promises.contains(&cut) => {
            let _ = std::fs::remove_dir_all(copy.indexes());
            copy_dir(kept.indexes(), copy.indexes());
            true
        }
        Some(_) => false,
        None => random.below(4) != 0,
    };
    let after = doing.map_or(&last.keys, |step| &step.keys);
    let opened: Vec<_> =
        ["key", "key2", "key3"].into_iter().filter(|key| copy.open_by(key).is_ok()).collect();
    let kept: Vec<_> = last.keys.iter().filter(|key| after.contains(key)).collect();
    assert!(kept.iter().all(|key| opened.contains(key)), "{case}: opened by {opened:?}, {kept:?} should");
    let key = opened.first().unwrap_or_else(|| panic!("{case}: locked out"));
    if let Some(kept) = last.indexes.as_ref().filter(|kept| has_index && kept.state().is_dir()) {
        // The machine still knows what it saw: a log that ends earlier would be a storage that lies.
        copy_dir(&kept.state(), &copy.state());
        copy.run(key, &words(&["snapshots"])).ok(&format!("{case}: as the machine remembers it"));
    }
    let mut oracle = Oracle::new(copy.key(key).unwrap());
    for step in before {
        if let (Some(id), Some(tree)) = (step.snapshot, &step.tree) {
            oracle.commit(id, &play.tree, tree.clone());
        }
    }
    let disturbed =
        Disturbed { tree: doing.and_then(|step| step.tree.clone()), told: None, ..Disturbed::default() };
    copy.judge(&oracle, &disturbed, &play.tree, has_index, &case);
}

#[test]
fn the_power_can_go_at_every_flush() {
    let budget = Budget::of("R2 crash images", 24, 1200);
    let kinds = [Kind::Ext4, Kind::Xfs, Kind::Btrfs];
    let mut plays: BTreeMap<u64, Play> = BTreeMap::new();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut skipped = BTreeMap::new();
    let mut at_promises = 0;
    for kind in kinds {
        let turn = one_at_a_time();
        let why = missing(kind, &[]).or_else(|| match std::fs::File::open("/dev/fuse") {
            Ok(_) => None,
            Err(error) => Some(format!("/dev/fuse: {error}")),
        });
        drop(turn);
        if let Some(why) = why {
            skip(&format!("crash images of {}: {why}", kind.name()));
            skipped.insert(kind, why);
        }
    }
    budget.each(|number, random| {
        let seed = budget.seed().wrapping_add(number);
        let kind = kinds[(seed % 3) as usize];
        if skipped.contains_key(&kind) {
            return;
        }
        let _turn = one_at_a_time();
        // Index on the device, or on another disk.
        let is_elsewhere = seed / 3 % 2 == 1;
        let play = plays.entry(seed % 6).or_insert_with(|| {
            let play = Play::record(kind, is_elsewhere, 1 + seed % 6);
            play.unwrap_or_else(|error| panic!("{}: {error}", kind.name()))
        });
        let turn = seed / 6;
        let cut = match turn % 3 {
            // Each promise is looked at again and again, since that is what people rely on.
            0 => play.promises[(turn / 3 * 5 + 1) as usize % play.promises.len()],
            _ => play.flushes[spread(turn, play.flushes.len() as u64) as usize],
        };
        at_promises += u64::from(turn % 3 == 0);
        *counts.entry(kind.name()).or_default() += 1;
        judge(play, cut, random);
    });
    let flushes: usize = plays.values().map(|play| play.flushes.len()).sum();
    let images: u64 = counts.values().sum();
    budget.tell(&format!(
        "{images} images {counts:?} of {} recordings with {flushes} flushes, {at_promises} right after a \
         promise; 0 lost, 0 did not mount",
        plays.len()
    ));
}

/// The key file on a disk of its own: nothing that the repository syncs makes it durable by the way.
#[test]
fn a_key_file_survives_by_itself() {
    let mut files = 0;
    for kind in [Kind::Ext4, Kind::Xfs, Kind::Btrfs] {
        let _turn = one_at_a_time();
        let recorder = match missing(kind, &[]).map_or_else(|| Recorder::start(kind), Err) {
            Ok(recorder) => recorder,
            Err(why) => {
                skip(&format!("key files on {}: {why}", kind.name()));
                continue;
            }
        };
        let place = Scratch::in_memory();
        let elsewhere = Station::new(place.path("station"));
        let there = recorder.path().to_owned();
        let at = |name: &str| there.join(name).display().to_string();
        elsewhere.run(&at("key"), &init()).ok("init");
        recorder.done();
        elsewhere.run(&at("key"), &words(&["key", "change", "--new-key-file", &at("key2")])).ok("key change");
        recorder.done();
        let recording = recorder.finish();
        let done = recording.events.iter().rposition(|event| matches!(event, Event::Done)).unwrap();
        let file = recording.image_at(done, &mut Loss::All).to_file(&place.path("image"));
        let mount = Mount::image(kind, &file, &place.dir("mount")).unwrap();
        std::fs::copy(mount.path().join("key2"), elsewhere.path("key2"))
            .unwrap_or_else(|error| panic!("{}: the only key file is lost: {error}", kind.name()));
        elsewhere.open_by("key2").unwrap();
        files += 1;
    }
    println!("key files on disks of their own that survived a power cut: {files}");
}

/// The planted bug that matters most here: without it, a part that finds nothing would prove nothing.
#[test]
fn a_program_that_does_not_sync_directories_is_found_out() {
    let kind = Kind::Ext4;
    let _turn = one_at_a_time();
    let run = |station: &Station, key: &str, args: &[String]| {
        tracer::run(station.command(&WRAPPER, key, args), Death::NeverWithoutFolderSyncs).said
    };
    let why = missing(kind, &[]).or_else(|| (!cfg!(target_arch = "x86_64")).then(|| "no tracer".to_owned()));
    let play = why.map_or_else(|| Play::record_with(kind, true, 1, &run), Err);
    let play = match play {
        Ok(play) => play,
        Err(why) => return skip(&format!("a planted bug: {why}")),
    };
    let found = play.promises.iter().filter(|cut| {
        let judged = || judge_loss(&play, **cut, 0, &mut Random::new(1));
        std::panic::catch_unwind(AssertUnwindSafe(judged)).is_err()
    });
    let found = found.count();
    assert!(found > 2, "only {found} of {} promises were found broken", play.promises.len());
}
