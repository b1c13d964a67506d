//! Segments as they are stored: read, written for packs that are in none, and stored again when a key epoch begins.

use super::directories::each_directory;
use super::objects::Objects;
use super::{RepoError, Repository};
use crate::crypto::header::ObjectKind;
use crate::error::Kind;
use crate::id::{ObjectId, SessionId};
use crate::index::{Segment, SegmentPack};
use crate::progress::Events;
use crate::storage::{Family, Name};
use std::cell::{Cell, RefCell};

/// Reads a segment. One of an earlier epoch that the newest does not name is as good as damaged: who was left out may
/// have written it (`FORMAT.md` 16).
pub(crate) fn read_segment(objects: &Objects, id: ObjectId) -> Result<Segment, RepoError> {
    match read_plain(objects, id)? {
        (plain, true, _) => decode(id, &plain),
        (_, false, epoch) => Err(RepoError::Void { object: Name::segment(id).to_string(), epoch }),
    }
}

/// Reads what a segment says, whether it counts, and its epoch.
fn read_plain(objects: &Objects, id: ObjectId) -> Result<(Vec<u8>, bool, u32), RepoError> {
    let opened = objects.get_opened(ObjectKind::Segment, &Name::segment(id))?;
    let counts = objects.counts(&id, opened.epoch);
    Ok((opened.plain, counts, opened.epoch))
}

fn decode(id: ObjectId, plain: &[u8]) -> Result<Segment, RepoError> {
    Ok(Segment::decode(plain).map_err(|corrupt| corrupt.within(Name::segment(id)))?)
}

/// Stores a segment under the newest key epoch that is known.
fn store(objects: &Objects, session: SessionId, segment: &Segment) -> Result<ObjectId, RepoError> {
    let means = |opened: &[u8]| Segment::decode(opened).is_ok_and(|again| again == *segment);
    objects.put_hashed(ObjectKind::Segment, Name::segment, &segment.encode(), Some(session), &means)
}

/// The segments of a run that removes what they replace: they must count by then, whatever key epoch begins meanwhile.
pub(crate) struct OwnSegments<'r> {
    repo: &'r Repository,
    session: SessionId,
    /// The epoch in which all of them count.
    epoch: Cell<u32>,
    stored: RefCell<Vec<ObjectId>>,
}

impl<'r> OwnSegments<'r> {
    /// Makes an empty list; to be done before any of them is stored.
    pub fn new(repo: &'r Repository, session: SessionId) -> Self {
        let epoch = Cell::new(repo.objects.keyring.epoch());
        Self { repo, session, epoch, stored: RefCell::default() }
    }

    /// Notes segments that were stored.
    pub fn add(&self, segments: impl IntoIterator<Item = ObjectId>) {
        self.stored.borrow_mut().extend(segments);
    }

    /// Stores them again if an epoch began since they were stored; returns their names.
    pub fn renew(&self) -> Result<Vec<ObjectId>, RepoError> {
        let mut stored = self.stored.borrow_mut();
        if stored.is_empty() {
            return Ok(stored.clone());
        }
        let newest = self.repo.newest_era()?;
        if newest > self.epoch.get() {
            *stored = self.repo.renew_segments(self.session, &stored)?;
            self.epoch.set(newest);
        }
        Ok(stored.clone())
    }
}

impl Repository {
    /// Hands out every stored segment that counts; one that cannot be read ends it with its error.
    pub(crate) fn each_segment(
        &self,
        each: &mut dyn FnMut(ObjectId, Segment) -> Result<(), RepoError>,
    ) -> Result<(), RepoError> {
        self.each_segment_or_void(&mut |id, segment, counts| if counts { each(id, segment) } else { Ok(()) })
    }

    /// The same, with the segments of an earlier key epoch that do not count and can be read; says of each whether it does.
    pub(crate) fn each_segment_or_void(
        &self,
        each: &mut dyn FnMut(ObjectId, Segment, bool) -> Result<(), RepoError>,
    ) -> Result<(), RepoError> {
        for id in self.objects.ids(Family::Segments)? {
            let (plain, counts, _) = read_plain(&self.objects, id)?;
            match decode(id, &plain) {
                Ok(segment) => each(id, segment, counts)?,
                Err(error) if counts => return Err(error),
                // Rubbish of somebody who was left out.
                Err(_) => {}
            }
        }
        Ok(())
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

    /// Stores segments of this run again under the newest key epoch, if one began since they were stored; returns what
    /// stands in their stead.
    pub(crate) fn renew_segments(
        &self,
        session: SessionId,
        segments: &[ObjectId],
    ) -> Result<Vec<ObjectId>, RepoError> {
        let mut renewed = Vec::with_capacity(segments.len());
        for id in segments {
            let opened = match self.objects.get_opened(ObjectKind::Segment, &Name::segment(*id)) {
                Ok(opened) => opened,
                // A prune has taken this run for dead: whoever looks at its generation finds that.
                Err(RepoError::Storage(error)) if error.is_missing() => {
                    renewed.push(*id);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if opened.epoch == self.objects.keyring.epoch() {
                renewed.push(*id);
                continue;
            }
            let segment = decode(*id, &opened.plain)?;
            let again = store(&self.objects, session, &segment)?;
            // At once, or the packs would be looked for when the old one does not count any more.
            self.index()?.apply_segment(again, &segment.packs)?;
            renewed.push(again);
        }
        Ok(renewed)
    }

    /// Reads the directories of packs that are in no segment, and writes segments of `session` for those `wanted`; returns
    /// their names.
    pub(crate) fn adopt(
        &self,
        session: SessionId,
        packs: Vec<(ObjectId, u64)>,
        wanted: &dyn Fn(&SegmentPack) -> Result<bool, RepoError>,
        events: &dyn Events,
    ) -> Result<Vec<ObjectId>, RepoError> {
        let (index, mut stored) = (self.index()?, Vec::new());
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
            let id = store(&self.objects, session, &segment)?;
            stored.push(id);
            Ok(index.apply_segment(id, &segment.packs)?)
        })?;
        Ok(stored)
    }
}
