//! Prunes as tests want them, and what must be true afterwards.

use super::world::World;
use dedup_engine::compress::Level;
use dedup_engine::forget;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::Time;
use dedup_engine::progress::Silent;
use dedup_engine::prune::plan::{Limits, Unused};
use dedup_engine::prune::{self, PruneError, PruneOptions, PruneReport};
use dedup_engine::repo::Repository;
use dedup_engine::storage::{Family, Storage};
use std::time::{Duration, Instant};

/// When tests forget and prune.
pub const LATER: Time = Time { secs: 4_100_000_000, nanos: 0 };

/// Everything that nobody needs goes.
pub const ALL: Limits = Limits { max_unused: Unused::Bytes(0), max_repack_bytes: None };

/// Prunes as `change` wants it; without a change everything that nobody needs goes.
pub fn prune_with(
    repo: &Repository,
    change: impl FnOnce(&mut PruneOptions<'_>),
) -> Result<PruneReport, PruneError> {
    let begun = Instant::now();
    let elapsed = move || -> Duration { begun.elapsed() };
    let mut options = PruneOptions {
        limits: ALL,
        dry_run: false,
        fence_all: false,
        allow_empty: false,
        host: "test".into(),
        time: LATER,
        level: Level::Zstd(1),
        threads: 2,
        elapsed: &elapsed,
    };
    change(&mut options);
    prune::run(repo, &options, &Silent)
}

/// Prunes all that nobody needs.
pub fn prune(repo: &Repository) -> Result<PruneReport, PruneError> {
    prune_with(repo, |_| {})
}

/// Forgets snapshots.
pub fn forget(repo: &Repository, snapshots: &[ObjectId]) {
    forget::forget(repo, &snapshots.iter().copied().collect(), LATER).unwrap();
}

/// Refuses anything that a prune of all that nobody needs would still find.
#[track_caller]
pub fn assert_nothing_left(repo: &Repository, case: &str) {
    let report = prune_with(repo, |options| options.dry_run = true).unwrap();
    let left =
        (&report.plan.remove[..], &report.plan.repack[..], &report.snapshots[..], report.chunks_missing);
    assert_eq!(left, (&[][..], &[][..], &[][..], 0), "{case}");
}

/// Returns the bytes of all packs.
pub fn pack_bytes(world: &World) -> u64 {
    let objects = world.storage.objects().into_iter();
    objects.filter(|(name, _)| name.family() == Family::Packs).map(|(_, bytes)| bytes.len() as u64).sum()
}

/// Returns how many objects of a family there are.
pub fn count(storage: &dyn Storage, family: Family) -> usize {
    let mut count = 0;
    let mut each = |_, _| {
        count += 1;
        Ok(())
    };
    storage.list(family, &mut each, &mut |_| {}).unwrap();
    count
}
