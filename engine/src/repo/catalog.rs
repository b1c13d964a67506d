//! Which snapshots there are: those whose session committed them and that no generation removed.

use super::control::Verdict;
use super::many::read_each;
use super::order::{Dated, order};
use super::sessions::{read_end, read_end_of, read_generation};
use super::{RepoError, Repository};
use crate::crypto::header::ObjectKind;
use crate::error::Corrupt;
use crate::id::{ObjectId, SessionId};
use crate::log::Memory;
use crate::planted::{Bug, planted};
use crate::snapshot::{self, Snapshot};
use crate::storage::{Family, Name, Part};
use std::collections::{BTreeMap, BTreeSet};

/// Snapshots that can be read, oldest first, and the faults of the others.
pub type Catalog = (Vec<(ObjectId, Snapshot)>, Vec<(ObjectId, RepoError)>);

/// Names of snapshots that are stored, and the faults of the others.
pub(crate) type Committed = (Vec<ObjectId>, Vec<(ObjectId, RepoError)>);

fn missing(id: ObjectId, session: SessionId) -> RepoError {
    let wrong = format!("missing, but {} says that it was committed", Name::end(session));
    Corrupt::new(Name::snapshot(id).to_string(), wrong).into()
}

impl Repository {
    /// Returns every alive snapshot, oldest first.
    ///
    /// A snapshot whose session has not ended with `committed` does not exist for anyone. Damage of one
    /// is an error that names it: a listing that silently lacks a snapshot would be a lie.
    pub fn snapshots(&self) -> Result<Vec<(ObjectId, Snapshot)>, RepoError> {
        let (all, mut faults) = self.catalog()?;
        match faults.pop() {
            Some((_, fault)) => Err(fault),
            None => Ok(all),
        }
    }

    /// Returns every alive snapshot that can be read, oldest first, and the faults of the others: those whose
    /// object or end is damaged, and those that a session committed or the log tells of, nothing removed, and that are not
    /// stored.
    ///
    /// What is forgotten is not there. If what says so is damaged, everything is.
    pub fn catalog(&self) -> Result<Catalog, RepoError> {
        let forgotten = self.readable_retention()?.forgotten;
        let (mut snapshots, mut faults) = self.catalog_with_forgotten()?;
        snapshots.retain(|(id, _)| !forgotten.contains(id));
        faults.retain(|(id, _)| !forgotten.contains(id));
        Ok((snapshots, faults))
    }

    /// The same, with those that are forgotten and that no prune has removed yet.
    pub fn catalog_with_forgotten(&self) -> Result<Catalog, RepoError> {
        self.catalog_where(&|id| self.may_count(id))
    }

    /// The same, with those that were committed under an earlier key epoch and have no entry: a run may be about to write
    /// it, so that nothing of them may be removed.
    pub(crate) fn catalog_with_unlogged(&self) -> Result<Catalog, RepoError> {
        self.catalog_where(&|_| true)
    }

    fn catalog_where(&self, counts: &(dyn Fn(&ObjectId) -> bool + Sync)) -> Result<Catalog, RepoError> {
        self.assert_reads()?;
        // In this order: a snapshot is stored before its end, and a generation before it is deleted.
        let mut ends = self.ends(counts)?;
        let mut ids = self.objects.ids(Family::Snapshots)?;
        for id in self.logged_but(&ids) {
            // Listings may lag.
            if self.objects.storage.len(&Name::snapshot(id))?.is_some() {
                ids.insert(id);
            }
        }
        let (removed, retired) = self.removed()?;
        let (mut snapshots, mut faults) = (Vec::new(), Vec::new());
        let stay: Vec<ObjectId> = ids.difference(&removed).copied().collect();
        for (id, snapshot) in stay.iter().zip(read_each(&stay, |id| self.snapshot(*id))) {
            let snapshot = match snapshot {
                Ok(snapshot) => snapshot,
                // Removed between the listing and now.
                Err(RepoError::Storage(error)) if error.is_missing() => continue,
                Err(fault) => {
                    faults.push((*id, fault));
                    continue;
                }
            };
            let mut end = ends.remove(&snapshot.session);
            if end.is_none() && self.is_logged(id) {
                end = read_end(&self.objects, snapshot.session).transpose();
            }
            match end {
                Some(Err(fault)) => faults.push((*id, fault)),
                Some(Ok(Verdict::Committed(committed)))
                    if committed == *id && !retired.contains(&snapshot.session) =>
                {
                    snapshots.push((*id, snapshot));
                }
                _ if self.is_logged(id) && !planted(Bug::TrustStorageOnly) => {
                    let wrong = "it is not there, though the log says that the snapshot was committed";
                    faults.push((*id, Corrupt::new(Name::end(snapshot.session).to_string(), wrong).into()));
                }
                _ => {}
            }
        }
        let mut lost = BTreeSet::new();
        for (session, end) in ends {
            if let Ok(Verdict::Committed(id)) = end
                && !(ids.contains(&id) || removed.contains(&id) || retired.contains(&session))
            {
                faults.push((id, missing(id, session)));
                lost.insert(id);
            }
        }
        for id in self.logged_but(&ids).difference(&removed).filter(|id| !lost.contains(id)) {
            if planted(Bug::TrustStorageOnly) {
                break;
            }
            let wrong = "missing, but the log says that it was committed, and nobody removed it";
            faults.push((*id, Corrupt::new(Name::snapshot(*id).to_string(), wrong).into()));
        }
        Ok((self.in_order(snapshots), faults))
    }

    /// Puts snapshots in order, oldest first.
    pub(super) fn in_order(&self, snapshots: Vec<(ObjectId, Snapshot)>) -> Vec<(ObjectId, Snapshot)> {
        let ranks = self.ranks(snapshots.iter().map(|(id, _)| *id));
        let dated = snapshots.iter().zip(ranks);
        let dated: Vec<Dated<'_>> =
            dated.map(|((id, snapshot), rank)| Dated { id: *id, snapshot, rank }).collect();
        let placed = order(&dated, i64::MAX).placed;
        let mut all: Vec<_> = snapshots.into_iter().map(Some).collect();
        placed.into_iter().filter_map(|one| all[one.at].take()).collect()
    }

    /// Returns how many entries of the log those follow that made these snapshots; nothing of snapshots without one, and
    /// of all if the log contradicts itself, which is told elsewhere.
    pub(crate) fn ranks(&self, ids: impl Iterator<Item = ObjectId>) -> Vec<Option<u64>> {
        let _ = self.know_log();
        let ids: Vec<ObjectId> = ids.collect();
        let of = |memory: &Memory| ids.iter().map(|id| memory.alive.get(id).copied()).collect();
        self.with_log(of).unwrap_or_else(|| vec![None; ids.len()])
    }

    /// Returns the names of the snapshots that sessions committed and that are neither removed nor forgotten, whoever can
    /// read them, and the faults of those among them that are not stored.
    pub(crate) fn committed(&self) -> Result<Committed, RepoError> {
        let forgotten = self.readable_retention()?.forgotten;
        let ends = self.ends(&|id| self.may_count(id))?;
        let stored = self.objects.ids(Family::Snapshots)?;
        let (removed, retired) = self.removed()?;
        let (mut there, mut faults) = (Vec::new(), Vec::new());
        for (session, end) in ends {
            match end {
                Ok(Verdict::Committed(id)) if removed.contains(&id) || retired.contains(&session) => {}
                Ok(Verdict::Committed(id)) if forgotten.contains(&id) => {}
                Ok(Verdict::Committed(id)) if stored.contains(&id) => there.push(id),
                Ok(Verdict::Committed(id)) => faults.push((id, missing(id, session))),
                _ => {}
            }
        }
        Ok((there, faults))
    }

    /// Returns the names of all snapshot objects, also of those that are not there for anybody.
    pub(crate) fn stored_snapshots(&self) -> Result<BTreeSet<ObjectId>, RepoError> {
        self.objects.ids(Family::Snapshots)
    }

    pub(crate) fn snapshot(&self, id: ObjectId) -> Result<Snapshot, RepoError> {
        let name = Name::snapshot(id);
        let plain = self.objects.get(ObjectKind::Snapshot, &name)?;
        Ok(snapshot::decode(&plain).map_err(|corrupt| corrupt.within(name))?)
    }

    /// Returns whether a snapshot that was committed under an earlier key epoch counts: the log knows it, or contradicts
    /// itself, which is told elsewhere.
    pub(super) fn may_count(&self, id: &ObjectId) -> bool {
        // A contradiction leaves nothing that is known.
        let _ = self.know_log();
        self.with_log(|memory| memory.alive.contains_key(id)).unwrap_or(true)
    }

    /// Returns how every session ended that has. One that committed under an earlier key epoch than the newest counts if
    /// its snapshot is logged: who was left out could commit what he likes (`FORMAT.md` 16).
    pub(super) fn ends(
        &self,
        is_logged: &(dyn Fn(&ObjectId) -> bool + Sync),
    ) -> Result<BTreeMap<SessionId, Result<Verdict, RepoError>>, RepoError> {
        let ended = |name| match name {
            Name::Session(id, Part::End) => Some(id),
            _ => None,
        };
        let ended: Vec<SessionId> =
            self.objects.names(Family::Sessions)?.into_iter().filter_map(ended).collect();
        let ends = read_each(&ended, |id| Some((*id, self.end_that_counts(*id, is_logged)?)));
        Ok(ends.into_iter().flatten().collect())
    }

    /// Returns how a session ended, if it has and if that counts.
    pub(crate) fn end_that_counts(
        &self,
        session: SessionId,
        is_logged: &(dyn Fn(&ObjectId) -> bool + Sync),
    ) -> Option<Result<Verdict, RepoError>> {
        match read_end_of(&self.objects, session).transpose()? {
            Ok((Verdict::Committed(snapshot), epoch))
                if epoch < self.objects.keyring.epoch()
                    && !is_logged(&snapshot)
                    && !planted(Bug::BelieveOldEnds) =>
            {
                None
            }
            end => Some(end.map(|(verdict, _)| verdict)),
        }
    }

    /// Returns what generations removed: snapshots and sessions.
    pub(super) fn removed(&self) -> Result<(BTreeSet<ObjectId>, BTreeSet<SessionId>), RepoError> {
        let (mut snapshots, mut sessions) = (BTreeSet::new(), BTreeSet::new());
        let mut number = 1;
        while let Some((generation, _)) = read_generation(&self.objects, number)? {
            snapshots.extend(generation.snapshots);
            sessions.extend(generation.retired);
            number += 1;
        }
        Ok((snapshots, sessions))
    }
}
