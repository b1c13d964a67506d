//! What is stored: packs as the storage lists them, and which chunks each holds as segments tell, read from the
//! storage. The local index is asked nothing here. Memory: about 90 bytes for each pack, one segment at a time.

use super::live::{Live, Need};
use super::plan::PackUse;
use crate::id::{ObjectId, SessionId};
use crate::index::{Segment, SegmentPack};
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events};
use crate::repo::{RepoError, Repository};
use crate::storage::{Family, Name};
use std::collections::BTreeSet;

/// A segment and which of the stored packs it names.
pub(super) struct SegmentUse {
    pub id: ObjectId,
    pub session: SessionId,
    pub packs: Vec<u32>,
    /// A newer key epoch made it void: nobody believes what it says.
    pub is_void: bool,
    /// It names a pack that is not stored although nobody has removed it.
    pub lacks_some: bool,
}

/// Packs and segments.
pub(super) struct Census {
    /// Stored packs, sorted by name.
    pub packs: Vec<PackUse>,
    pub segments: Vec<SegmentUse>,
}

impl Census {
    /// Lists the packs that are stored, but for those that a generation has removed.
    pub fn list(repo: &Repository, removed: &BTreeSet<ObjectId>) -> Result<Self, RepoError> {
        let mut packs = Vec::new();
        let mut each = |name: Name, len: u64| {
            packs.extend(name.object_id().filter(|id| !removed.contains(id)).map(|id| PackUse {
                id,
                stored_bytes: len,
                plain_bytes: 0,
                live_bytes: 0,
                live_stored_bytes: 0,
                is_named: false,
                is_spared: false,
            }));
            Ok(())
        };
        repo.storage().list(Family::Packs, &mut each, &mut |_| {})?;
        packs.sort_by_key(|pack| pack.id);
        // Some storages list an object twice when it comes while they list.
        packs.dedup_by_key(|pack| pack.id);
        Ok(Self { packs, segments: Vec::new() })
    }

    /// Adds packs that were stored since, which stay: a snapshot that was committed meanwhile has its chunks in them.
    /// Before anything is counted.
    pub fn add_late(&mut self, repo: &Repository, removed: &BTreeSet<ObjectId>) -> Result<(), RepoError> {
        let mut late = Self::list(repo, removed)?.packs;
        late.retain(|pack| self.place(&pack.id).is_none());
        self.packs.extend(late.into_iter().map(|pack| PackUse { is_spared: true, ..pack }));
        self.packs.sort_by_key(|pack| pack.id);
        Ok(())
    }

    /// Returns the place of a stored pack.
    pub fn place(&self, id: &ObjectId) -> Option<usize> {
        self.packs.binary_search_by_key(id, |pack| pack.id).ok()
    }

    /// Reads every segment, and gives each needed chunk to the first pack that has it.
    pub fn count(
        &mut self,
        repo: &Repository,
        live: &Live<'_>,
        events: &dyn Events,
    ) -> Result<(), RepoError> {
        repo.each_segment_or_void(&mut |id, segment, counts| {
            if events.cancelled() {
                return Err(RepoError::Cancelled);
            }
            self.enter(repo, (id, counts), &segment, live)?;
            events.event(Event::Done { entries: 1, bytes: 0, path: None });
            Ok(())
        })
    }

    /// Takes a segment up, which counts or not.
    pub fn enter(
        &mut self,
        repo: &Repository,
        (id, counts): (ObjectId, bool),
        segment: &Segment,
        live: &Live<'_>,
    ) -> Result<(), RepoError> {
        let (mut packs, mut lacks_some) = (Vec::new(), false);
        for pack in &segment.packs {
            let place =
                if counts { self.take(pack, live)? } else { self.place(&pack.id).map(|at| at as u32) };
            match place {
                Some(place) => packs.push(place),
                None => lacks_some |= !repo.index()?.is_removed(&pack.id)?,
            }
        }
        self.segments.push(SegmentUse { id, session: segment.session, packs, is_void: !counts, lacks_some });
        Ok(())
    }

    /// Counts what of a pack is needed; returns its place if it is stored.
    fn take(&mut self, told: &SegmentPack, live: &Live<'_>) -> Result<Option<u32>, RepoError> {
        let Some(place) = self.place(&told.id) else { return Ok(None) };
        let (number, pack) = (place as u32, &mut self.packs[place]);
        // One of another length is damaged: it holds nothing that one may rely on, and is left to a repair.
        if pack.stored_bytes != told.stored_len {
            pack.is_spared = true;
            return Ok(Some(number));
        }
        if pack.is_named {
            return Ok(Some(number));
        }
        pack.is_named = true;
        let (mut chunks, mut sealed) = (told.directory.chunks().iter(), 0u64);
        for block in told.directory.blocks() {
            let mut needed = 0;
            for chunk in chunks.by_ref().take(block.chunks as usize) {
                if live.need(&chunk.id)? == Need::Unclaimed {
                    live.claim(&chunk.id, number)?;
                    needed += u64::from(chunk.len);
                }
            }
            let (plain, stored) = (u64::from(block.plain_len), u64::from(block.sealed_len));
            pack.plain_bytes += plain;
            pack.live_bytes += needed;
            pack.live_stored_bytes += part(stored, needed, plain);
            sealed += stored;
        }
        // Header, directory and padding, as much of them as is needed of all.
        let around = pack.stored_bytes.saturating_sub(sealed);
        pack.live_stored_bytes += part(around, pack.live_bytes, pack.plain_bytes);
        Ok(Some(number))
    }

    /// Leaves alone what may be of runs that have not ended: the packs that their segments name, and all packs that
    /// no segment names if there is such a run at all.
    pub fn spare(&mut self, running: &BTreeSet<SessionId>) {
        let of_runs = |segment: &&SegmentUse| !segment.is_void && running.contains(&segment.session);
        for segment in self.segments.iter().filter(of_runs) {
            segment.packs.iter().for_each(|place| self.packs[*place as usize].is_spared = true);
        }
        if !running.is_empty() {
            self.packs.iter_mut().filter(|pack| !pack.is_named).for_each(|pack| pack.is_spared = true);
        }
    }

    /// Leaves alone the packs that only void segments name, where something is missing: they may have it, and not be sound
    /// enough to be taken up as a whole.
    pub fn spare_untold(&mut self) {
        for segment in self.segments.iter().filter(|segment| segment.is_void) {
            for place in &segment.packs {
                let pack = &mut self.packs[*place as usize];
                pack.is_spared |= !pack.is_named;
            }
        }
    }

    /// Returns whether a void segment says nothing any more.
    pub fn any_void(&self, going_on: &BTreeSet<SessionId>) -> bool {
        let empty = self.empty_segments(&BTreeSet::new(), going_on);
        self.segments.iter().any(|segment| segment.is_void && empty.contains(&segment.id))
    }

    /// Returns the segments that say nothing any more once these packs are gone: those of which no pack is left, and void
    /// ones whose packs are in segments that count, but for those of runs that go on, which may store them again. Never one
    /// that tells of a lost pack.
    pub fn empty_segments(
        &self,
        going: &BTreeSet<ObjectId>,
        going_on: &BTreeSet<SessionId>,
    ) -> Vec<ObjectId> {
        let is_empty = |segment: &&SegmentUse| {
            let is_told = |pack: &PackUse| pack.is_named || planted(Bug::DropVoidSegments);
            let goes = |place: &u32| {
                let pack = &self.packs[*place as usize];
                going.contains(&pack.id) || segment.is_void && is_told(pack)
            };
            let may_go = !segment.is_void || !going_on.contains(&segment.session);
            may_go && !segment.lacks_some && segment.packs.iter().all(goes)
        };
        self.segments.iter().filter(is_empty).map(|segment| segment.id).collect()
    }
}

/// Returns so much of `bytes` as `part` is of `whole`.
fn part(bytes: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(part.min(whole)) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(bytes)
}
