//! Which snapshots there are: those whose session committed them and that no generation removed.

use super::control::Verdict;
use super::sessions::{read_end, read_generation};
use super::{RepoError, Repository};
use crate::crypto::header::ObjectKind;
use crate::id::{ObjectId, SessionId};
use crate::snapshot::{self, Snapshot};
use crate::storage::{Family, Name};
use std::collections::BTreeSet;

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

    /// Returns every alive snapshot that can be read, oldest first, and the faults of the others.
    #[expect(clippy::type_complexity, reason = "two lists by name")]
    pub fn catalog(&self) -> Result<(Vec<(ObjectId, Snapshot)>, Vec<(ObjectId, RepoError)>), RepoError> {
        let mut ids = Vec::new();
        let mut each = |name: Name, _: u64| {
            ids.extend(name.object_id());
            Ok(())
        };
        self.objects.storage.list(Family::Snapshots, &mut each, &mut |_| {})?;
        let (removed, retired) = self.removed()?;
        let (mut snapshots, mut faults) = (Vec::new(), Vec::new());
        for id in ids.into_iter().filter(|id| !removed.contains(id)) {
            match self.committed(id, &retired) {
                Ok(Some(snapshot)) => snapshots.push((id, snapshot)),
                Ok(None) => {}
                // Removed between the listing and now.
                Err(RepoError::Storage(error)) if error.is_missing() => {}
                Err(fault) => faults.push((id, fault)),
            }
        }
        snapshots.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
        Ok((snapshots, faults))
    }

    /// Returns a snapshot if its session committed it.
    fn committed(&self, id: ObjectId, retired: &BTreeSet<SessionId>) -> Result<Option<Snapshot>, RepoError> {
        let name = Name::snapshot(id);
        let plain = self.objects.get(ObjectKind::Snapshot, &name)?;
        let snapshot = snapshot::decode(&plain).map_err(|corrupt| corrupt.within(name))?;
        let committed = !retired.contains(&snapshot.session)
            && read_end(&self.objects, snapshot.session)? == Some(Verdict::Committed(id));
        Ok(committed.then_some(snapshot))
    }

    /// Returns what generations removed: snapshots and sessions.
    fn removed(&self) -> Result<(BTreeSet<ObjectId>, BTreeSet<SessionId>), RepoError> {
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
