//! Snapshots of which this machine keeps a copy: whoever looks for a parent need not read all of them anew, each in a round
//! to the storage.
//!
//! ```text
//! file cache: H(file cache key, "snapshot" | id) → the object's bytes as they are stored
//! ```
//!
//! A copy is believed because it hashes to the snapshot's name and opens as the object does, so it can neither be wrong nor be
//! read by somebody who cannot read the object. It says what a snapshot holds, never that there is such a snapshot: that the
//! object is stored is asked of the storage's listing first, and whoever relies on one asks [`Repository::alive_but`], which
//! reads the object itself, and its session's end.

use super::control::Verdict;
use super::many::read_each;
use super::{RepoError, Repository};
use crate::crypto::Secret;
use crate::crypto::header::ObjectKind;
use crate::id::{ObjectId, SessionId};
use crate::index::PageKey;
use crate::planted::{Bug, planted};
use crate::snapshot::{self, Snapshot};
use crate::storage::{Family, Name};
use std::collections::BTreeSet;

/// Longer objects are not kept: they are few, and a run may put only so much into the cache.
const LONGEST: usize = 64 << 10;
/// Copies that are written together.
const AT_ONCE: usize = 256;

/// Snapshots that are stored, perhaps, and not there for anybody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gone {
    /// Removed by generations, or forgotten.
    snapshots: BTreeSet<ObjectId>,
    /// Sessions that generations retired.
    sessions: BTreeSet<SessionId>,
}

/// A snapshot, and its copy if that is to be put into the cache.
type Read = (Snapshot, Option<(PageKey, Vec<u8>)>);

impl Repository {
    /// Returns which snapshots are removed or forgotten.
    pub(crate) fn what_is_gone(&self) -> Result<Gone, RepoError> {
        let forgotten = self.readable_retention()?.forgotten;
        let (mut snapshots, sessions) = self.removed()?;
        snapshots.extend(forgotten);
        Ok(Gone { snapshots, sessions })
    }

    /// Returns a snapshot if it is alive, as [`Repository::catalog`] has it.
    pub(crate) fn alive(&self, id: ObjectId) -> Result<Option<Snapshot>, RepoError> {
        self.alive_but(id, &self.what_is_gone()?)
    }

    /// Returns a snapshot if it is stored, its session committed it, and it is not gone.
    pub(crate) fn alive_but(&self, id: ObjectId, gone: &Gone) -> Result<Option<Snapshot>, RepoError> {
        self.assert_reads()?;
        if gone.snapshots.contains(&id) {
            return Ok(None);
        }
        let snapshot = match self.snapshot(id) {
            Err(RepoError::Storage(error)) if error.is_missing() => return Ok(None),
            read => read?,
        };
        let end = self.end_that_counts(snapshot.session, &|id| self.may_count(id)).transpose()?;
        let is_committed = end == Some(Verdict::Committed(id)) && !gone.sessions.contains(&snapshot.session);
        Ok((is_committed || planted(Bug::TrustKeptSnapshot)).then_some(snapshot))
    }

    /// Returns the snapshots that are stored and not gone, oldest first, without items, dumps and words for people. Whether
    /// their sessions committed them is to be asked ([`Repository::alive_but`]). Those that cannot be read are left out.
    pub(crate) fn perhaps_alive(&self, gone: &Gone) -> Result<Vec<(ObjectId, Snapshot)>, RepoError> {
        self.assert_reads()?;
        let mut ids = self.objects.ids(Family::Snapshots)?;
        for id in self.logged_but(&ids) {
            // Listings may lag.
            if self.objects.storage.len(&Name::snapshot(id))?.is_some() {
                ids.insert(id);
            }
        }
        let ids: Vec<ObjectId> = ids.difference(&gone.snapshots).copied().collect();
        let secret = self.objects.keyring.further("dedup 2026-11-21 file cache")?;
        let (mut snapshots, mut copies) = (Vec::with_capacity(ids.len()), Vec::new());
        for (id, read) in ids.iter().zip(read_each(&ids, |id| self.read_kept(*id, &secret))) {
            // Whoever lists them tells what is wrong with one.
            let Ok((snapshot, copy)) = read else { continue };
            copies.extend(copy);
            snapshots.push((*id, snapshot));
        }
        for copies in copies.chunks(AT_ONCE) {
            let pages = copies.iter().map(|(key, copy)| (key, &copy[..]));
            // What is not kept is read again.
            if !self.index()?.put_pages(pages).is_ok_and(|put| put) {
                break;
            }
        }
        Ok(self.in_order(snapshots))
    }

    /// Reads a snapshot from its copy, or else from the storage.
    fn read_kept(&self, id: ObjectId, secret: &Secret) -> Result<Read, RepoError> {
        let (kind, name) = (ObjectKind::Snapshot, Name::snapshot(id));
        let open = |stored: &[u8]| {
            let opened = self.objects.open_stored(kind, &name, stored.to_vec())?;
            Ok::<_, RepoError>(snapshot::decode(&opened.plain).map_err(|corrupt| corrupt.within(name))?)
        };
        let key = *blake3::keyed_hash(secret, &[b"snapshot", &id.as_bytes()[..]].concat()).as_bytes();
        // An index that fails is made anew when it is opened next; a run need not end for what is stored as well.
        if let Ok(Some(copy)) = self.index()?.page(&key)
            && let Ok(snapshot) = open(&copy.sealed)
        {
            return Ok((shortened(snapshot), copy.is_ageing.then_some((key, copy.sealed))));
        }
        let stored = self.objects.get_stored(kind, &name)?;
        let snapshot = shortened(open(&stored)?);
        Ok((snapshot, (stored.len() <= LONGEST).then_some((key, stored))))
    }
}

/// Leaves out what is long and says nothing of which snapshot is whose parent.
fn shortened(mut snapshot: Snapshot) -> Snapshot {
    snapshot.comment.clear();
    for account in &mut snapshot.accounts {
        account.reason.clear();
        (account.items, account.dumps, account.dependencies) = Default::default();
    }
    snapshot
}
