//! Lost chunks out of another repository that has copies of the same snapshots.
//!
//! Its chunks have other names, so it is not asked for chunks but for snapshots: those that lost something here are carried
//! over once more, as a copy is. Names are a function of bytes, and maps of their entries, so whatever is lost comes under
//! its old name, which was never believed but made of the bytes; what is not lost is there already.

use super::losses::{self, Reach};
use super::salvage::Salvage;
use super::{How, RepairError, found};
use crate::backup::Sinks;
use crate::copy::{Carry, CopyError, Memo};
use crate::id::ObjectId;
use crate::map::Class;
use crate::progress::{Event, Events, Phase};
use crate::prune::Removal;
use crate::repo::control::{Purpose, Verdict};
use crate::repo::segments::OwnSegments;
use crate::repo::sessions::{Dependencies, OpenSession};
use crate::repo::write::{Meter, Store, StoreOptions, store_chunks};
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Account, Form, Origin, Snapshot};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Another repository that may have what is lost. It needs its index.
#[derive(Clone, Copy)]
pub struct Donor<'a> {
    /// The repository.
    pub from: &'a Repository,
}

/// Stores lost chunks anew as far as the other repository has them; returns how many chunks were stored.
pub(super) fn lost_chunks(
    repo: &Repository,
    donor: &Donor<'_>,
    salvage: &Salvage<'_>,
    damaged: &BTreeMap<ObjectId, String>,
    how: &How<'_>,
    events: &dyn Events,
) -> Result<u64, RepairError> {
    if salvage.lost == 0 || how.dry_run {
        return Ok(0);
    }
    if donor.from.id() == repo.id() {
        let same = "it is the same repository: what is lost here is lost there";
        return Err(RepairError::Other(RepoError::Refused(same.into())));
    }
    let wanted = wanted(repo, salvage, events)?;
    let there = donor.from.catalog().map_err(RepairError::Other)?.0;
    let there: Vec<Snapshot> = there
        .into_iter()
        .filter(|(id, snapshot)| wanted.contains(&snapshot.original(donor.from.id(), *id)))
        .map(|(_, snapshot)| snapshot)
        .collect();
    if there.is_empty() {
        events.event(Event::Notice(
            "the other repository has none of the snapshots that lost something".into(),
        ));
        return Ok(0);
    }
    events.event(Event::Phase(Phase::Store));
    repo.index()?.begin_run().map_err(RepoError::from)?;
    let seen = repo.newest_generation()?;
    let session = OpenSession::begin(&repo.objects, Purpose::Repair, how.host, how.now, seen)?;
    let own = OwnSegments::new(repo, session.id);
    let avoid: BTreeSet<ObjectId> = damaged.keys().copied().collect();
    let options = StoreOptions {
        session: session.id,
        level: how.level,
        coders: repo.budget.threads(how.threads, how.level),
        dry_run: false,
        anew: false,
        avoid: &avoid,
        sign_of_life: &|| session.progress(),
        elapsed: how.elapsed,
    };
    // Also what an interrupted fetch stored: the next one finds it without reading it.
    let memo = RefCell::new(Memo::new(repo, donor.from.id())?);
    let stored = store_chunks(repo, &options, |store| {
        let load = Load { from: donor.from, to: repo, store, memo: &memo, events };
        there.iter().flat_map(|snapshot| &snapshot.accounts).try_for_each(|account| load.account(account))
    });
    let stored = match stored {
        Ok(((), stored)) => stored,
        Err(error) => {
            // Best effort: a later prune ends it.
            let _ = session.end(Verdict::Done);
            return Err(error);
        }
    };
    memo.into_inner().flush()?;
    own.add(stored.segments);
    session.publish(&Dependencies {
        snapshots: Vec::new(),
        packs: stored.relied_on,
        own_packs: stored.packs,
        own_segments: own.renew()?,
    })?;
    session.end(Verdict::Done)?;
    Removal { repo, session: &session, fence_all: false, own }.forget_session()?;
    Ok(stored.chunks_new)
}

/// Returns of which snapshots those are copies, or originals, that lost something.
fn wanted(
    repo: &Repository,
    salvage: &Salvage<'_>,
    events: &dyn Events,
) -> Result<BTreeSet<Origin>, RepairError> {
    let stored = found::stored(repo)?;
    let reach = Reach::new(repo, &stored, Some(salvage));
    let (snapshots, faults) = repo.catalog()?;
    let mut wanted: BTreeSet<Origin> =
        faults.iter().map(|(id, _)| Origin { repo: repo.id(), snapshot: *id }).collect();
    for (id, snapshot) in &snapshots {
        if losses::of_snapshot(&reach, (id, snapshot), events, &mut |_| Ok(()))?.losses > 0 {
            wanted.insert(snapshot.original(repo.id(), *id));
        }
    }
    Ok(wanted)
}

/// What is carried from where to where.
struct Load<'l, 'm> {
    from: &'l Repository,
    to: &'l Repository,
    store: &'l Store<'l>,
    memo: &'l RefCell<Memo<'m>>,
    events: &'l dyn Events,
}

impl Load<'_, '_> {
    /// Carries all that an account refers to. What is damaged there too is passed over.
    fn account(&self, account: &Account) -> Result<(), RepairError> {
        for class in [Class::Open, Class::Secrets] {
            let sinks = Sinks::new(self.store, class, Arc::new(Meter::default()));
            let carry = Carry::new(self.from, self.to, &sinks, self.events)?;
            let memo = self.memo;
            for listing in account.listings.iter().filter(|listing| listing.root.class == class) {
                self.pass(carry.listing(memo, &listing.root, &|_, _| true))?;
                self.pass(carry.map(memo, &listing.problems, &mut |_, _| true))?;
            }
            for dump in account.dumps.iter().filter(|dump| dump.section.class() == class) {
                match dump.form {
                    Form::Records => self.pass(carry.map(memo, &dump.root, &mut |_, _| true))?,
                    Form::Listing => self.pass(carry.listing(memo, &dump.root, &|_, _| true))?,
                }
                self.pass(carry.blob(memo, &dump.schema))?;
            }
            if class == Class::Open {
                self.pass(carry.blob(memo, &account.manifest))?;
            }
            carry.finish()?;
        }
        Ok(())
    }

    fn pass<T>(&self, carried: Result<T, CopyError>) -> Result<(), RepairError> {
        match carried {
            Err(CopyError::Source(error)) if error.is_damage() => {
                self.events.event(Event::Notice(format!("the other repository is damaged too: {error}")));
                Ok(())
            }
            carried => Ok(carried.map(drop)?),
        }
    }
}
