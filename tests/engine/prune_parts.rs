//! Prune beside modules, dumps and secrets: all that the snapshots that stay consist of.

use crate::support::parts::{Trees, restored, run, snapshot, store, stream};
use crate::support::pruned::{assert_nothing_left, forget, pack_bytes, prune};
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{NO_KDF, open, snapshots};
use dedup_engine::backup::{BackupError, Parts};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::progress::Silent;
use dedup_engine::prune::PruneError;
use dedup_engine::snapshot::{Account, Section};

/// Two sections, two dumps, one of them secret with a schema, and a manifest that is long enough to have pieces.
fn body(scene: &Trees, parts: &mut Parts<'_>, seed: u64) -> Result<Vec<Account>, BackupError> {
    let mut accounts = scene.body(parts)?;
    let mut shop = Account::new("shop");
    store(parts, "shop", Section::Secrets, &scene.tree("mail"))?.enter(&mut shop);
    let noise = Random::new(seed).bytes(700_000);
    let mut dump = stream(parts, "shop", Section::Secrets, &mut &noise[..]).unwrap();
    dump.dump.schema = parts.blob("shop", Section::Secrets, &noise[..600_000])?;
    dump.enter(&mut shop);
    shop.manifest = parts.blob("shop", Section::Config, &noise[100_000..600_000])?;
    accounts.push(shop);
    Ok(accounts)
}

#[test]
fn everything_that_a_snapshot_consists_of_stays() {
    let mut scene = Trees::new(7);
    let repo = scene.world.open().unwrap();
    let mut last = None;
    for moment in 0..3 {
        scene.noise = Random::new(100 + moment as u64).bytes(900_000);
        trees::write(&scene.tree("mail").join("changing"), &scene.noise[..200_000], moment);
        let report = run(&repo, 10 * moment, |parts| body(&scene, parts, 50 + moment as u64)).unwrap();
        last = report.snapshot;
    }
    let before = pack_bytes(&scene.world);
    let ids = snapshots(&repo);
    forget(&repo, &ids[..2]);
    let poor = Unlock::new_key_file().unwrap().0;
    repo.add_slot(&poor, &NO_KDF, "poor", false, 5).unwrap();
    let blind = open(scene.world.storage.clone(), &poor, &scene.world.other_index("poor"), &Silent).unwrap();
    let refused: Result<_, PruneError> = prune(&blind);
    assert_eq!(refused.as_ref().map_err(PruneError::kind), Err(Kind::Refused), "{refused:?}");

    let report = prune(&repo).unwrap();
    assert!(report.bytes_written > 0 && report.chunks_missing == 0, "{report:?}");
    assert!(pack_bytes(&scene.world) < before / 2, "{} of {before}", pack_bytes(&scene.world));
    for repo in [scene.world.open().unwrap(), scene.world.open_afresh()] {
        scene.world.assert_sound(&repo);
        assert_nothing_left(&repo, "after the prune");
        let snapshot = snapshot(&repo, last);
        let mail = snapshot.account("mail").unwrap();
        let dump = restored(&repo, &mail.dump("db").unwrap().root);
        assert_eq!(dump.into_values().next().unwrap(), scene.noise);
        let files = restored(&repo, &mail.listing(Section::Config).unwrap().root);
        assert!(files.values().any(|content| *content == scene.noise[..200_000]));
        let shop = snapshot.account("shop").unwrap();
        let secret = restored(&repo, &shop.dump("db").unwrap().root);
        assert_eq!(secret.into_values().next().unwrap(), Random::new(52).bytes(700_000));
        let secrets = restored(&repo, &shop.listing(Section::Secrets).unwrap().root);
        assert!(secrets.values().any(|content| *content == scene.noise[..200_000]));
    }
}
