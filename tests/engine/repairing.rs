//! Damaged packs: whatever is sound in them is kept, whatever is lost is named, and nothing else happens.

use crate::support::compare::Tree;
use crate::support::hooked::Hooked;
use crate::support::pruned::{LATER, assert_nothing_left, prune};
use crate::support::random::Random;
use crate::support::repaired::{flip, index, pack_names, packs, packs_with, paths_of, snapshots};
use crate::support::trees;
use crate::support::world::{Run, World, backup, check, open, restore_to_memory};
use dedup_engine::check::ReadData;
use dedup_engine::copy::Copying;
use dedup_engine::error::Kind;
use dedup_engine::id::{ChunkId, ObjectId};
use dedup_engine::pack::PackKind;
use dedup_engine::parity::{self, AddOptions, Doer, Wanted};
use dedup_engine::progress::Silent;
use dedup_engine::repair::{Donor, Loss, Lost, RepairError};
use dedup_engine::repo::Repository;
use dedup_engine::storage::{Family, Name, Storage};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// A tree of many files, twice backed up.
fn scene(seed: u64) -> (World, PathBuf, [ObjectId; 2]) {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    let random = &mut Random::new(seed);
    for number in 0..12 {
        let len = 1_000 + random.below(60_000) as usize;
        trees::write(&tree.join(format!("file-{number:02}")), &random.bytes(len), 1);
    }
    let first = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    trees::write(&tree.join("later"), &random.bytes(90_000), 2);
    let second = world.backup(Run { tree: &tree, moment: 10 }).unwrap().snapshot.unwrap();
    (world, tree, [first, second])
}

fn content(world: &World) -> Vec<(Name, Arc<[u8]>)> {
    world.storage.objects()
}

#[test]
fn on_a_healthy_repository_nothing_is_written() {
    let (world, _, _) = scene(1);
    let before = content(&world);
    let repo = world.open().unwrap();
    let (report, losses) = packs(&repo);
    assert!(report.is_sound() && report.is_healed() && losses.is_empty(), "{report:?}");
    assert_eq!(report.packs_read, report.packs);
    assert!(index(&repo, false).unwrap().is_sound());
    assert!(index(&repo, true).unwrap().is_sound());
    let (report, losses) = snapshots(&repo);
    assert!(report.repaired.is_empty() && losses.is_empty());
    assert_eq!(content(&world), before, "a repair changed what was healthy");
}

/// Every pack in turn, damaged in different places or gone: what is named is exactly what does not restore, the rest is kept.
#[test]
fn what_is_sound_is_kept_and_what_is_lost_is_named() {
    let (whole, tree, all) = scene(2);
    let names: Vec<Name> = [pack_names(&whole, true), pack_names(&whole, false)].concat();
    let data = pack_names(&whole, true).len();
    assert!(data >= 2 && names.len() > data, "{names:?}");
    let expected = restore_to_memory(&whole.open().unwrap(), all[1]).unwrap().0;
    for (number, name) in names.iter().enumerate() {
        for how in [0, 300, 700, 999, 1000, 1001] {
            let world = whole.fork();
            let case = format!("pack {number}, {how}");
            match how {
                1000 => world.storage.delete(name).unwrap(),
                1001 => {
                    let bytes = world.storage.get_all(name, 1 << 30).unwrap();
                    world.storage.overwrite(*name, &bytes[..bytes.len() / 2]);
                }
                at => flip(&world, *name, at),
            }
            let repo = world.open().unwrap();
            let before = content(&world);
            let (dry, told) = packs_with(&repo, |options| options.how.dry_run = true).unwrap();
            assert_eq!(content(&world), before, "{case}: a dry run wrote");
            let (report, losses) = packs(&repo);
            assert_eq!(report.damaged, 1, "{case}: {report:?}");
            assert_eq!(
                (dry.chunks_saved, dry.chunks_lost),
                (report.chunks_saved, report.chunks_lost),
                "{case}"
            );
            // Why may be another reason by now: the pack is gone.
            let lost = |all: &[Loss]| -> Vec<_> {
                all.iter().map(|loss| (loss.snapshot, loss.module.clone(), loss.lost.clone())).collect()
            };
            assert_eq!(lost(&told), lost(&losses), "{case}: the dry run told otherwise");
            assert_eq!((report.removed, report.spared), (1, 0), "{case}");
            assert!(world.storage.len(name).unwrap().is_none(), "{case}: it is still there");
            if matches!(how, 0 | 999) {
                assert_eq!(report.chunks_lost, 0, "{case}: every block is sound: {report:?}");
            }
            drop(repo);
            let fresh = world.open_afresh();
            for id in all {
                let (paths, more) = paths_of(&losses, id);
                let Ok((files, _)) = restore_to_memory(&fresh, id) else {
                    // A restore ends at an entry that cannot be read.
                    assert!(more || !paths.is_empty(), "{case}: nobody said what is lost of {id:?}");
                    continue;
                };
                for (path, bytes) in &expected {
                    let restored = files.get(path);
                    let is_of_it = id == all[1] || path.name() != b"later";
                    assert!(restored.is_none_or(|is| is == bytes), "{case}: {path:?} has another content");
                    if is_of_it && !more {
                        assert_eq!(restored.is_none(), paths.contains(path), "{case}: {path:?}");
                    }
                }
            }
            // Once more there is nothing to do.
            let before = content(&world);
            let (again, _) = packs(&fresh);
            assert_eq!((again.damaged, content(&world)), (0, before), "{case}: again");
            if how == 300 {
                // The next backup stores what is still there anew.
                let id = backup(&fresh, Run { tree: &tree, moment: 30 }).unwrap().snapshot.unwrap();
                world.assert_restores(&fresh, id, Run { tree: &tree, moment: 30 }, &Tree::read(&tree));
            }
        }
    }
}

/// Two runs that did not know of each other stored the same.
#[test]
fn a_whole_copy_in_another_pack_is_enough() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    trees::write(&tree.join("file"), &Random::new(3).bytes(200_000), 1);
    let run = Run { tree: &tree, moment: 0 };
    let second = open(world.storage.clone(), &world.unlock, &world.other_index("b"), &Silent).unwrap();
    world.backup(run).unwrap();
    let none = dedup_engine::backup::Parent::None;
    let events = crate::support::TestEvents::default();
    crate::support::world::backup_with(&second, Run { moment: 10, ..run }, none, &events).unwrap();
    let data = pack_names(&world, true);
    assert_eq!(data.len(), 2);
    for both in [false, true] {
        let world = world.fork();
        flip(&world, data[0], 300);
        if both {
            // Other places: each block is sound in one of them.
            flip(&world, data[1], 800);
        }
        let repo = world.open().unwrap();
        let (report, losses) = packs(&repo);
        assert_eq!((report.chunks_lost, losses.len()), (0, 0), "{report:?}");
        assert_eq!(report.chunks_saved > 0, both, "{report:?}");
        for id in crate::support::world::snapshots(&repo) {
            world.assert_restores(&repo, id, run, &Tree::read(&tree));
        }
        world.assert_sound(&repo);
        prune(&repo).unwrap();
        assert_nothing_left(&repo, "after the repair");
    }
}

/// A client that may write has put rubbish under the name of a chunk, with a seal that is right.
#[test]
fn a_chunk_that_is_not_what_its_name_says_is_lost() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    trees::write(&tree.join("file"), b"what the file really holds", 7);
    let id = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    let repo = world.open().unwrap();
    let (chunk, pack) = only_chunk(&world, &repo);
    repo.store_unverified(&[(chunk, b"what somebody else claims!")]).unwrap();
    world.storage.delete(&Name::pack(pack)).unwrap();
    drop(repo);
    let repo = world.open_afresh();
    let (report, losses) = packs(&repo);
    assert_eq!((report.damaged, report.chunks_lost, report.chunks_saved), (2, 1, 0), "{report:?}");
    let (paths, more) = paths_of(&losses, id);
    assert!(!more && paths.iter().any(|path| path.name() == b"file"), "{losses:?}");
    assert!(packs(&repo).0.is_sound(), "the rubbish is still there");
}

fn only_chunk(world: &World, repo: &Repository) -> (ChunkId, ObjectId) {
    let objects = world.storage.objects().into_iter();
    let segments = objects.filter(|(name, _)| name.family() == Family::Segments);
    let segments = segments.map(|(name, _)| repo.read_segment(name.object_id().unwrap()).unwrap());
    let mut packs = segments.flat_map(|segment| segment.packs).filter(|pack| pack.kind == PackKind::Data);
    let pack = packs.next().unwrap();
    (pack.directory.chunks()[0].id, pack.id)
}

#[test]
fn named_packs_are_read_and_a_storage_that_is_not_there_is_not_given_up() {
    let (world, _, _) = scene(4);
    let data = pack_names(&world, true);
    flip(&world, data[0], 500);
    let repo = world.open().unwrap();
    let none = |report: &dedup_engine::repair::packs::PackReport| (report.damaged, report.packs_read);
    let (unread, _) = packs_with(&repo, |options| options.data = ReadData::Nothing).unwrap();
    assert_eq!(none(&unread), (0, 0));
    let named = |name: &Name| BTreeSet::from([name.object_id().unwrap()]);
    let (other, _) = packs_with(&repo, |options| {
        (options.data, options.named) = (ReadData::Nothing, named(&data[1]));
    })
    .unwrap();
    assert_eq!(none(&other), (0, 1), "it is sound");
    let (this, _) = packs_with(&repo, |options| {
        (options.data, options.named) = (ReadData::Nothing, named(&data[0]));
    })
    .unwrap();
    assert_eq!(none(&this), (1, 1));
    for name in [pack_names(&world, true), pack_names(&world, false)].concat() {
        world.storage.delete(&name).unwrap();
    }
    let before = content(&world);
    let refused = packs_with(&repo, |options| options.most_are_gone = false).unwrap_err();
    assert!(matches!(refused, RepairError::MostAreGone { .. }) && refused.kind() == Kind::Refused);
    assert_eq!(content(&world), before);
}

/// A backup runs whole between the condemned set of a repair and its second look: what it relies on stays for now.
#[test]
fn beside_a_backup_nothing_that_it_relies_on_goes() {
    let (world, tree, _) = scene(5);
    let data = pack_names(&world, true);
    flip(&world, data[0], 500);
    let (inner, unlock) = (world.storage.clone(), world.unlock.clone());
    let (again, index_dir) = (tree.clone(), world.other_index("beside"));
    let hooked = Hooked::once(
        world.storage.clone(),
        |name| name.family() == Family::Condemned,
        move || {
            let repo = open(inner.clone(), &unlock, &index_dir, &Silent).unwrap();
            backup(&repo, Run { tree: &again, moment: 40 }).unwrap();
        },
    );
    let repo = open(hooked, &world.unlock, &world.index(), &Silent).unwrap();
    let (report, _) = packs(&repo);
    assert_eq!(report.removed + report.spared, 1, "{report:?}");
    drop(repo);
    let repo = world.open_afresh();
    packs(&repo);
    assert!(packs(&repo).0.is_sound());
    let newest = *crate::support::world::snapshots(&repo).last().unwrap();
    let run = Run { tree: &tree, moment: 50 };
    let id = backup(&repo, run).unwrap().snapshot.unwrap();
    world.assert_restores(&repo, id, run, &Tree::read(&tree));
    assert_ne!(newest, id);
}

/// A pack is there, with its length, and rotten within: once that was read, it counts.
#[test]
fn what_a_check_found_rotten_is_stored_again_and_repaired_without_reading_all() {
    let (whole, tree, _) = scene(9);
    let name = pack_names(&whole, true)[0];
    for mends in ["backup", "repair"] {
        let world = whole.fork();
        flip(&world, name, 500);
        let repo = world.open().unwrap();
        assert!(!check(&repo).unwrap().is_sound());
        if mends == "backup" {
            let run = Run { tree: &tree, moment: 60 };
            let id = backup(&repo, run).unwrap().snapshot.unwrap();
            drop(repo);
            world.assert_restores(&world.open_afresh(), id, run, &Tree::read(&tree));
            // Nothing is lost now: the new pack has all of it, for the older snapshots too.
            let (report, losses) = packs(&world.open().unwrap());
            assert_eq!((report.removed, report.chunks_lost, losses.len()), (1, 0, 0), "{report:?}");
            world.assert_sound(&world.open_afresh());
        } else {
            let (report, _) = packs_with(&repo, |options| options.data = ReadData::Nothing).unwrap();
            assert_eq!((report.packs_read, report.removed), (1, 1), "{report:?}");
        }
        assert!(world.storage.len(&name).unwrap().is_none());
    }
}

/// Packs that parity gives back whole are not touched; it is asked before anything is given up.
#[test]
fn packs_that_parity_gives_back_are_left_alone() {
    let (world, _, _) = scene(6);
    let doer = Doer { host: "test".into(), time: LATER };
    let options = AddOptions { wanted: Wanted { shards: 1, packs: 64 }, dry_run: false, threads: 2, doer };
    assert!(parity::add(&world.open().unwrap(), &options, &Silent).unwrap().groups > 0);
    let before = content(&world);
    flip(&world, pack_names(&world, true)[0], 500);
    let repo = world.open().unwrap();
    for dry_run in [true, false] {
        assert_ne!(content(&world), before);
        let (report, losses) = packs_with(&repo, |options| options.how.dry_run = dry_run).unwrap();
        assert_eq!((report.damaged, report.given_back, report.chunks_lost), (1, 1, 0));
        assert!(losses.is_empty());
    }
    assert_eq!(content(&world), before);
}

/// Whatever pack is lost, data or listings: a repository that has copies gives back all of it, under the old names.
#[test]
fn what_is_lost_comes_from_another_repository() {
    let (whole, tree, all) = scene(7);
    let other = World::new();
    {
        let (from, to) = (whole.open().unwrap(), other.open().unwrap());
        let mut copying = Copying::begin(&from, &to).unwrap();
        for id in all {
            copying.copy(&id, &super::copying::how(), &Silent).unwrap();
        }
    }
    let expected = restore_to_memory(&whole.open().unwrap(), all[0]).unwrap().0;
    let donor = other.open_afresh();
    for name in [pack_names(&whole, true), pack_names(&whole, false)].concat() {
        let world = whole.fork();
        world.storage.delete(&name).unwrap();
        let repo = world.open().unwrap();
        let (report, losses) =
            packs_with(&repo, |options| options.donor = Some(Donor { from: &donor })).unwrap();
        assert!(report.chunks_fetched > 0, "{report:?}");
        assert_eq!((report.chunks_lost, losses.len()), (0, 0), "{report:?}: {losses:?}");
        drop(repo);
        let repo = world.open_afresh();
        world.assert_sound(&repo);
        assert_eq!(restore_to_memory(&repo, all[0]).unwrap().0, expected);
        world.assert_restores(&repo, all[1], Run { tree: &tree, moment: 0 }, &Tree::read(&tree));
    }
    // One that has none of them gives nothing, and says so.
    let world = whole.fork();
    world.storage.delete(&pack_names(&whole, true)[0]).unwrap();
    let repo = world.open().unwrap();
    let strange = World::new();
    let strange = strange.open().unwrap();
    let (report, losses) =
        packs_with(&repo, |options| options.donor = Some(Donor { from: &strange })).unwrap();
    assert_eq!(report.chunks_fetched, 0);
    assert!(losses.iter().any(|loss| matches!(loss.lost, Lost::Entry(..))));
}

/// Segments that rot, vanish or lie: they are made anew from packs, and the rotten ones go.
#[test]
fn segments_are_made_anew() {
    let (whole, tree, all) = scene(8);
    let names: Vec<Name> = content(&whole).into_iter().map(|(name, _)| name).collect();
    let segments: Vec<Name> = names.into_iter().filter(|name| name.family() == Family::Segments).collect();
    for kind in ["flipped", "gone", "all gone"] {
        for knows in [false, true] {
            let world = whole.fork();
            if knows {
                drop(world.open().unwrap());
            }
            match kind {
                "flipped" => flip(&world, segments[0], 500),
                "gone" => world.storage.delete(&segments[0]).unwrap(),
                _ => segments.iter().for_each(|name| world.storage.delete(name).unwrap()),
            }
            let case = format!("{kind}, known {knows}");
            let repo = world.open().unwrap();
            let report = index(&repo, false).unwrap();
            assert_eq!(report.damaged_total, u64::from(kind == "flipped"), "{case}: {report:?}");
            assert_eq!(report.removed, report.damaged_total, "{case}: {report:?}");
            assert!(report.unnamed > 0 && report.unreadable == 0, "{case}: {report:?}");
            let before = content(&world);
            assert!(index(&repo, true).unwrap().is_sound(), "{case}");
            assert_eq!(content(&world), before, "{case}: again");
            drop(repo);
            let fresh = world.open_afresh();
            let checked = check(&fresh).unwrap();
            assert!(checked.findings.is_empty(), "{case}: {:?}", checked.findings);
            world.assert_restores(&fresh, all[1], Run { tree: &tree, moment: 0 }, &Tree::read(&tree));
            prune(&fresh).unwrap();
            assert_nothing_left(&fresh, &case);
        }
    }
}
