//! Brings the local index up to date with the storage; fills it anew when it was lost.
//!
//! Order: generations, then segments (`FORMAT.md` 20). Where a segment is damaged, or the index had to be
//! made anew, the directories of packs that no segment names are read as well: packs describe themselves,
//! so an index can be had from them alone.

use super::objects::Objects;
use super::sessions::{any_unended, generation, is_obeyed, read_generation};
use super::write::lock;
use super::{RepoError, Repository};
use crate::crypto::header::ObjectKind;
use crate::error::Kind;
use crate::format::{HEADER_LEN, MAX_CHUNKS_PER_SEGMENT, MAX_PACK, MAX_PACK_DIRECTORY, PACK_TRAILER_LEN};
use crate::id::{ObjectId, SessionId};
use crate::index::{Generation, GenerationMark, Index, Origin, Segment, SegmentPack, Settings};
use crate::pack::reader::PackKey;
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events, Phase};
use crate::storage::{Family, Name};
use std::path::Path;

/// Disk space for the file cache.
const FILE_CACHE_BYTES: u64 = 1 << 30;
/// Packs that are taken up together.
const PACKS_AT_ONCE: usize = 64;
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
    let reconciled = index.reconcile(objects.ids(Family::Segments)?, newest)?;
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

fn read_segment(objects: &Objects, id: ObjectId) -> Result<Segment, RepoError> {
    let name = Name::segment(id);
    let plain = objects.get(ObjectKind::Segment, &name)?;
    Ok(Segment::decode(&plain).map_err(|corrupt| corrupt.within(name))?)
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

/// Lists the packs that the index does not know, with their lengths.
fn unknown_packs(objects: &Objects, index: &Index) -> Result<Vec<(ObjectId, u64)>, RepoError> {
    let mut unknown = Vec::new();
    let mut failed = None;
    let mut look = |name: Name, len: u64| {
        if let Some(id) = name.object_id() {
            match index.pack_number(&id).and_then(|known| Ok(known.is_some() || index.is_removed(&id)?)) {
                Ok(true) => {}
                Ok(false) => unknown.push((id, len)),
                Err(error) => failed = Some(error),
            }
        }
        Ok(())
    };
    objects.storage.list(Family::Packs, &mut look, &mut |_| {})?;
    // Some storages list an object twice when it comes while they list.
    unknown.sort_unstable();
    unknown.dedup();
    failed.map_or(Ok(unknown), |error| Err(error.into()))
}

/// Reads the directories of packs and hands them out in groups.
fn each_directory(
    objects: &Objects,
    packs: Vec<(ObjectId, u64)>,
    events: &dyn Events,
    each: &mut dyn FnMut(Vec<SegmentPack>) -> Result<(), RepoError>,
) -> Result<(), RepoError> {
    let (mut group, mut chunks) = (Vec::new(), 0);
    for (id, len) in packs {
        if events.cancelled() {
            return Err(RepoError::Cancelled);
        }
        let pack = match read_directory(objects, id, len) {
            Ok(pack) => pack,
            Err(error) if matches!(error.kind(), Kind::Integrity | Kind::Refused | Kind::TooNew) => {
                events.event(Event::Notice(format!("{error}; it is left out of the index")));
                continue;
            }
            Err(error) => return Err(error),
        };
        chunks += pack.directory.chunks().len();
        if group.len() >= PACKS_AT_ONCE || chunks > MAX_CHUNKS_PER_SEGMENT {
            each(std::mem::take(&mut group))?;
            chunks = pack.directory.chunks().len();
        }
        group.push(pack);
    }
    if group.is_empty() { Ok(()) } else { each(group) }
}

/// Reads what a pack says of itself.
fn read_directory(objects: &Objects, id: ObjectId, len: u64) -> Result<SegmentPack, RepoError> {
    let name = Name::pack(id);
    let damaged = |wrong: &str| RepoError::from(crate::error::Corrupt::new(name.to_string(), wrong));
    if len > MAX_PACK || len < (HEADER_LEN + PACK_TRAILER_LEN) as u64 {
        return Err(damaged("a pack cannot have this length"));
    }
    let start = objects.storage.get(&name, 0..HEADER_LEN as u64)?;
    let header: [u8; HEADER_LEN] = start.try_into().map_err(|_| damaged("truncated"))?;
    let (key, kind) = PackKey::open_any(&objects.keyring, &header).map_err(RepoError::of(&name))?;
    let trailer_at = len - PACK_TRAILER_LEN as u64;
    let trailer = objects.storage.get(&name, trailer_at..len)?;
    let directory_len = key.directory_len(&trailer, len).map_err(RepoError::of(&name))?;
    if directory_len > u64::from(MAX_PACK_DIRECTORY) * 2 {
        return Err(damaged("its directory is longer than any may be"));
    }
    let mut sealed = objects.storage.get(&name, trailer_at - directory_len..trailer_at)?;
    let directory = key.directory(&mut sealed, len).map_err(RepoError::of(&name))?;
    Ok(SegmentPack { id, kind, header, stored_len: len, directory })
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
            for id in self.objects.ids(Family::Segments)? {
                if index.knows_segment(&id)? {
                    continue;
                }
                match read_segment(&self.objects, id) {
                    Ok(segment) => index.apply_segment(id, &segment.packs)?,
                    Err(RepoError::Storage(error)) if error.is_missing() => {}
                    Err(error) => return Err(error),
                }
            }
            *learnt = newest;
        }
        Ok(is_newer)
    }

    /// Hands out every stored segment; one that cannot be read ends it with its error.
    pub(crate) fn each_segment(
        &self,
        each: &mut dyn FnMut(ObjectId, Segment) -> Result<(), RepoError>,
    ) -> Result<(), RepoError> {
        let ids = self.objects.ids(Family::Segments)?;
        ids.into_iter().try_for_each(|id| each(id, read_segment(&self.objects, id)?))
    }

    /// Hands out every stored segment, or why it cannot be read. One that is gone since the listing was somebody's to remove.
    pub(crate) fn each_readable_segment(
        &self,
        each: &mut dyn FnMut(ObjectId, Result<Segment, RepoError>) -> Result<(), RepoError>,
    ) -> Result<(), RepoError> {
        for id in self.objects.ids(Family::Segments)? {
            match read_segment(&self.objects, id) {
                Err(RepoError::Storage(error)) if error.is_missing() => {}
                // One of a newer program hashes to its name: it is not damaged, and ends the work.
                Err(error) if error.kind() != Kind::Integrity => return Err(error),
                segment => each(id, segment)?,
            }
        }
        Ok(())
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
        self.adopt(session, packs, &|_| Ok(true), events)
    }

    /// Reads the directories of packs that are in no segment, and writes segments of `session` for those `wanted`.
    pub(crate) fn adopt(
        &self,
        session: SessionId,
        packs: Vec<(ObjectId, u64)>,
        wanted: &dyn Fn(&SegmentPack) -> Result<bool, RepoError>,
        events: &dyn Events,
    ) -> Result<(), RepoError> {
        let index = self.index()?;
        each_directory(&self.objects, packs, events, &mut |all| {
            let mut packs = Vec::new();
            for pack in all {
                if wanted(&pack)? {
                    packs.push(pack);
                }
            }
            if packs.is_empty() {
                return Ok(());
            }
            let segment = Segment { session, packs };
            let plain = segment.encode();
            let means = |opened: &[u8]| Segment::decode(opened).is_ok_and(|again| again == segment);
            let (kind, name) = (ObjectKind::Segment, Name::segment);
            let id = self.objects.put_hashed(kind, name, &plain, Some(session), &means)?;
            Ok(index.apply_segment(id, &segment.packs)?)
        })
    }
}
