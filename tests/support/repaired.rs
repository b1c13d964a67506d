//! Repairs as tests want them, and damage to repair.

use super::pruned::LATER;
use super::world::World;
use dedup_engine::check::ReadData;
use dedup_engine::compress::Level;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::StoredPath;
use dedup_engine::progress::Silent;
use dedup_engine::repair::packs::{self, PackOptions, PackReport};
use dedup_engine::repair::segments::{self, SegmentReport};
use dedup_engine::repair::snapshots::{self, SnapshotOptions, SnapshotReport};
use dedup_engine::repair::{How, Loss, Lost, RepairError};
use dedup_engine::repo::Repository;
use dedup_engine::storage::{Family, Name, Storage};
use std::collections::BTreeSet;
use std::time::Duration;

/// How repairs are made.
pub fn how(dry_run: bool) -> How<'static> {
    How {
        host: "repairer",
        now: LATER,
        level: Level::Zstd(1),
        threads: 2,
        elapsed: &|| Duration::ZERO,
        dry_run,
        fence_all: false,
    }
}

/// Reads all packs, and repairs those that are damaged, as `change` wants it; returns what is lost as well.
pub fn packs_with<'a>(
    repo: &'a Repository,
    change: impl FnOnce(&mut PackOptions<'a>),
) -> Result<(PackReport, Vec<Loss>), RepairError> {
    let mut options = PackOptions {
        how: how(false),
        named: BTreeSet::new(),
        data: ReadData::All,
        today: None,
        seed: 0,
        most_are_gone: true,
        donor: None,
    };
    change(&mut options);
    let mut losses = Vec::new();
    let report = packs::run(repo, &options, &Silent, &mut |loss| {
        losses.push(loss);
        Ok(())
    })?;
    Ok((report, losses))
}

/// Reads all packs, and repairs those that are damaged.
pub fn packs(repo: &Repository) -> (PackReport, Vec<Loss>) {
    packs_with(repo, |_| {}).unwrap()
}

/// Makes all snapshots anew that lost something.
pub fn snapshots(repo: &Repository) -> (SnapshotReport, Vec<Loss>) {
    try_snapshots(repo, false).unwrap()
}

/// The same, where it may fail.
pub fn try_snapshots(repo: &Repository, dry_run: bool) -> Result<(SnapshotReport, Vec<Loss>), RepairError> {
    let mut losses = Vec::new();
    let options = SnapshotOptions { how: how(dry_run), wanted: None };
    let report = snapshots::run(repo, &options, &Silent, &mut |loss| {
        losses.push(loss);
        Ok(())
    })?;
    Ok((report, losses))
}

/// Puts segments right.
pub fn index(repo: &Repository, from_packs: bool) -> Result<SegmentReport, RepairError> {
    segments::run(repo, &how(false), from_packs, &Silent)
}

/// Returns the paths of a snapshot that were named as lost, and whether more than paths were.
pub fn paths_of(losses: &[Loss], snapshot: ObjectId) -> (BTreeSet<StoredPath>, bool) {
    let (mut paths, mut more) = (BTreeSet::new(), false);
    for loss in losses.iter().filter(|loss| loss.snapshot == snapshot) {
        match &loss.lost {
            Lost::Entry(_, path) => drop(paths.insert(path.clone())),
            _ => more = true,
        }
    }
    (paths, more)
}

/// Returns the packs that are stored, those of file contents only if `data`.
pub fn pack_names(world: &World, data: bool) -> Vec<Name> {
    let objects = world.storage.objects().into_iter();
    let packs = objects.filter(|(name, bytes)| name.family() == Family::Packs && (bytes[7] == 3) == data);
    packs.map(|(name, _)| name).collect()
}

/// Flips a bit of an object, so far into it as the share of 1,000 says.
pub fn flip(world: &World, name: Name, thousandth: usize) {
    let mut bytes = world.storage.get_all(&name, 1 << 30).unwrap();
    let at = (bytes.len() - 1) * thousandth / 1000;
    bytes[at] ^= 0x10;
    world.storage.overwrite(name, &bytes);
}
