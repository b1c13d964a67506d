//! Which groups there are, as the storage tells, and what each of them stands.

use super::cover::Cover;
use super::object::{self, GroupKey, Piece};
use crate::error::Kind;
use crate::id::ObjectId;
use crate::progress::Events;
use crate::repo::sessions::read_generation;
use crate::repo::{RepoError, Repository};
use crate::storage::{Family, Name};
use std::collections::{BTreeMap, BTreeSet};

/// Parity objects by the group they are of.
#[derive(Default)]
pub(crate) struct Groups {
    pub all: BTreeMap<GroupKey, Vec<Piece>>,
    /// Objects that cannot be opened: whether they are damaged, and not just newer than this build; and why.
    pub faults: Vec<(ObjectId, bool, String)>,
    /// Objects that a generation removed and that are still there.
    pub left_over: Vec<ObjectId>,
    /// Bytes of all parity objects that count.
    pub stored_bytes: u64,
}

/// Packs that are there: names with stored lengths.
pub(crate) type Stored = BTreeMap<ObjectId, u64>;

/// What a group stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Shards that are there everywhere.
    pub shards: usize,
    /// Packs that are there, with their length.
    pub there: usize,
    /// Packs that are not, or have another length, though nobody removed them.
    pub lost: usize,
    /// Packs that were removed on purpose: nobody knows them any more.
    pub removed: usize,
}

impl Standing {
    /// Returns how many more packs may be lost.
    pub fn spare(&self) -> usize {
        self.shards.saturating_sub(self.lost + self.removed)
    }

    /// Returns whether all that is lost can be rebuilt, as far as is known without reading it.
    pub fn is_curable(&self) -> bool {
        self.lost > 0 && self.lost + self.removed <= self.shards
    }
}

impl Groups {
    /// Opens the head of every parity object that no generation has removed.
    pub fn look(repo: &Repository, events: &dyn Events) -> Result<Self, RepoError> {
        let mut listed = BTreeMap::new();
        let mut each = |name: Name, len: u64| {
            listed.extend(name.object_id().map(|id| (id, len)));
            Ok(())
        };
        repo.storage().list(Family::Parity, &mut each, &mut |_| {})?;
        let mut groups = Self::default();
        if listed.is_empty() {
            return Ok(groups);
        }
        // Generations after the listing: one that is removed in between is seen as removed.
        let removed = removed(repo, &listed)?;
        for (id, len) in listed {
            if events.cancelled() {
                return Err(RepoError::Cancelled);
            }
            if removed.contains(&id) {
                groups.left_over.push(id);
                continue;
            }
            match object::open(&repo.objects, id, len) {
                Ok((key, piece)) => {
                    groups.stored_bytes += piece.stored_len();
                    groups.all.entry(key).or_default().push(piece);
                }
                // Removed since the listing.
                Err(RepoError::Storage(error)) if error.is_missing() => {}
                Err(error) if matches!(error.kind(), Kind::Integrity | Kind::TooNew | Kind::Refused) => {
                    groups.faults.push((id, error.kind() == Kind::Integrity, error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(groups)
    }

    /// Returns how many parity objects count.
    pub fn objects(&self) -> u64 {
        self.all.values().map(|pieces| pieces.len() as u64).sum()
    }

    /// Returns of each protected pack how many packs may be lost, this one among them, in the best of its groups.
    pub fn spares(
        &self,
        stored: &Stored,
        is_removed: &dyn Fn(&ObjectId) -> Result<bool, RepoError>,
    ) -> Result<BTreeMap<ObjectId, usize>, RepoError> {
        let mut spares = BTreeMap::new();
        for (key, pieces) in &self.all {
            let spare = standing(key, pieces, stored, is_removed)?.spare();
            for (id, len) in &key.packs {
                if spare > 0 && stored.get(id) == Some(len) && !is_removed(id)? {
                    let best = spares.entry(*id).or_insert(0);
                    *best = spare.max(*best);
                }
            }
        }
        Ok(spares)
    }
}

/// Counts what a group stands, by names and lengths.
pub(crate) fn standing(
    key: &GroupKey,
    pieces: &[Piece],
    stored: &Stored,
    is_removed: &dyn Fn(&ObjectId) -> Result<bool, RepoError>,
) -> Result<Standing, RepoError> {
    let shards = Cover::new(pieces, key.shards, key.shard_len(), &|_| true).least();
    let mut standing = Standing { shards, ..Standing::default() };
    for (id, len) in &key.packs {
        if is_removed(id)? {
            standing.removed += 1;
        } else if stored.get(id) == Some(len) {
            standing.there += 1;
        } else {
            standing.lost += 1;
        }
    }
    Ok(standing)
}

/// Lists the packs that are stored.
pub(crate) fn stored_packs(repo: &Repository) -> Result<Stored, RepoError> {
    let mut stored = Stored::new();
    let mut each = |name: Name, len: u64| {
        stored.extend(name.object_id().map(|id| (id, len)));
        Ok(())
    };
    repo.storage().list(Family::Packs, &mut each, &mut |_| {})?;
    Ok(stored)
}

/// Returns those of the objects that generations have removed.
fn removed(repo: &Repository, listed: &BTreeMap<ObjectId, u64>) -> Result<BTreeSet<ObjectId>, RepoError> {
    let (mut removed, mut number) = (BTreeSet::new(), 1);
    while let Some((generation, _)) = read_generation(&repo.objects, number)? {
        removed.extend(generation.parity.into_iter().filter(|id| listed.contains_key(id)));
        number += 1;
    }
    Ok(removed)
}
