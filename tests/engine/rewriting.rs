//! Snapshots made anew without some paths.

use super::copying::how;
use crate::support::compare::Tree;
use crate::support::parts::{Trees, run, snapshot};
use crate::support::pruned::{LATER, assert_nothing_left, forget, pack_bytes, prune};
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{Run, World, check, snapshots};
use dedup_engine::copy::{RewriteReport, RewriteRequest, rewrite};
use dedup_engine::forget::{Rules, candidates, plan};
use dedup_engine::id::ObjectId;
use dedup_engine::listing::StoredPath;
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Account, Outcome, Section};

fn without(repo: &Repository, id: ObjectId, name: &str) -> RewriteReport {
    let goes = |path: &StoredPath, _: bool| path.name() == name.as_bytes();
    rewrite(repo, &RewriteRequest { snapshot: id, goes: &goes, how: how() }, &Silent).unwrap()
}

#[test]
fn what_goes_is_gone_and_the_rest_is_as_it_was() {
    let world = World::new();
    let live = world.scratch.dir("live");
    ["keep", "gone"].iter().for_each(|name| std::fs::create_dir(live.join(name)).unwrap());
    trees::build_all_kinds(&live.join("keep"), 7);
    trees::write(&live.join("gone/large"), &Random::new(5).bytes(3_000_000), 1);
    trees::write(&live.join("gone/a"), b"linked", 1);
    // The first name of a group goes: the group is named for the next one.
    std::fs::hard_link(live.join("gone/a"), live.join("keep/b")).unwrap();
    std::fs::hard_link(live.join("gone/a"), live.join("keep/c")).unwrap();
    trees::set_mtime(&live, 1_000_000_000, 5);
    let at = Run { tree: &live, moment: 0 };
    let old = world.backup(at).unwrap().snapshot.unwrap();
    let before = Tree::read(&live);
    let repo = world.open().unwrap();
    let nothing = without(&repo, old, "not there");
    assert_eq!((nothing.snapshot, nothing.removed.paths_total), (None, 0));
    assert_eq!(snapshots(&repo), [old]);

    let report = without(&repo, old, "gone");
    let new = report.snapshot.unwrap();
    assert_eq!((report.removed.paths_total, report.removed.totals.entries), (1, 3));
    assert_eq!(snapshots(&repo), [old, new], "the old one stays, and the new one is the newer");
    let (was, is) = (snapshot(&repo, Some(old)), snapshot(&repo, Some(new)));
    assert_eq!((was.time, &was.host), (is.time, &is.host));
    assert_eq!(is.totals.entries, was.totals.entries - 3);
    assert_eq!(is.totals.bytes, was.totals.bytes - 3_000_000 - 6);
    assert_eq!(is.provenance.rewritten_from.unwrap().snapshot, old);
    let again = without(&repo, old, "gone");
    assert_eq!((again.snapshot, again.was_there), (Some(new), true));
    assert_eq!(without(&repo, new, "gone").snapshot, None);

    world.assert_restores(&repo, old, at, &before);
    let aside = world.scratch.path("aside");
    let shift = |from: &std::path::Path, to: &std::path::Path| {
        std::fs::rename(from, to).unwrap();
        // The directory's own times are those of the snapshot.
        trees::set_mtime(&live, 1_000_000_000, 5);
    };
    shift(&live.join("gone"), &aside);
    let after = Tree::read(&live);
    shift(&aside, &live.join("gone"));
    world.assert_restores(&repo, new, at, &after);

    // Prune takes what is gone, and nothing else.
    forget(&repo, &[old]);
    let stored = pack_bytes(&world);
    prune(&repo).unwrap();
    assert_nothing_left(&repo, "pruned");
    assert!(pack_bytes(&world) < stored - 2_900_000);
    drop(repo);
    let fresh = world.open_afresh();
    assert_eq!(snapshots(&fresh), [new]);
    world.assert_restores(&fresh, new, at, &after);
    world.assert_sound(&fresh);
    // A backup goes on from it.
    drop(fresh);
    let next = Run { tree: &live, moment: 10 };
    let report = world.backup(next).unwrap();
    assert_eq!(report.totals.files_new, 2, "{:?}", report.totals);
    world.assert_restores(&world.open().unwrap(), report.snapshot.unwrap(), next, &before);
}

/// Accounts of modules: dumps stay, a declared path that goes is told, a module without it is as it was.
#[test]
fn accounts_say_what_was_taken_out() {
    let trees = Trees::new(4);
    let repo = trees.world.open().unwrap();
    let own = trees.tree("mail").join("common");
    let item = format!("config:{}", own.display());
    let id = run(&repo, 0, |parts| {
        let mut accounts = trees.body(parts)?;
        let item = |name: &str| dedup_engine::snapshot::Item {
            name: name.to_owned(),
            outcome: Outcome::Stored,
            message: String::new(),
        };
        accounts[1].items = vec![item(&item_name(&own)), item("source:db"), item("settings")];
        Ok(accounts)
    });
    let id = id.unwrap().snapshot.unwrap();
    let report = without(&repo, id, "common");
    assert_eq!(report.removed.paths_total, 3);
    let (was, is) = (snapshot(&repo, Some(id)), snapshot(&repo, report.snapshot));
    for (was, is) in was.accounts.iter().zip(&is.accounts) {
        assert_eq!((&was.dumps, was.manifest, was.state), (&is.dumps, is.manifest, is.state));
    }
    let mail = is.account("mail").unwrap();
    let outcomes: Vec<_> = mail.items.iter().map(|item| (&item.name[..], item.outcome)).collect();
    assert_eq!(
        outcomes,
        [(&item[..], Outcome::Excluded), ("source:db", Outcome::Stored), ("settings", Outcome::Stored)]
    );
    let entries = |account: &Account| account.listing(Section::Config).unwrap().root.entries;
    assert_eq!(entries(mail), entries(was.account("mail").unwrap()) - 1);
    assert!(check(&repo).unwrap().findings.is_empty());
}

fn item_name(path: &std::path::Path) -> String {
    format!("config:{}", path.display())
}

/// Once an old snapshot from which something was taken out counted as the newest there is: its run had seen a generation
/// that the others had not. `--keep-last 1` then kept it, and dropped last night's.
#[test]
fn an_old_one_made_anew_is_no_newer_than_it_was() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    let mut all = Vec::new();
    for moment in [0, 200_000, 400_000, 600_000] {
        trees::write(&tree.join("file"), format!("{moment}").as_bytes(), moment);
        trees::write(&tree.join("secret"), b"should never have been there", 1);
        all.push(world.backup(Run { tree: &tree, moment }).unwrap().snapshot.unwrap());
    }
    let repo = world.open().unwrap();
    forget(&repo, &all[..1]);
    prune(&repo).unwrap();
    let new = without(&repo, all[1], "secret").snapshot.unwrap();
    assert_eq!(snapshots(&repo), [all[1], new, all[2], all[3]]);
    let last = Rules { counts: [1, 0, 0, 0, 0, 0], ..Rules::default() };
    let plan = plan(&candidates(&repo).unwrap(), &last, LATER);
    assert_eq!((plan.decisions[0].id, plan.forgotten()), (all[3], [all[1], new, all[2]].into()));
    assert_eq!(plan.oddities, []);
}
