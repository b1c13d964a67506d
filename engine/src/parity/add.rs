//! New groups: every pack that is not protected as wanted comes into one.

use super::code::Encoder;
use super::columns::{Columns, Fault, Work, encode, head, windows};
use super::groups::{self, Groups, Stored};
use super::object::{self, GroupKey};
use super::plan::{self, Wanted};
use super::{Doer, begin, drop, end};
use crate::format::{MAX_GROUP_PACKS, MAX_SHARDS};
use crate::id::{ObjectId, SessionId};
use crate::progress::{Event, Events, Phase};
use crate::repo::{RepoError, Repository};
use crate::storage::Name;

/// How parity is made.
#[derive(Clone, Debug)]
pub struct AddOptions {
    /// What there is to be.
    pub wanted: Wanted,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Threads that read and code.
    pub threads: usize,
    /// Who is at work.
    pub doer: Doer,
}

/// What was made, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddReport {
    /// Packs that are stored and that a segment names.
    pub packs: u64,
    /// New groups.
    pub groups: u64,
    /// Packs in them.
    pub packs_grouped: u64,
    /// Their bytes, which are read.
    pub bytes_read: u64,
    /// Objects that were stored.
    pub objects: u64,
    /// Bytes of these; of a dry run without their heads.
    pub bytes_stored: u64,
    /// Objects that went, since others protect as well what they did.
    pub objects_removed: u64,
    /// Their bytes.
    pub bytes_removed: u64,
    /// Packs that are damaged and were not taken into a group, and what is wrong with them.
    pub damaged: Vec<(ObjectId, String)>,
}

/// Puts every pack that is not protected as wanted into a group, and removes groups that are not needed any more.
///
/// # Errors
/// [`RepoError::Refused`] for numbers that the format does not have; [`RepoError::Fenced`] if a prune took this run
/// for dead meanwhile.
pub fn add(repo: &Repository, options: &AddOptions, events: &dyn Events) -> Result<AddReport, RepoError> {
    repo.assert_reads()?;
    let wanted = options.wanted;
    if !(1..=MAX_SHARDS).contains(&wanted.shards) || !(1..=MAX_GROUP_PACKS).contains(&wanted.packs) {
        return Err(RepoError::Refused(format!(
            "a group has 1 to {MAX_GROUP_PACKS} packs and 1 to {MAX_SHARDS} shards"
        )));
    }
    events.event(Event::Phase(Phase::Structure));
    repo.catch_up(events)?;
    let mut report = AddReport::default();
    let stored = groups::stored_packs(repo)?;
    let packs = fitting(repo, &stored, &mut report)?;
    let known = known(repo, &stored, events)?;
    let planned = plan::new_groups(&packs, &known, wanted);
    let bytes = planned.iter().flatten().map(|(_, len)| *len).sum();
    events.event(Event::Expect { entries: planned.len() as u64, bytes, complete: true });
    if options.dry_run {
        for packs in planned {
            let key = GroupKey { packs, shards: wanted.shards };
            report.groups += 1;
            report.packs_grouped += key.packs.len() as u64;
            report.bytes_read += key.packs.iter().map(|(_, len)| *len).sum::<u64>();
            report.objects += windows(repo.budget, &key).len() as u64 * u64::from(wanted.shards);
            report.bytes_stored += key.shard_len() * u64::from(wanted.shards);
        }
        return Ok(report);
    }
    if !planned.is_empty() {
        events.event(Event::Phase(Phase::Store));
        let work = Work::new(repo, options.threads, events)?;
        let session = begin(repo, &options.doer)?;
        let id = session.id;
        let made = planned.into_iter().try_for_each(|packs| {
            group(&work, id, GroupKey { packs, shards: wanted.shards }, &mut report)?;
            events.event(Event::Done { entries: 1, bytes: 0, path: None });
            Ok(())
        });
        end(repo, session, made)?;
    }
    events.event(Event::Phase(Phase::Finish));
    let dropped = drop::superfluous(repo, events)?;
    (report.objects_removed, report.bytes_removed) = (dropped.objects, dropped.bytes);
    Ok(report)
}

/// Returns the packs that may be in a group: those that a segment names and no generation has removed, with the
/// length that the segment tells.
fn fitting(
    repo: &Repository,
    stored: &Stored,
    report: &mut AddReport,
) -> Result<Vec<(ObjectId, u64)>, RepoError> {
    let index = repo.index()?;
    let mut packs = Vec::new();
    for (id, len) in stored {
        let Some(number) = index.pack_number(id)? else { continue };
        if index.is_removed(id)? {
            continue;
        }
        report.packs += 1;
        match index.pack(number)? {
            Some(known) if known.stored_len != *len => {
                let why = format!("{len} bytes are stored, {} were written", known.stored_len);
                report.damaged.push((*id, why));
            }
            _ => packs.push((*id, *len)),
        }
    }
    Ok(packs)
}

fn known(repo: &Repository, stored: &Stored, events: &dyn Events) -> Result<Vec<plan::Known>, RepoError> {
    let groups = Groups::look(repo, events)?;
    let index = repo.index()?;
    let is_removed = |id: &ObjectId| Ok(index.is_removed(id)?);
    let of = |(key, pieces): (&GroupKey, &Vec<object::Piece>)| {
        let standing = groups::standing(key, pieces, stored, &is_removed)?;
        Ok(plan::known(key, standing))
    };
    groups.all.iter().map(of).collect()
}

/// Makes one group. Packs that turn out damaged are left out, and it is made without them.
///
/// The last part of the shards is stored when every pack was read whole and compared with its name: so a group with
/// a damaged pack lacks a part of every shard, and counts for nothing.
fn group(
    work: &Work<'_>,
    session: SessionId,
    mut key: GroupKey,
    report: &mut AddReport,
) -> Result<(), RepoError> {
    while !key.packs.is_empty() {
        let mut columns = Columns::new(work, &key.packs);
        let mut encoder = Encoder::new(key.packs.len(), usize::from(key.shards), work.threads)?;
        let windows = windows(work.repo.budget, &key);
        let (mut made, mut bytes, mut faults) = (Vec::new(), 0, Vec::new());
        for (n, window) in windows.iter().enumerate() {
            let shards = encode(work, &mut columns, &mut encoder, &key, window)?;
            if n + 1 == windows.len() {
                faults = columns.faults();
            }
            if !faults.is_empty() {
                break;
            }
            for (number, part) in shards.iter().enumerate() {
                let head = head(&key, number, window, part);
                let (id, len) = object::store(work.repo, session, &head, part)?;
                made.push(id);
                bytes += len;
            }
        }
        report.bytes_read += key.packs.iter().map(|(_, len)| *len).sum::<u64>();
        if faults.is_empty() {
            report.groups += 1;
            report.packs_grouped += key.packs.len() as u64;
            report.objects += made.len() as u64;
            report.bytes_stored += bytes;
            return Ok(());
        }
        // They are of no group, and nobody relies on them.
        made.iter().try_for_each(|id| work.storage().delete(&Name::parity(*id)))?;
        key.packs.retain(|(id, _)| faults.iter().all(|(bad, _)| bad != id));
        tell(work.repo, faults, report)?;
    }
    Ok(())
}

/// Reports damaged packs; one that a prune has removed meanwhile is none.
fn tell(repo: &Repository, faults: Vec<(ObjectId, Fault)>, report: &mut AddReport) -> Result<(), RepoError> {
    repo.apply_generations()?;
    for (id, fault) in faults {
        if !(fault.is_missing && repo.index()?.is_removed(&id)?) {
            report.damaged.push((id, fault.why));
        }
    }
    Ok(())
}
