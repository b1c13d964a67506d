//! Brings the local index up to date with the storage; fills it anew when it was lost.
//!
//! Order: generations, then segments (`FORMAT.md` 20). Where a segment is damaged, or the index had to be
//! made anew, the directories of packs that no segment names are read as well: packs describe themselves,
//! so an index can be had from them alone.

use super::directories::{each_directory, read_directory, unknown_packs};
use super::objects::Objects;
use super::segments::read_segment;
use super::sessions::{any_unended, generation, is_obeyed, read_generation};
use super::write::lock;
use super::{RepoError, Repository};
use crate::crypto::header::ObjectKind;
use crate::error::Kind;
use crate::format::MAX_CHUNKS_PER_SEGMENT;
use crate::id::{ObjectId, SessionId};
use crate::index::{Generation, GenerationMark, Index, Origin, Segment, SegmentPack, Settings};
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events, Phase};
use crate::storage::{Family, Name};
use std::path::Path;

/// Disk space for the file cache.
const FILE_CACHE_BYTES: u64 = 1 << 30;
/// Segments that are applied together, unless they have many chunks: a segment's directories are in memory.
const SEGMENTS_AT_ONCE: usize = 16;
/// Chunks of segments that are applied together, those of the last one aside.
const CHUNKS_AT_ONCE: usize = MAX_CHUNKS_PER_SEGMENT / 4;

/// Opens the index in `dir` and fills it. Returns as well the packs that no segment names and that it knows
/// from their own directories.
pub(super) fn open(
    objects: &Objects,
    dir: &Path,
    memory_bytes: u64,
    events: &dyn Events,
) -> Result<(Index, Vec<ObjectId>), RepoError> {
    let settings = Settings {
        repository: objects.keyring.repo(),
        memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
        file_cache_bytes: FILE_CACHE_BYTES,
    };
    let index = Index::open(dir, &settings)?;
    if let Origin::Replaced { why } = index.origin() {
        events.event(Event::Notice(format!("the local index is made anew: {why}")));
    }
    match fill(objects, &index, events) {
        Err(RepoError::Index(error)) if error.wants_rebuild() => {
            events.event(Event::Notice(format!("the local index is made anew: {error}")));
            let mut unlisted = Vec::new();
            let index = index.rebuild(|fresh| {
                unlisted = fill(objects, fresh, events)?;
                Ok::<_, RepoError>(())
            })?;
            Ok((index, unlisted))
        }
        Err(error) => Err(error),
        Ok(unlisted) => Ok((index, unlisted)),
    }
}

/// Fills the index; returns the packs that no segment names.
fn fill(objects: &Objects, index: &Index, events: &dyn Events) -> Result<Vec<ObjectId>, RepoError> {
    let newest = apply_generations(objects, index)?;
    let epoch = objects.keyring.epoch();
    let mut listed = objects.ids(Family::Segments)?;
    if index.epoch()? < epoch {
        // What was applied before may have been written by who is left out now.
        for id in listed.clone() {
            if index.knows_segment(&id)? && !objects.segment_counts(&id)? {
                listed.remove(&id);
            }
        }
    }
    let reconciled = index.reconcile(listed, newest)?;
    if index.epoch()? < epoch {
        index.note_epoch(epoch)?;
    }
    // Also where an earlier look was cut off.
    let mut incomplete = index.rebuilt() || !reconciled.dropped.is_empty() || index.is_incomplete()?;
    if index.rebuilt() {
        index.note_incomplete(true)?;
    }
    if !reconciled.to_apply.is_empty() {
        events.event(Event::Phase(Phase::Index));
        events.event(Event::Expect { entries: reconciled.to_apply.len() as u64, bytes: 0, complete: true });
    }
    if reconciled.dropped_packs > 0 && !reconciled.dropped.is_empty() {
        events.event(Event::Notice(format!(
            "{} segments that were known are gone from the repository; it may have been set back to an older state",
            reconciled.dropped.len()
        )));
    }
    let (mut segments, mut chunks) = (Vec::new(), 0);
    let mut to_apply = reconciled.to_apply.iter().peekable();
    while let Some(id) = to_apply.next() {
        if events.cancelled() {
            return Err(RepoError::Cancelled);
        }
        match read_segment(objects, *id) {
            Ok(segment) => {
                chunks += segment.packs.iter().map(|pack| pack.directory.chunks().len()).sum::<usize>();
                segments.push((*id, segment));
            }
            // Removed since the listing; its generation is applied at the next open.
            Err(RepoError::Storage(error)) if error.is_missing() => {}
            // Of an epoch in which this key has no part, as it was told: it reads what was stored before.
            Err(error) if error.kind() == Kind::Refused && !objects.keyring.is_up_to_date() => {}
            Err(RepoError::Void { .. }) if !names_unknown(objects, index, *id)? => {}
            Err(error) if error.kind() == Kind::Integrity => {
                incomplete = true;
                let instead = match objects.keyring.can_read() {
                    true => "the packs' own directories are read instead",
                    false => "what it names is stored again, as this key does not open packs",
                };
                events.event(Event::Notice(format!("{error}; {instead}")));
            }
            Err(error) => return Err(error),
        }
        if segments.len() >= SEGMENTS_AT_ONCE || chunks >= CHUNKS_AT_ONCE || to_apply.peek().is_none() {
            let borrowed: Vec<_> = segments.iter().map(|(id, segment)| (*id, &segment.packs[..])).collect();
            index.apply_segments(&borrowed)?;
            segments.clear();
            chunks = 0;
        }
        events.event(Event::Done { entries: 1, bytes: 0, path: None });
    }
    if index.rebuilt() {
        // Their packs were not known yet when they were applied.
        (1..=newest.map_or(0, |mark| mark.number)).try_for_each(|number| distrust(objects, index, number))?;
    }
    let mut unlisted = Vec::new();
    if incomplete && objects.keyring.can_read() {
        let unknown = unknown_packs(objects, index)?;
        each_directory(objects, unknown, events, &mut |packs| {
            // Not stored as a segment, since reading must not write: the next backup does that. Its name
            // is listed nowhere, so the next open looks again.
            let mut hasher = blake3::Hasher::new();
            for pack in &packs {
                hasher.update(pack.id.as_bytes());
            }
            let id = ObjectId::from_bytes(*hasher.finalize().as_bytes());
            unlisted.extend(packs.iter().map(|pack| pack.id));
            Ok(index.apply_segment(id, &packs)?)
        })?;
        if index.is_incomplete()? {
            index.note_incomplete(false)?;
        }
    }
    Ok(unlisted)
}

/// Returns whether a segment that does not count names packs that the index does not know from another.
fn names_unknown(objects: &Objects, index: &Index, id: ObjectId) -> Result<bool, RepoError> {
    let plain = objects.get(ObjectKind::Segment, &Name::segment(id))?;
    let Ok(segment) = Segment::decode(&plain) else { return Ok(true) };
    for pack in segment.packs {
        if index.pack_number(&pack.id)?.is_none() && !index.is_removed(&pack.id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Applies every generation the index has not seen; returns the newest there is.
fn apply_generations(objects: &Objects, index: &Index) -> Result<Option<GenerationMark>, RepoError> {
    let mut newest = index.generation()?;
    // The one applied last must still be there and be the same: otherwise it is another history.
    if let Some(mark) = newest {
        newest = read_generation(objects, mark.number)?.map(|(_, id)| GenerationMark { id, ..mark });
    }
    let mut number = newest.map_or(1, |mark| mark.number + 1);
    while let Some((named, id)) = read_generation(objects, number)? {
        let mark = GenerationMark { number, id };
        distrust(objects, index, number)?;
        index.apply_generation(&Generation {
            mark,
            previous: named.previous,
            packs: &named.packs,
            segments: &named.segments,
        })?;
        newest = Some(mark);
        number += 1;
    }
    Ok(newest)
}

/// Relies no more on packs that a generation names whose signer may remove nothing, and which may be gone any moment.
fn distrust(objects: &Objects, index: &Index, number: u64) -> Result<(), RepoError> {
    let known = objects.known.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(rights) = known.rights.as_ref().filter(|rights| rights.are_told_apart()) else { return Ok(()) };
    if let Some((void, _)) = generation(objects, number)?.filter(|(one, _)| !is_obeyed(rights, one)) {
        for pack in &void.packs {
            if let Some(pack) = index.pack_number(pack)? {
                index.note_rot(pack, true)?;
            }
        }
    }
    Ok(())
}

impl Repository {
    /// Applies the generations that came since the index was opened.
    pub(crate) fn apply_generations(&self) -> Result<Option<GenerationMark>, RepoError> {
        apply_generations(&self.objects, self.index()?)
    }

    /// Applies the generations that came since the index was opened; returns the number of the newest, 0 if there is none.
    pub(crate) fn newest_generation(&self) -> Result<u64, RepoError> {
        Ok(self.apply_generations()?.map_or(0, |mark| mark.number))
    }

    /// Takes up the generations and segments that came since the index was opened.
    pub(crate) fn catch_up(&self, events: &dyn Events) -> Result<(), RepoError> {
        fill(&self.objects, self.index()?, events).map(drop)
    }

    /// Takes up the segments that came since the index was opened, if a prune has published a generation since then
    /// or since the last call. Returns whether one has.
    ///
    /// Only segments: packs that generations removed go on counting as relied on where a run does so, until it looks
    /// at the generations itself.
    pub(crate) fn learn_segments(&self) -> Result<bool, RepoError> {
        let index = self.index()?;
        let mut learnt = lock(&self.learnt);
        let mut newest = (*learnt).max(index.generation()?.map_or(0, |mark| mark.number));
        let before = newest;
        while read_generation(&self.objects, newest + 1)?.is_some() {
            newest += 1;
        }
        // Another thread may just have learnt what this one lacks.
        let is_newer = newest > before || newest > index.generation()?.map_or(0, |mark| mark.number);
        if newest > before {
            // What a prune wrote anew may be of a key epoch that began since.
            self.newest_epoch()?;
            for id in self.objects.ids(Family::Segments)? {
                if index.knows_segment(&id)? {
                    continue;
                }
                match read_segment(&self.objects, id) {
                    Ok(segment) => index.apply_segment(id, &segment.packs)?,
                    Err(RepoError::Storage(error)) if error.is_missing() => {}
                    // Told when the index is opened.
                    Err(RepoError::Void { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            *learnt = newest;
        }
        Ok(is_newer)
    }

    /// Returns what a pack says of itself, if that can be read.
    pub(crate) fn pack_directory(&self, id: ObjectId, len: u64) -> Result<Option<SegmentPack>, RepoError> {
        match read_directory(&self.objects, id, len) {
            Ok(pack) => Ok(Some(pack)),
            Err(error) if matches!(error.kind(), Kind::Integrity | Kind::Refused | Kind::TooNew) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes up packs that are in no segment: a new segment of `session` names them.
    ///
    /// These are the packs whose segments were lost, and those of interrupted runs. The latter are looked
    /// for only while some session has not ended: listing all packs costs time.
    pub(crate) fn adopt_unlisted_packs(
        &self,
        session: SessionId,
        events: &dyn Events,
    ) -> Result<(), RepoError> {
        let index = self.index()?;
        let mut packs = Vec::new();
        if planted(Bug::AdoptNothing) {
            return Ok(());
        }
        // What cannot be adopted now is found again when the index is opened next.
        for id in std::mem::take(&mut *lock(&self.unlisted)) {
            packs.extend(self.objects.storage.len(&Name::pack(id))?.map(|len| (id, len)));
        }
        // Directories of packs are read with READ: what a client without it left behind is the next full client's to adopt.
        if self.can_read() && any_unended(&self.objects, session)? {
            packs.extend(unknown_packs(&self.objects, index)?);
        }
        self.adopt(session, packs, &|_| Ok(true), events).map(drop)
    }
}
