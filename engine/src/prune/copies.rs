//! Of a chunk in several packs one copy stays. Before another one goes, the one that stays is read.

use super::Scene;
use super::live::Need;
use crate::error::Kind;
use crate::id::{ChunkId, ObjectId};
use crate::pack::PackKind;
use crate::planted::{Bug, planted};
use crate::progress::Events;
use crate::repo::RepoError;
use crate::repo::read::ChunkReader;
use std::collections::{BTreeMap, BTreeSet};

/// Opened blocks that are kept, in bytes.
const CACHE: usize = 4 << 20;

/// Returns those of the packs that must stay, and why: they hold a needed chunk whose copy that was to stay cannot be
/// read.
pub(super) fn irreplaceable(
    scene: &Scene<'_>,
    going: &BTreeSet<ObjectId>,
    events: &dyn Events,
) -> Result<BTreeMap<ObjectId, String>, RepoError> {
    let mut stay = BTreeMap::new();
    let readers = PackKind::ALL.map(|kind| (kind, ChunkReader::new(scene.repo, kind.chunks(), CACHE)));
    for id in going.iter().filter(|_| !planted(Bug::TrustOtherCopy)) {
        if events.cancelled() {
            return Err(RepoError::Cancelled);
        }
        // One that the index does not know is in no segment: its chunks never counted as copies.
        let Some(number) = scene.repo.index()?.pack_number(id)? else { continue };
        let Some(directory) = scene.repo.index()?.directory(number)? else { continue };
        let own = scene.census.place(id).map(|place| place as u32);
        for chunk in directory.chunks() {
            let Need::Claimed(keeper) = scene.live.need(&chunk.id)? else { continue };
            let Some(other) = scene.census.packs.get(keeper as usize).filter(|_| Some(keeper) != own) else {
                continue;
            };
            if !is_readable(scene, &readers, &chunk.id, &other.id)? {
                let why = format!(
                    "a second copy of chunk {} stays, since the first cannot be read",
                    chunk.id.short()
                );
                stay.insert(*id, why);
                break;
            }
        }
    }
    Ok(stay)
}

/// Reads a copy of a chunk and compares it with its name.
fn is_readable(
    scene: &Scene<'_>,
    readers: &[(PackKind, ChunkReader<'_>)],
    id: &ChunkId,
    pack: &ObjectId,
) -> Result<bool, RepoError> {
    let index = scene.repo.index()?;
    let Some(number) = index.pack_number(pack)? else { return Ok(false) };
    let copies = index.copies(id)?;
    let Some(location) = copies.iter().find(|copy| copy.pack == number) else { return Ok(false) };
    let kind = scene.repo.pack_info(number)?.kind;
    let Some((_, reader)) = readers.iter().find(|(known, _)| *known == kind) else { return Ok(false) };
    match reader.block(location) {
        Ok(block) => Ok(reader.chunk_in(&block, id, location).is_some()),
        Err(error) if !matches!(error, RepoError::Index(_)) && error.kind() == Kind::Integrity => Ok(false),
        Err(error) => Err(error),
    }
}
