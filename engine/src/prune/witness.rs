//! Who else is at work: sessions, their intents and how they ended.

use crate::crypto::header::ObjectKind;
use crate::id::{ObjectId, SessionId};
use crate::planted::{Bug, planted};
use crate::repo::control::{Intent, Session, Verdict};
use crate::repo::sessions::read_end;
use crate::repo::{RepoError, Repository};
use crate::storage::{Family, Name, Part, Put};
use std::collections::{BTreeMap, BTreeSet};

/// A session that has lived through so many generations without an end is taken for dead. To be wrong costs its run
/// a new session, and perhaps that it stores something again.
const GENERATIONS_TO_LIVE: u64 = 2;

/// Sessions as they were at one look.
pub(super) struct Sessions {
    /// How those ended that have.
    pub ended: BTreeMap<SessionId, Verdict>,
    /// Those that have not, whether they are to be fenced.
    pub open: BTreeMap<SessionId, bool>,
}

/// What a session depends on.
#[derive(Default)]
pub(super) struct Named {
    pub snapshots: BTreeSet<ObjectId>,
    pub packs: BTreeSet<ObjectId>,
    pub segments: BTreeSet<ObjectId>,
    pub is_whole: bool,
}

impl Named {
    fn add(&mut self, other: Named) {
        self.snapshots.extend(other.snapshots);
        self.packs.extend(other.packs);
        self.segments.extend(other.segments);
    }
}

/// What the second look found.
#[derive(Default)]
pub(super) struct Rescued {
    /// What runs that go on, or that have committed meanwhile, depend on.
    pub named: Named,
    /// Runs that go on: packs in no segment may be theirs.
    pub going_on: BTreeSet<SessionId>,
    /// Sessions that were fenced.
    pub fenced: u64,
    /// A run has committed without saying all that it depends on.
    pub unclear: bool,
}

fn begun(names: &BTreeSet<Name>) -> impl Iterator<Item = SessionId> + '_ {
    names.iter().filter_map(|name| match name {
        Name::Session(id, Part::Begin) => Some(*id),
        _ => None,
    })
}

fn session(repo: &Repository, id: SessionId) -> Result<Option<Session>, RepoError> {
    let name = Name::session(id);
    match repo.objects.get(ObjectKind::Session, &name) {
        Ok(plain) => Ok(Some(Session::decode(&plain).map_err(|corrupt| corrupt.within(name))?)),
        // Somebody cleans up after it: it has ended.
        Err(RepoError::Storage(error)) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Sessions {
    /// Reads which sessions there are and how they ended, `own` aside. One that cannot be read is an error: it may
    /// depend on anything.
    pub fn look(
        repo: &Repository,
        own: Option<SessionId>,
        base: u64,
        fence_all: bool,
    ) -> Result<Self, RepoError> {
        let names = repo.objects.names(Family::Sessions)?;
        let (mut ended, mut open) = (BTreeMap::new(), BTreeMap::new());
        for name in &names {
            if let Name::Session(id, Part::End) = name
                && let Some(verdict) = read_end(&repo.objects, *id)?
            {
                ended.insert(*id, verdict);
            }
        }
        for id in begun(&names).filter(|id| Some(*id) != own && !ended.contains_key(id)) {
            if let Some(session) = session(repo, id)? {
                let is_stale = session.generation.saturating_add(GENERATIONS_TO_LIVE) <= base;
                open.insert(id, is_stale || fence_all);
            }
        }
        Ok(Self { ended, open })
    }

    /// Returns the sessions whose runs are to be spared.
    pub fn running(&self) -> BTreeSet<SessionId> {
        if planted(Bug::PruneTakesUnlisted) {
            return BTreeSet::new();
        }
        self.open.iter().filter(|(_, fence)| !**fence).map(|(id, _)| *id).collect()
    }

    /// Looks again, after the condemned set is there: at intents, *then* at ends. Fences those that are to be.
    pub fn look_again(
        &self,
        repo: &Repository,
        own: SessionId,
        condemned: u64,
    ) -> Result<Rescued, RepoError> {
        let mut rescued = Rescued::default();
        if planted(Bug::PruneLooksOnce) {
            return Ok(rescued);
        }
        let names = repo.objects.names(Family::Sessions)?;
        let mut intents: BTreeMap<SessionId, Named> = BTreeMap::new();
        for id in begun(&names).filter(|id| *id != own && !self.ended.contains_key(id)) {
            // It must open, or it may depend on anything.
            session(repo, id)?;
            intents.insert(id, Named::default());
        }
        for name in &names {
            let Name::Session(id, Part::Intent(_)) = name else { continue };
            let Some(named) = intents.get_mut(id) else { continue };
            let plain = match repo.objects.get(ObjectKind::Intent, name) {
                Ok(plain) => plain,
                // Intents go only after an end; which one, is read below.
                Err(RepoError::Storage(error)) if error.is_missing() => continue,
                Err(error) => return Err(error),
            };
            let intent = Intent::decode(&plain).map_err(|corrupt| corrupt.within(name))?;
            named.is_whole |= intent.is_final;
            named.snapshots.extend(intent.snapshots);
            named.packs.extend(intent.packs.into_iter().chain(intent.own_packs));
            named.segments.extend(intent.own_segments);
        }
        for (id, named) in intents {
            let mut end = read_end(&repo.objects, id)?;
            if end.is_none() && self.open.get(&id) == Some(&true) {
                end = Some(fence(repo, id, condemned)?);
                rescued.fenced += 1;
            }
            match end {
                Some(Verdict::Committed(_)) => {
                    rescued.unclear |= !named.is_whole;
                    rescued.named.add(named);
                }
                Some(_) => {}
                None => {
                    rescued.going_on.insert(id);
                    rescued.named.add(named);
                }
            }
        }
        Ok(rescued)
    }
}

/// Ends a session that is taken for dead; whoever ends it first decides.
fn fence(repo: &Repository, id: SessionId, condemned: u64) -> Result<Verdict, RepoError> {
    let (name, verdict) = (Name::end(id), Verdict::Fenced(condemned));
    let means = |opened: &[u8]| Verdict::decode(opened).is_ok_and(|again| again == verdict);
    match repo.objects.put(ObjectKind::End, &name, &verdict.encode(), None, &means)? {
        Put::Stored => Ok(verdict),
        Put::Present => {
            let gone = || RepoError::Refused(format!("{name} is there and not there; try again"));
            read_end(&repo.objects, id)?.ok_or_else(gone)
        }
    }
}
