//! Snapshots that lost something, made anew without it.

use super::losses::{self, Each, Loss, Lost, Reach};
use super::remake::Remake;
use super::{How, RepairError, found};
use crate::backup::{ATTEMPTS, BackupError, Ended, RunKind, RunReport, RunRequest, in_run};
use crate::copy::{Memo, doubt};
use crate::id::ObjectId;
use crate::map::Class;
use crate::progress::{Events, Phase};
use crate::repo::control::Purpose;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Origin, Provenance, Snapshot};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// How a doubt begins that a repair wrote: it is none of the data.
const DOUBT: &str = "something of it is lost";

/// What to repair, and how.
pub struct SnapshotOptions<'a> {
    /// Who repairs.
    pub how: How<'a>,
    /// Which snapshots; `None` is all there are.
    pub wanted: Option<&'a BTreeSet<ObjectId>>,
}

/// What became of a snapshot that lost something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The snapshot.
    pub id: ObjectId,
    /// How many things it lost; a range of entries is one.
    pub losses: u64,
    /// Entries, records and files that are left.
    pub kept_entries: u64,
    /// What is left of it, as a snapshot; `None` with a dry run, or if nothing is left.
    pub made: Option<ObjectId>,
    /// Whether that was there already.
    pub was_there: bool,
}

/// What was found and done, or would be done.
#[derive(Clone, Debug, Default)]
pub struct SnapshotReport {
    /// Snapshots that were looked at and can be read.
    pub snapshots: u64,
    /// Those that lost something.
    pub repaired: Vec<Repaired>,
    /// Those of which nothing can be read.
    pub unreadable: Vec<ObjectId>,
    /// What they lost: each was named.
    pub losses: u64,
}

/// Makes every snapshot anew that lost something: time, host, labels and all else stay, what is lost is left out and told in it, and it is
/// partial. The old one stays too, and is called suspect. Every loss is handed to `each` as it is found.
///
/// # Errors
/// [`RepairError::PacksFirst`] if packs are damaged: something in them may be saved.
pub fn run(
    repo: &Repository,
    options: &SnapshotOptions<'_>,
    events: &dyn Events,
    each: &mut Each<'_>,
) -> Result<SnapshotReport, RepairError> {
    repo.assert_opens(Class::Secrets)?;
    repo.apply_generations()?;
    let (damaged, stored) = found::by_names(repo, true, events)?;
    if !damaged.damaged.is_empty() {
        return Err(RepairError::PacksFirst { packs: damaged.damaged.len() as u64 });
    }
    events.event(crate::progress::Event::Phase(Phase::Structure));
    let mut report = SnapshotReport::default();
    let is_wanted = |id: &ObjectId| options.wanted.is_none_or(|wanted| wanted.contains(id));
    let (all, faults) = repo.catalog()?;
    for (snapshot, fault) in faults.iter().filter(|(id, _)| is_wanted(id)) {
        report.unreadable.push(*snapshot);
        report.losses += 1;
        each(Loss {
            snapshot: *snapshot,
            module: String::new(),
            lost: Lost::Snapshot,
            why: fault.to_string(),
        })?;
    }
    let reach = Reach::new(repo, &stored, None);
    for (id, snapshot) in all.iter().filter(|(id, _)| is_wanted(id)) {
        report.snapshots += 1;
        let tally = losses::of_snapshot(&reach, (id, snapshot), events, each)?;
        if tally.losses == 0 {
            continue;
        }
        report.losses += tally.losses;
        let (made, was_there, kept_entries) = (None, false, tally.kept_entries);
        let mut repaired = Repaired { id: *id, losses: tally.losses, kept_entries, made, was_there };
        if !options.how.dry_run && tally.kept_entries > 0 {
            let earlier = earlier(&reach, &all, id, kept_entries, events)?;
            repaired.was_there = earlier.is_some();
            let made = match earlier {
                Some(earlier) => earlier,
                None => remake(&reach, (id, snapshot), &options.how, events)?,
            };
            say_doubt(repo, (*id, snapshot), &made, options.how.now)?;
            repaired.made = Some(made.0);
        }
        report.repaired.push(repaired);
    }
    Ok(report)
}

/// Returns what was made of a snapshot before: it lacks as much, and nothing of it is lost.
fn earlier(
    reach: &Reach<'_>,
    all: &[(ObjectId, Snapshot)],
    id: &ObjectId,
    kept_entries: u64,
    events: &dyn Events,
) -> Result<Option<(ObjectId, Snapshot)>, RepairError> {
    let origin = Origin { repo: reach.repo.id(), snapshot: *id };
    for (made, snapshot) in all.iter().filter(|(_, one)| one.provenance.rewritten_from == Some(origin)) {
        let tally = losses::of_snapshot(reach, (made, snapshot), events, &mut |_| Ok(()))?;
        if tally.losses == 0 && tally.kept_entries == kept_entries {
            return Ok(Some((*made, snapshot.clone())));
        }
    }
    Ok(None)
}

/// Stores what is left of a snapshot as a snapshot of its own.
fn remake(
    reach: &Reach<'_>,
    (id, old): (&ObjectId, &Snapshot),
    how: &How<'_>,
    events: &dyn Events,
) -> Result<(ObjectId, Snapshot), RepairError> {
    let repo = reach.repo;
    let asked = RunRequest::again(old, how.level, how.threads, how.elapsed);
    let origin = Origin { repo: repo.id(), snapshot: *id };
    let kind = RunKind {
        purpose: Purpose::Repair,
        session_of: Some((how.host, how.now)),
        parents: old.parents.clone(),
        provenance: Provenance { copy_of: None, rewritten_from: Some(origin) },
    };
    let memo = RefCell::new(Memo::new(repo, repo.id())?);
    let report: RunReport = in_run(repo, &asked, &kind, events, |run| {
        for _ in 0..ATTEMPTS {
            let pass = run.pass(|parts| {
                let remake = Remake { reach, memo: &memo, events };
                let accounts: Result<Vec<_>, RepairError> =
                    old.accounts.iter().map(|account| remake.account(account, parts)).collect();
                accounts.inspect_err(|error| parts.fails(error.kind()))
            })?;
            if let Some(report) = run.commit(pass)? {
                return Ok(report);
            }
        }
        Err(Ended::from(BackupError::Overtaken))
    })?;
    let made = report.snapshot.ok_or_else(|| RepoError::Internal("a repair without a snapshot".into()))?;
    let session = report.session.unwrap_or(old.session);
    Ok((made, Snapshot { session, provenance: kind.provenance, ..old.clone() }))
}

/// Says of the old one that it lost something, and of the new one what was said of the old one before.
fn say_doubt(
    repo: &Repository,
    (id, old): (ObjectId, &Snapshot),
    (made, new): &(ObjectId, Snapshot),
    now: crate::listing::Time,
) -> Result<(), RepairError> {
    let pair = [(id, old.clone()), (*made, new.clone())];
    let suspects = repo.suspects(&pair)?;
    match suspects.get(&id) {
        None => doubt(repo, id, old, &format!("{DOUBT}; {} is what is left", made.short()), now)?,
        Some(why) if !why.starts_with(DOUBT) && !suspects.contains_key(made) => {
            doubt(repo, *made, new, why, now)?;
        }
        Some(_) => {}
    }
    Ok(())
}
