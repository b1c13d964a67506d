//! A prune begins anew because of others, and of nothing else.

use crate::support::hooked::Hooked;
use crate::support::pruned::{assert_nothing_left, forget, prune};
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{Run, World, open};
use dedup_engine::error::Kind;
use dedup_engine::progress::Silent;
use dedup_engine::storage::{Family, Name};
use dedup_engine::tamper::Stage;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What nobody needs goes first, by a generation of its own; then memory fails while the rest is written anew. Once the
/// prune took that generation for somebody else's and began anew, seven times, before it said what was wrong.
#[test]
fn its_own_generation_is_no_reason() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    let random = &mut Random::new(3);
    trees::write(&tree.join("kept"), &random.bytes(60_000), 1);
    trees::write(&tree.join("gone"), &random.bytes(60_000), 2);
    let first = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    std::fs::remove_file(tree.join("gone")).unwrap();
    world.backup(Run { tree: &tree, moment: 10 }).unwrap();
    forget(&world.open().unwrap(), &[first]);

    let sets = Arc::new(AtomicU64::new(0));
    let count = sets.clone();
    let act = move |name: &Name| {
        count.fetch_add(u64::from(name.family() == Family::Condemned), Ordering::SeqCst);
    };
    let hooked = Hooked::new(world.storage.clone(), Box::new(act));
    let mut repo = open(hooked, &world.unlock, &world.index(), &Silent).unwrap();
    repo.tamper_with(Arc::new(|stage, bytes| {
        if stage == Stage::Sealed {
            bytes[100] ^= 1;
        }
    }));
    let error = prune(&repo).unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity, "{error}");
    assert_eq!(repo.log_state().unwrap().generation, 1, "what needed nothing written is done");
    assert_eq!(sets.load(Ordering::SeqCst), 2, "and the rest was tried once");
    drop(repo);
    let repo = world.open().unwrap();
    assert_eq!(prune(&repo).unwrap().restarts, 0);
    assert_nothing_left(&repo, "with sound memory");
    world.assert_sound(&world.open_afresh());
}
