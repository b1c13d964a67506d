//! How much there is, before and after deduplication and compression.

use crate::id::ObjectId;
use crate::progress::Events;
use crate::repo::{RepoError, Repository};
use crate::snapshot::Snapshot;
use crate::storage::{Family, Name};
use std::collections::HashSet;

/// Figures of a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Alive snapshots.
    pub snapshots: u64,
    /// Sum of the file sizes over these snapshots.
    pub source_bytes: u64,
    /// Plain bytes of all stored chunks.
    pub unique_bytes: u64,
    /// Bytes of all packs.
    pub stored_bytes: u64,
    /// Bytes of all objects.
    pub repository_bytes: u64,
    /// Packs.
    pub packs: u64,
    /// Chunks; one in two packs counts twice.
    pub chunks: u64,
    /// Segments.
    pub segments: u64,
}

/// Gathers the figures.
pub fn run(
    repo: &Repository,
    snapshots: &[(ObjectId, Snapshot)],
    events: &dyn Events,
) -> Result<Stats, RepoError> {
    let mut stats = Stats { snapshots: snapshots.len() as u64, ..Stats::default() };
    for (_, snapshot) in snapshots {
        stats.source_bytes = stats.source_bytes.saturating_add(snapshot.totals.bytes);
    }
    for family in Family::ALL {
        let mut each = |_: Name, len: u64| {
            stats.repository_bytes += len;
            stats.packs += u64::from(family == Family::Packs);
            stats.stored_bytes += if family == Family::Packs { len } else { 0 };
            stats.segments += u64::from(family == Family::Segments);
            Ok(())
        };
        repo.storage().list(family, &mut each, &mut |_| {})?;
        if events.cancelled() {
            return Err(RepoError::Cancelled);
        }
    }
    let mut seen = HashSet::new();
    repo.each_segment(&mut |_, segment| {
        for pack in segment.packs.iter().filter(|pack| seen.insert(pack.id)) {
            stats.chunks += pack.directory.chunks().len() as u64;
            stats.unique_bytes +=
                pack.directory.blocks().iter().map(|block| u64::from(block.plain_len)).sum::<u64>();
        }
        if events.cancelled() { Err(RepoError::Cancelled) } else { Ok(()) }
    })?;
    Ok(stats)
}
