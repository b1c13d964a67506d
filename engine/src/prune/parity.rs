//! What becomes of parity groups whose packs go. A pack that a prune removes is lost to its group for good: it counts
//! against what the group stands. A group that stands nothing any more goes in the same generation, and the report
//! says how many packs are left without parity, or with less.

use super::census::Census;
use super::{PruneReport, Scene};
use crate::format::MAX_NAMES;
use crate::id::ObjectId;
use crate::parity::groups::{Groups, Stored, standing};
use crate::parity::plan::superfluous;
use crate::progress::Events;
use crate::repo::{RepoError, Repository};
use std::collections::{BTreeMap, BTreeSet};

/// What a prune did, or would do, to parity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParityReport {
    /// Parity objects that went: they protected nothing any more, or others do as well.
    pub objects_removed: u64,
    /// Their bytes.
    pub bytes_removed: u64,
    /// Packs that were protected, stay, and are not any more.
    pub packs_unprotected: u64,
    /// Packs that were protected, stay, and are protected against fewer losses now.
    pub packs_weakened: u64,
    /// Packs that are left alone, since packs of their groups are missing and can be rebuilt from them.
    pub packs_spared: u64,
}

impl ParityReport {
    /// Compares how packs are protected with how they were.
    fn compare(
        &mut self,
        before: &Spares,
        after: &Spares,
        is_gone: &dyn Fn(&ObjectId) -> Result<bool, RepoError>,
    ) -> Result<(), RepoError> {
        for (id, spare) in before {
            if is_gone(id)? {
                continue;
            }
            match after.get(id) {
                None => self.packs_unprotected += 1,
                Some(left) => self.packs_weakened += u64::from(left < spare),
            }
        }
        Ok(())
    }
}

/// How many losses the best group of each protected pack stands.
pub(super) type Spares = BTreeMap<ObjectId, usize>;

/// Parity objects that go with packs.
#[derive(Default)]
pub(super) struct Going {
    pub objects: Vec<ObjectId>,
    pub bytes: u64,
}

fn stored(census: &Census) -> Stored {
    census.packs.iter().map(|pack| (pack.id, pack.stored_bytes)).collect()
}

/// Leaves the packs alone without which others that are missing could not be rebuilt; returns how many.
pub(super) fn spare(repo: &Repository, census: &mut Census, groups: &Groups) -> Result<u64, RepoError> {
    let (index, there) = (repo.index()?, stored(census));
    let mut spared = 0;
    for (key, pieces) in &groups.all {
        let is_removed = |id: &ObjectId| Ok(index.is_removed(id)?);
        if !standing(key, pieces, &there, &is_removed)?.is_curable() {
            continue;
        }
        for (id, _) in &key.packs {
            let Some(place) = census.place(id) else { continue };
            let pack = &mut census.packs[place];
            spared += u64::from(!pack.is_spared);
            pack.is_spared = true;
        }
    }
    Ok(spared)
}

/// Returns whether there are groups that protect nothing, or nothing that others do not protect.
pub(super) fn any_superfluous(scene: &Scene<'_>) -> Result<bool, RepoError> {
    if scene.groups.all.is_empty() {
        return Ok(false);
    }
    let index = scene.repo.index()?;
    let is_removed = |id: &ObjectId| Ok(index.is_removed(id)?);
    let is_settled = scene.sessions.running().is_empty();
    Ok(!superfluous(&scene.groups, &stored(&scene.census), &is_removed, is_settled)?.is_empty())
}

/// Returns how packs are protected before anything goes.
pub(super) fn spares(scene: &Scene<'_>) -> Result<Spares, RepoError> {
    let index = scene.repo.index()?;
    scene.groups.spares(&stored(&scene.census), &|id| Ok(index.is_removed(id)?))
}

/// Says what has become of the protection that there was.
pub(super) fn tell(
    scene: &Scene<'_>,
    before: &Spares,
    report: &mut PruneReport,
    events: &dyn Events,
) -> Result<(), RepoError> {
    if before.is_empty() {
        return Ok(());
    }
    let index = scene.repo.index()?;
    let is_removed = |id: &ObjectId| Ok(index.is_removed(id)?);
    let after = Groups::look(scene.repo, events)?.spares(&stored(&scene.census), &is_removed)?;
    report.parity.compare(before, &after, &is_removed)
}

/// Finds out what goes once these packs are removed. `is_settled`: no run goes on that may be at work on groups.
///
/// Only objects that were there before the sessions were read: whoever was at work on them then is either still
/// known to be, or has done what it will do, which is seen now.
pub(super) fn going(
    scene: &Scene<'_>,
    packs: &BTreeSet<ObjectId>,
    is_settled: bool,
    events: &dyn Events,
) -> Result<Going, RepoError> {
    if scene.groups.all.is_empty() {
        return Ok(Going::default());
    }
    let mut groups = Groups::look(scene.repo, events)?;
    take_out(scene, &mut groups, packs, is_settled)
}

/// Says what the plan would do to parity.
pub(super) fn foretell(scene: &Scene<'_>, report: &mut PruneReport) -> Result<(), RepoError> {
    let places = report.plan.remove.iter().chain(&report.plan.repack);
    let packs: BTreeSet<ObjectId> = places.map(|at| scene.census.packs[*at].id).collect();
    let index = scene.repo.index()?;
    let mut groups = Groups { all: scene.groups.all.clone(), ..Groups::default() };
    let going = take_out(scene, &mut groups, &packs, scene.sessions.running().is_empty())?;
    report.parity.objects_removed = going.objects.len() as u64;
    report.parity.bytes_removed = going.bytes;
    let is_removed = |id: &ObjectId| Ok(packs.contains(id) || index.is_removed(id)?);
    let after = groups.spares(&stored(&scene.census), &is_removed)?;
    report.parity.compare(&spares(scene)?, &after, &is_removed)
}

/// Takes out of the groups what goes once these packs are removed.
fn take_out(
    scene: &Scene<'_>,
    groups: &mut Groups,
    packs: &BTreeSet<ObjectId>,
    is_settled: bool,
) -> Result<Going, RepoError> {
    let index = scene.repo.index()?;
    let is_removed = |id: &ObjectId| Ok(packs.contains(id) || index.is_removed(id)?);
    let mut objects = superfluous(groups, &stored(&scene.census), &is_removed, is_settled)?;
    let seen: BTreeSet<ObjectId> = scene.groups.all.values().flatten().map(|piece| piece.id).collect();
    objects.retain(|id| seen.contains(id));
    objects.truncate(MAX_NAMES);
    let gone: BTreeSet<ObjectId> = objects.iter().copied().collect();
    let mut bytes = 0;
    for pieces in groups.all.values_mut() {
        let going = pieces.iter().filter(|piece| gone.contains(&piece.id));
        bytes += going.map(|piece| piece.stored_len()).sum::<u64>();
        pieces.retain(|piece| !gone.contains(&piece.id));
    }
    Ok(Going { objects, bytes })
}
