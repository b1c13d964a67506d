//! The one way in which packs and segments go, for whoever has another reason than that nobody needs them.
//!
//! ```text
//! base ─ sessions ─ segments ─ condemned set ─ look again ─ (what can be saved, anew) ─ generation base + 1 ─ delete
//! ```

use super::repack::{NOBODY, announce};
use super::witness::{Rescued, Sessions};
use super::{lost, sweep};
use crate::crypto::header::ObjectKind;
use crate::format::MAX_NAMES;
use crate::id::ObjectId;
use crate::index::Segment;
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events, Phase};
use crate::repo::control::{Condemned, Generation};
use crate::repo::segments::OwnSegments;
use crate::repo::sessions::{OpenSession, read_generation};
use crate::repo::write::Stored;
use crate::repo::{RepoError, Repository};
use crate::storage::{Family, Name, Put};
use std::collections::BTreeSet;

/// How often another number of a condemned set is tried.
const NUMBERS: u64 = 64;

/// What is to go: at most [`MAX_NAMES`] packs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Going {
    /// Packs, stored or not: one that is lost is named by the generation all the same, so that nobody relies on it.
    pub packs: BTreeSet<ObjectId>,
    /// Segments, beside those of which no pack is left.
    pub segments: BTreeSet<ObjectId>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Removed {
    /// These packs and so many segments are gone; others stay, since a run depends on them.
    Done { packs: BTreeSet<ObjectId>, segments: BTreeSet<ObjectId> },
    /// Others were at work: everything is looked at again.
    Again,
}

/// A removal of one session.
pub(crate) struct Removal<'r> {
    pub repo: &'r Repository,
    pub session: &'r OpenSession,
    /// End the sessions of all runs that have not ended.
    pub fence_all: bool,
    /// What the session has stored in segments.
    pub own: OwnSegments<'r>,
}

impl Removal<'_> {
    /// Removes packs and segments. `anew` is given the packs that go: when it returns, what can be had of them is durable,
    /// in segments, in other packs.
    pub fn carry_out(
        &self,
        going: &Going,
        anew: &mut dyn FnMut(&BTreeSet<ObjectId>) -> Result<Stored, RepoError>,
        events: &dyn Events,
    ) -> Result<Removed, RepoError> {
        let Self { repo, session, fence_all, own } = self;
        // What others stored since is of the newest key epoch.
        repo.newest_era()?;
        let base = repo.newest_generation()?;
        let sessions = Sessions::look(repo, Some(session.id), base, *fence_all)?;
        let mut packs = BTreeSet::new();
        for id in &going.packs {
            if !repo.index()?.is_removed(id)? {
                packs.insert(*id);
            }
        }
        let told = Told::read(repo, &packs)?;
        let mut segments = told.empty;
        segments.extend(&going.segments);
        // As many as one generation has room for; the rest is for the next one.
        segments = segments.into_iter().take(MAX_NAMES).collect();
        let set = Condemned {
            number: 0,
            base,
            session: Some(session.id),
            packs: packs.iter().copied().collect(),
            segments: segments.iter().copied().collect(),
            snapshots: Vec::new(),
        };
        let number = condemn(repo, &set)?;
        events.event(Event::Phase(Phase::Commit));
        let Rescued { named, going_on, unclear, .. } = sessions.look_again(repo, session.id, number)?;
        if unclear {
            return Ok(Removed::Again);
        }
        let all = packs.len();
        packs.retain(|id| !named.packs.contains(id) && (told.named.contains(id) || going_on.is_empty()));
        // The segments of which no pack is left were found for all of them.
        let keeps_some = packs.len() < all;
        segments.retain(|id| !named.segments.contains(id) && (!keeps_some || going.segments.contains(id)));
        if planted(Bug::RepairDeletesFirst) {
            packs.iter().try_for_each(|id| repo.storage().delete(&Name::pack(*id)))?;
        }
        let mut stored = anew(&packs)?;
        own.add(stored.segments);
        stored.segments = own.renew()?;
        announce(session, &stored)?;
        let generation = Generation {
            number: base + 1,
            condemned: number,
            previous: previous(repo, base)?,
            packs: packs.iter().copied().collect(),
            segments: segments.iter().copied().collect(),
            ..Generation::empty(0, ObjectId::from_bytes([0; 32]), session.id)
        };
        let (generation, put) = repo.publish_signed_generation(generation)?;
        if put == Put::Present {
            return Ok(Removed::Again);
        }
        // Also where an epoch began at that very moment: what goes must be told of by something that counts.
        own.renew()?;
        events.event(Event::Phase(Phase::Finish));
        // The index must not vouch any more for what goes.
        repo.apply_generations()?;
        sweep::Removed::by(&generation).delete(repo, events)?;
        let ended = Sessions::look(repo, Some(session.id), base + 1, false)?;
        sweep::tidy(repo, base + 1, &ended)?;
        Ok(Removed::Done { packs, segments })
    }

    /// Deletes what its session left, which has ended as done.
    pub fn forget_session(&self) -> Result<(), RepoError> {
        sweep::sessions(self.repo, &|id| id == self.session.id, true)
    }
}

/// What the segments that can be read tell of packs that are to go.
struct Told {
    named: BTreeSet<ObjectId>,
    /// Segments that name only packs that go, or are gone.
    empty: BTreeSet<ObjectId>,
}

impl Told {
    fn read(repo: &Repository, going: &BTreeSet<ObjectId>) -> Result<Self, RepoError> {
        let (mut named, mut empty) = (BTreeSet::new(), BTreeSet::new());
        repo.each_readable_segment(&mut |id, segment: Result<Segment, RepoError>| {
            let Ok(segment) = segment else { return Ok(()) };
            let (mut ours, mut others) = (0, 0);
            for pack in &segment.packs {
                if going.contains(&pack.id) {
                    named.insert(pack.id);
                    ours += 1;
                } else if !repo.index()?.is_removed(&pack.id)? {
                    others += 1;
                }
            }
            if ours > 0 && others == 0 {
                empty.insert(id);
            }
            Ok(())
        })?;
        Ok(Self { named, empty })
    }
}

/// Publishes a condemned set under the first free number; returns it.
pub(super) fn condemn(repo: &Repository, set: &Condemned) -> Result<u64, RepoError> {
    let objects = &repo.objects;
    let highest = objects.names(Family::Condemned)?.pop_last().and_then(|name| name.number()).unwrap_or(0);
    for number in highest + 1..=highest + NUMBERS {
        let set = Condemned { number, ..set.clone() };
        let means = |opened: &[u8]| Condemned::decode(opened).is_ok_and(|again| again == set);
        let (name, plain) = (Name::condemned(number), set.encode());
        if objects.put(ObjectKind::Condemned, &name, &plain, Some(set.session.unwrap_or(NOBODY)), &means)?
            == Put::Stored
        {
            return Ok(number);
        }
    }
    Err(RepoError::Refused("others prune all the time; try again".into()))
}

/// Returns the name of the generation before; zeros before the first.
pub(super) fn previous(repo: &Repository, base: u64) -> Result<ObjectId, RepoError> {
    if base == 0 {
        return Ok(ObjectId::from_bytes([0; 32]));
    }
    let read = read_generation(&repo.objects, base)?;
    read.map(|(_, id)| id).ok_or_else(|| lost(Name::generation(base), "it was there and is not any more"))
}
