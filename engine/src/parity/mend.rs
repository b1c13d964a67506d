//! What is lost or damaged is rebuilt: packs from their groups, shards from their packs.
//!
//! Everything is read first, packs and shards, and compared with names. Only then, and only if there is something to
//! do, anything is written: packs, each compared with its name; shards that are lacking; and when all of a group is
//! whole, a generation that removes its damaged shards. Whatever is cut off in between, the same can be done again.

use super::code::Encoder;
use super::columns::{Columns, Fault, Work, encode, head, pack_fault, piece_fault, windows};
use super::cover::Cover;
use super::groups::{self, Groups};
use super::mended::{BadPack, MendOptions, MendReport, Outcome};
use super::object::{self, GroupKey, Piece};
use super::rebuild::{Plan, rebuilt};
use super::{begin, drop, end};
use crate::error::Corrupt;
use crate::id::ObjectId;
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events, Phase};
use crate::repo::sessions::OpenSession;
use crate::repo::{RepoError, Repository};
use crate::storage::{Name, Put};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Reads all packs and shards of all groups, and rebuilds what is lost or damaged.
pub fn repair(
    repo: &Repository,
    options: &MendOptions,
    events: &dyn Events,
) -> Result<MendReport, RepoError> {
    repo.assert_reads()?;
    mend(repo, None, options, events)
}

/// Rebuilds these packs, if they are lost or damaged, and whatever else is in the groups that they are in.
pub fn rebuild(
    repo: &Repository,
    packs: &BTreeSet<ObjectId>,
    options: &MendOptions,
    events: &dyn Events,
) -> Result<MendReport, RepoError> {
    mend(repo, Some(packs), options, events)
}

/// A repair under way.
pub(super) struct Mending<'w, 'a> {
    pub work: &'w Work<'a>,
    options: &'w MendOptions,
    session: Option<OpenSession>,
    /// What is wrong with packs that were read; nothing: they are sound.
    pub packs: BTreeMap<ObjectId, Option<Fault>>,
    /// What is wrong with parity objects, likewise.
    pub pieces: BTreeMap<ObjectId, Option<Fault>>,
    refused: BTreeMap<ObjectId, String>,
    report: MendReport,
}

fn mend(
    repo: &Repository,
    wanted: Option<&BTreeSet<ObjectId>>,
    options: &MendOptions,
    events: &dyn Events,
) -> Result<MendReport, RepoError> {
    events.event(Event::Phase(Phase::Structure));
    repo.catch_up(events)?;
    let mut groups = Groups::look(repo, events)?;
    let is_wanted =
        |key: &GroupKey| wanted.is_none_or(|wanted| key.packs.iter().any(|(id, _)| wanted.contains(id)));
    groups.all.retain(|key, _| is_wanted(key));
    let work = Work::new(repo, options.threads, events)?;
    let mut mending = Mending {
        work: &work,
        options,
        session: None,
        packs: BTreeMap::new(),
        pieces: BTreeMap::new(),
        refused: BTreeMap::new(),
        report: MendReport { groups: groups.all.len() as u64, ..MendReport::default() },
    };
    mending.read(&groups)?;
    let bad: Vec<(ObjectId, String)> = mending.bad_packs()?;
    let result = mending.all(&groups);
    let (session, refused, packs) = (mending.session, mending.refused, mending.packs);
    let (mut report, mut useless) = (mending.report, BTreeSet::new());
    match session {
        Some(session) => useless.extend(end(repo, session, result)?),
        None => useless.extend(result?),
    }
    let outcome = |id: &ObjectId| match refused.get(id) {
        Some(why) => Outcome::Refused(why.clone()),
        None if options.dry_run => Outcome::Possible,
        None => Outcome::Rebuilt,
    };
    report.packs = bad.into_iter().map(|(id, why)| BadPack { outcome: outcome(&id), id, why }).collect();
    // Of which group an object was that does not open, nobody knows: it goes when all groups are whole.
    let headless = groups.faults.iter().filter(|(_, is_damaged, _)| *is_damaged);
    if report.is_whole() && wanted.is_none() && !groups.all.is_empty() {
        useless.extend(headless.map(|(id, ..)| *id));
    }
    report.objects_damaged.extend(groups.faults.iter().map(|(id, _, why)| (*id, why.clone())));
    let others = wanted.into_iter().flatten().filter(|id| !packs.contains_key(id));
    report.packs.extend(others.map(|id| BadPack {
        id: *id,
        why: "it is in no group".into(),
        outcome: Outcome::Refused("there is no parity for it".into()),
    }));
    if wanted.is_none() {
        let index = repo.index()?;
        for id in groups::stored_packs(repo)?.keys().filter(|id| !packs.contains_key(id)) {
            report.packs_unread += u64::from(index.pack_number(id)?.is_some() && !index.is_removed(id)?);
        }
    }
    if !options.dry_run && !useless.is_empty() {
        report.objects_removed = drop::objects(repo, &useless, events)?.objects;
    }
    Ok(report)
}

impl Mending<'_, '_> {
    /// Reads every pack and every parity object of the groups, once.
    fn read(&mut self, groups: &Groups) -> Result<(), RepoError> {
        let (work, storage) = (self.work, self.work.storage());
        let lens: BTreeMap<ObjectId, u64> =
            groups.all.keys().flat_map(|key| key.packs.iter().copied()).collect();
        let packs: Vec<(ObjectId, u64)> = lens.into_iter().collect();
        let pieces: Vec<&Piece> = groups.all.values().flatten().collect();
        let bytes =
            packs.iter().map(|(_, len)| *len).chain(pieces.iter().map(|piece| piece.stored_len())).sum();
        work.events.event(Event::Phase(Phase::Data));
        let entries = (packs.len() + pieces.len()) as u64;
        work.events.event(Event::Expect { entries, bytes, complete: true });
        let done = |bytes| work.events.event(Event::Done { entries: 1, bytes, path: None });
        let of_pack = |(id, len): &(ObjectId, u64)| {
            work.stop_if_asked()?;
            let mut fault = pack_fault(storage, *id, *len)?;
            // Longer than it may be, though what was read is as it was.
            if fault.is_none() && storage.len(&Name::pack(*id))? != Some(*len) {
                fault = Some(Fault::wrong_bytes());
            }
            done(*len);
            Ok((*id, fault))
        };
        let of_piece = |piece: &&Piece| {
            work.stop_if_asked()?;
            let fault = piece_fault(storage, piece)?;
            done(piece.stored_len());
            Ok((piece.id, fault))
        };
        type Read = Result<BTreeMap<ObjectId, Option<Fault>>, RepoError>;
        self.packs = work.pool.install(|| packs.par_iter().map(of_pack).collect::<Read>())?;
        self.pieces = work.pool.install(|| pieces.par_iter().map(of_piece).collect::<Read>())?;
        self.report.packs_read = packs.len() as u64;
        self.report.objects_read = pieces.len() as u64;
        self.report.bytes_read = bytes;
        let damaged = self.pieces.iter().filter_map(|(id, fault)| Some((*id, fault.as_ref()?.why.clone())));
        self.report.objects_damaged = damaged.collect();
        Ok(())
    }

    /// Returns the packs that are to be rebuilt; those that were removed on purpose are not.
    fn bad_packs(&self) -> Result<Vec<(ObjectId, String)>, RepoError> {
        let mut bad = Vec::new();
        for (id, fault) in &self.packs {
            if let Some(fault) = fault
                && !self.is_removed(id)?
            {
                bad.push((*id, fault.why.clone()));
            }
        }
        Ok(bad)
    }

    pub(super) fn is_removed(&self, id: &ObjectId) -> Result<bool, RepoError> {
        Ok(self.work.repo.index()?.is_removed(id)?)
    }

    /// Rebuilds packs group by group, as long as one helps another; then shards. Returns the parity objects that are
    /// damaged and not needed any more.
    fn all(&mut self, groups: &Groups) -> Result<Vec<ObjectId>, RepoError> {
        self.work.events.event(Event::Phase(Phase::Store));
        loop {
            let mut came_back = 0;
            for (key, pieces) in &groups.all {
                came_back += self.group(key, pieces)?;
            }
            if came_back == 0 {
                break;
            }
        }
        let mut useless = Vec::new();
        for (key, pieces) in &groups.all {
            useless.extend(self.shards(key, pieces)?);
        }
        Ok(useless)
    }

    fn cover(&self, key: &GroupKey, pieces: &[Piece]) -> Cover {
        let is_good = |piece: &Piece| self.pieces.get(&piece.id).is_some_and(Option::is_none);
        Cover::new(pieces, key.shards, key.shard_len(), &is_good)
    }

    /// Rebuilds what is lost of a group; returns how many packs came back.
    fn group(&mut self, key: &GroupKey, pieces: &[Piece]) -> Result<usize, RepoError> {
        let cover = self.cover(key, pieces);
        let Some(plan) = Plan::new(self, key, &cover)? else { return Ok(0) };
        if let Some(why) = plan.lacks() {
            plan.wanted().for_each(|id| {
                self.refused.insert(id, why.clone());
            });
            return Ok(0);
        }
        plan.wanted().for_each(|id| {
            self.refused.remove(&id);
        });
        if self.options.dry_run {
            // As if they were there: others may be rebuilt from them.
            let possible: Vec<ObjectId> = plan.wanted().collect();
            self.packs.extend(possible.iter().map(|id| (*id, None)));
            return Ok(possible.len());
        }
        let mut came_back = 0;
        for batch in plan.batches(self.work.repo.budget) {
            for (id, bytes) in rebuilt(self.work, key, pieces, &cover, &plan, &batch)? {
                if *blake3::hash(&bytes).as_bytes() != *id.as_bytes() && !planted(Bug::StoreUncompared) {
                    let why = "what was rebuilt does not hash to its name: a shard is wrong, or the storage gave other bytes";
                    self.refused.insert(id, why.into());
                    continue;
                }
                self.session()?;
                self.put_back(id, &bytes)?;
                self.packs.insert(id, None);
                came_back += 1;
            }
        }
        Ok(came_back)
    }

    fn session(&mut self) -> Result<&OpenSession, RepoError> {
        if self.session.is_none() {
            self.session = Some(begin(self.work.repo, &self.options.doer)?);
        }
        self.session.as_ref().ok_or_else(|| RepoError::Internal("no session".into()))
    }

    /// Stores a pack again. What has its name and is not what the name says gives way: it is no object of the
    /// repository, and the name was given to these bytes.
    fn put_back(&self, id: ObjectId, bytes: &[u8]) -> Result<(), RepoError> {
        let (repo, name) = (self.work.repo, Name::pack(id));
        repo.apply_generations()?;
        if self.is_removed(&id)? || repo.objects.put_unchanged(&name, bytes, id)? == Put::Stored {
            return Ok(());
        }
        // Somebody else may have been quicker.
        let len = bytes.len() as u64;
        let is_whole = || -> Result<bool, RepoError> {
            Ok(repo.storage().len(&name)? == Some(len) && pack_fault(self.work.storage(), id, len)?.is_none())
        };
        if is_whole()? {
            return Ok(());
        }
        repo.storage().replace(&name, bytes)?;
        if is_whole()? {
            Ok(())
        } else {
            Err(Corrupt::new(name.to_string(), "it was stored again, and is damaged again").into())
        }
    }

    /// Computes and stores the parts of shards that a group lacks. Returns its damaged objects, once it is whole.
    fn shards(&mut self, key: &GroupKey, pieces: &[Piece]) -> Result<Vec<ObjectId>, RepoError> {
        let cover = self.cover(key, pieces);
        let windows = windows(self.work.repo.budget, key);
        let lacking: Vec<(Range<u64>, Vec<u8>)> =
            windows.iter().map(|window| (window.clone(), cover.lacking(window))).collect();
        let bad_pieces = pieces.iter().filter(|piece| {
            let fault = self.pieces.get(&piece.id).and_then(Option::as_ref);
            fault.is_some_and(|fault| !fault.is_missing && !fault.is_unreadable)
        });
        let useless: Vec<ObjectId> = bad_pieces.map(|piece| piece.id).collect();
        let is_whole = lacking.iter().all(|(_, numbers)| numbers.is_empty());
        if !key.packs.iter().all(|(id, _)| self.packs.get(id).is_some_and(Option::is_none)) {
            // Its shards cannot be computed any more: `add` makes a new group of what is there.
            self.report.groups_weak += u64::from(!is_whole);
            return Ok(Vec::new());
        }
        if is_whole {
            return Ok(useless);
        }
        if self.options.dry_run {
            for (window, numbers) in &lacking {
                self.report.objects_stored += numbers.len() as u64;
                self.report.bytes_stored += (window.end - window.start) * numbers.len() as u64;
            }
            return Ok(useless);
        }
        Ok(if self.make_shards(key, &lacking)? { useless } else { Vec::new() })
    }

    /// As in `add`, the last part is stored when every pack was compared with its name once more.
    fn make_shards(&mut self, key: &GroupKey, lacking: &[(Range<u64>, Vec<u8>)]) -> Result<bool, RepoError> {
        let (work, session) = (self.work, self.session()?.id);
        let mut columns = Columns::new(work, &key.packs);
        let mut encoder = Encoder::new(key.packs.len(), usize::from(key.shards), work.threads)?;
        let last = lacking.iter().rposition(|(_, numbers)| !numbers.is_empty()).unwrap_or(0);
        let (mut made, mut waiting) = (Vec::new(), Vec::new());
        for (n, (window, numbers)) in lacking.iter().enumerate() {
            let shards = encode(work, &mut columns, &mut encoder, key, window)?;
            let parts =
                shards.into_iter().enumerate().filter(|(number, _)| numbers.contains(&(*number as u8)));
            for (number, part) in parts {
                let head = head(key, number, window, &part);
                if n == last {
                    waiting.push((head, part));
                } else {
                    made.push(object::store(work.repo, session, &head, &part)?);
                }
            }
        }
        if !columns.faults().is_empty() {
            made.iter().try_for_each(|(id, _)| work.storage().delete(&Name::parity(*id)))?;
            self.report.groups_weak += 1;
            return Ok(false);
        }
        for (head, part) in waiting {
            made.push(object::store(work.repo, session, &head, &part)?);
        }
        self.report.objects_stored += made.len() as u64;
        self.report.bytes_stored += made.iter().map(|(_, len)| *len).sum::<u64>();
        Ok(true)
    }
}
