//! Snapshots that lost something: what is left of them is a snapshot again, which says what it lacks.

use crate::support::compare::Tree;
use crate::support::parts::{Trees, run, snapshot};
use crate::support::pruned::{assert_nothing_left, forget, prune};
use crate::support::random::Random;
use crate::support::repaired::{pack_names, packs, snapshots, try_snapshots};
use crate::support::trees;
use crate::support::world::{Run, World, backup, check, restore_to_memory, snapshots as ids};
use dedup_engine::browse;
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::repair::{Lost, RepairError};
use dedup_engine::snapshot::{Item, Outcome, State};
use dedup_engine::storage::Storage;
use std::path::PathBuf;

/// A tree whose listing has many nodes, in several packs.
fn scene() -> (World, PathBuf, ObjectId) {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    let random = &mut Random::new(11);
    for directory in ["a", "b", "c"] {
        std::fs::create_dir(tree.join(directory)).unwrap();
        for number in 0..60 {
            let len = 200 + random.below(3_000) as usize;
            trees::write(&tree.join(directory).join(format!("file {number:03}")), &random.bytes(len), 1);
        }
    }
    std::fs::hard_link(tree.join("a/file 000"), tree.join("c/linked")).unwrap();
    let id = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    (world, tree, id)
}

#[test]
fn files_that_are_lost_are_left_out_and_told() {
    let (world, tree, id) = scene();
    let whole = restore_to_memory(&world.open().unwrap(), id).unwrap().0;
    // A part of the data is of a later run, and goes.
    trees::write(&tree.join("b/new"), &Random::new(12).bytes(50_000), 3);
    let before = pack_names(&world, true);
    let second = world.backup(Run { tree: &tree, moment: 5 }).unwrap().snapshot.unwrap();
    let later: Vec<_> = pack_names(&world, true).into_iter().filter(|name| !before.contains(name)).collect();
    later.iter().for_each(|name| world.storage.delete(name).unwrap());
    let repo = world.open().unwrap();
    let refused = try_snapshots(&repo, false).unwrap_err();
    assert!(matches!(refused, RepairError::PacksFirst { .. }) && refused.kind() == Kind::Refused);
    packs(&repo);
    let (dry, told) = try_snapshots(&repo, true).unwrap();
    assert_eq!((dry.repaired.len(), dry.repaired[0].made), (1, None));
    assert_eq!(ids(&repo), [id, second]);
    let (report, losses) = snapshots(&repo);
    assert_eq!(told, losses);
    assert_eq!(losses.len(), 1, "{losses:?}");
    let made = report.repaired[0].made.unwrap();
    assert_eq!((report.repaired[0].id, ids(&repo).len()), (second, 3));
    let (old, new) = (snapshot(&repo, Some(second)), snapshot(&repo, Some(made)));
    assert_eq!((old.time, &old.host, &old.tags), (new.time, &new.host, &new.tags));
    assert_eq!(new.provenance.rewritten_from.unwrap().snapshot, second);
    assert_eq!(new.accounts[0].state, State::Partial);
    assert!(new.accounts[0].reason.contains("lost"), "{}", new.accounts[0].reason);
    assert_eq!(new.totals.entries, old.totals.entries - 1);
    assert_eq!(new.totals.problems, old.totals.problems + 1);
    assert_eq!(restore_to_memory(&repo, made).unwrap().0, whole);
    assert!(repo.suspects(&[(second, old)]).unwrap().contains_key(&second), "the old one looks whole");
    // Once more: nothing new.
    let (again, _) = snapshots(&repo);
    assert_eq!((again.repaired[0].made, again.repaired[0].was_there), (Some(made), true));
    forget(&repo, &[second]);
    prune(&repo).unwrap();
    assert_nothing_left(&repo, "repaired");
    drop(repo);
    let fresh = world.open_afresh();
    let report = check(&fresh).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    // The next backup goes on, and is whole.
    let next = Run { tree: &tree, moment: 20 };
    let id = backup(&fresh, next).unwrap().snapshot.unwrap();
    world.assert_restores(&fresh, id, next, &Tree::read(&tree));
}

/// Each pack of listings is lost in turn: what names entries is gone, entries that can still be reached are kept.
#[test]
fn what_can_still_be_reached_of_a_listing_is_kept() {
    let (world, tree, _) = scene();
    // Many small changes: nodes of the newest listing lie in many packs.
    for round in 0..6 {
        let name = ["a", "b", "c"][round % 3];
        let path = tree.join(name).join(format!("file {:03}", round * 9));
        trees::write(&path, &Random::new(round as u64).bytes(700), 10 + round as i64);
        world.backup(Run { tree: &tree, moment: 100 + round as i64 * 10 }).unwrap();
    }
    let newest = *ids(&world.open().unwrap()).last().unwrap();
    let whole = restore_to_memory(&world.open().unwrap(), newest).unwrap().0;
    let (mut partly, mut nothing) = (0, 0);
    for name in pack_names(&world, false) {
        let world = world.fork();
        world.storage.delete(&name).unwrap();
        let repo = world.open().unwrap();
        packs(&repo);
        let (report, losses) = snapshots(&repo);
        let Some(repaired) = report.repaired.iter().find(|repaired| repaired.id == newest) else {
            assert_eq!(restore_to_memory(&repo, newest).unwrap().0, whole, "{name}: it is whole");
            continue;
        };
        let Some(made) = repaired.made else {
            nothing += 1;
            continue;
        };
        let ranges: u64 = losses
            .iter()
            .filter(|loss| loss.snapshot == newest)
            .map(|loss| match &loss.lost {
                Lost::Range { entries, .. } => *entries,
                _ => 0,
            })
            .sum();
        let (files, restored) = restore_to_memory(&repo, made).unwrap();
        assert_eq!(restored.damaged, 0, "{name}: {restored:?}");
        assert!(ranges > 0 && !files.is_empty(), "{name}: {losses:?}");
        for (path, bytes) in &files {
            assert!(
                whole.get(path) == Some(bytes),
                "{name}: {path:?} is {:?}",
                whole.get(path).map(Vec::len)
            );
        }
        let lost = whole.len() - files.len();
        assert!(lost as u64 <= ranges + 64, "{name}: {lost} files are gone, {ranges} entries are told");
        partly += 1;
        let checked = check(&repo).unwrap();
        let of_made = |hit: &String| hit.contains(&made.short());
        let hit = checked.findings.iter().find(|finding| finding.hits.iter().any(of_made));
        assert_eq!(hit, None, "{name}");
    }
    assert!(partly > 0, "nothing was partly lost; {nothing} times everything was");
}

/// Half a dump must not look like one.
#[test]
fn a_dump_that_lost_something_is_no_dump_any_more() {
    let trees = Trees::new(4);
    let world = &trees.world;
    let repo = world.open().unwrap();
    let before = run(&repo, 0, |parts| {
        let mut web = dedup_engine::snapshot::Account::new("web");
        let tree = trees.tree("web");
        crate::support::parts::store(parts, "web", dedup_engine::snapshot::Section::Data, &tree)?
            .enter(&mut web);
        let mut mail = dedup_engine::snapshot::Account::new("mail");
        let tree = trees.tree("mail");
        crate::support::parts::store(parts, "mail", dedup_engine::snapshot::Section::Data, &tree)?
            .enter(&mut mail);
        Ok(vec![web, mail])
    });
    before.unwrap();
    let known = pack_names(world, true);
    let id = run(&repo, 10, |parts| {
        let mut accounts = trees.body(parts)?;
        accounts[1].items =
            vec![Item { name: "source:db".into(), outcome: Outcome::Stored, message: String::new() }];
        Ok(accounts)
    });
    let id = id.unwrap().snapshot.unwrap();
    drop(repo);
    // The second run stored nothing but the dump.
    let dump: Vec<_> = pack_names(world, true).into_iter().filter(|name| !known.contains(name)).collect();
    world.storage.delete(&dump[0]).unwrap();
    let repo = world.open().unwrap();
    packs(&repo);
    let (report, losses) = snapshots(&repo);
    assert!(
        losses.iter().any(|loss| loss.module == "mail" && loss.lost == Lost::Dump("db".into())),
        "{losses:?}"
    );
    let repaired = report.repaired.iter().find(|repaired| repaired.id == id).unwrap();
    let (old, new) = (snapshot(&repo, Some(id)), snapshot(&repo, repaired.made));
    let mail = new.account("mail").unwrap();
    assert!(mail.dumps.is_empty());
    assert_eq!((mail.state, mail.items[0].outcome), (State::Partial, Outcome::Failed));
    assert_eq!(mail.listings, old.account("mail").unwrap().listings, "files are as they were");
    assert_eq!(new.account("web").unwrap().state, State::Complete);
    assert_eq!(
        browse::blob(&repo, dedup_engine::map::Class::Open, &mail.manifest, 1000).unwrap(),
        b"id = \"mail\""
    );
    let made = repaired.made.unwrap();
    let checked = check(&repo).unwrap();
    let of_made = |hit: &String| hit.contains(&made.short());
    assert!(
        !checked.findings.iter().any(|finding| finding.hits.iter().any(of_made)),
        "{:?}",
        checked.findings
    );
}
