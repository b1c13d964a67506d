//! What parity there is, and what it stands; by names and lengths, without reading packs or shards.

use super::groups::{self, Groups};
use crate::id::ObjectId;
use crate::progress::Events;
use crate::repo::{RepoError, Repository};

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// First pack of the group, by which it is named for people.
    pub first: ObjectId,
    /// Packs that it was made for.
    pub packs: u64,
    /// Of these, packs that were removed since.
    pub removed: u64,
    /// Of these, packs that are missing or have another length.
    pub lost: u64,
    /// Shards that there were to be.
    pub shards: u8,
    /// Shards that are there.
    pub shards_there: u64,
    /// How many more packs or shards may be lost.
    pub spare: u64,
    /// Bytes of its parity objects.
    pub stored_bytes: u64,
}

/// All parity there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Groups.
    pub groups: Vec<GroupStatus>,
    /// Packs that are stored, that a segment names and that no generation has removed.
    pub packs: u64,
    /// Their bytes.
    pub packs_bytes: u64,
    /// Those of them in a group that stands at least one more loss.
    pub packs_protected: u64,
    /// Fewest losses that such a group stands.
    pub least_spare: u64,
    /// Parity objects.
    pub objects: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Parity objects that cannot be opened, and why.
    pub faults: Vec<(ObjectId, String)>,
}

/// Returns what parity there is.
pub fn status(repo: &Repository, events: &dyn Events) -> Result<Status, RepoError> {
    repo.catch_up(events)?;
    let stored = groups::stored_packs(repo)?;
    let found = Groups::look(repo, events)?;
    let index = repo.index()?;
    let is_removed = |id: &ObjectId| Ok(index.is_removed(id)?);
    let mut status = Status {
        objects: found.objects(),
        stored_bytes: found.stored_bytes,
        faults: found.faults.iter().map(|(id, _, why)| (*id, why.clone())).collect(),
        ..Status::default()
    };
    for (key, pieces) in &found.all {
        let standing = groups::standing(key, pieces, &stored, &is_removed)?;
        let Some((first, _)) = key.packs.first() else { continue };
        status.groups.push(GroupStatus {
            first: *first,
            packs: key.packs.len() as u64,
            removed: standing.removed as u64,
            lost: standing.lost as u64,
            shards: key.shards,
            shards_there: standing.shards as u64,
            spare: standing.spare() as u64,
            stored_bytes: pieces.iter().map(|piece| piece.stored_len()).sum(),
        });
    }
    let spares = found.spares(&stored, &is_removed)?;
    for (id, len) in &stored {
        if index.pack_number(id)?.is_some() && !index.is_removed(id)? {
            status.packs += 1;
            status.packs_bytes += len;
            status.packs_protected += u64::from(spares.contains_key(id));
        }
    }
    status.least_spare = spares.values().min().map_or(0, |least| *least as u64);
    Ok(status)
}
