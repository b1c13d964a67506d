//! Damaged packs: what is sound in them is stored anew, what is lost is named, and they go.
//!
//! ```text
//! find ─ (give back) ─ (fetch) ─ for up to 1,024 packs at a time:
//!   session ─ condemned set ─ look again ─ every sound chunk into new packs, segments ─ generation ─ delete
//! name what is lost
//! ```

use super::fetch::{self, Donor};
use super::found::{self, Found};
use super::losses::{self, Each, Reach};
use super::salvage::{PackFate, Salvage};
use super::{How, RepairError};
use crate::check::ReadData;
use crate::id::ObjectId;
use crate::map::Class;
use crate::parity::{self, Doer, MendOptions, Outcome};
use crate::progress::{Event, Events, Phase};
use crate::prune::{Going, Removal, Removed};
use crate::repo::control::{Purpose, Verdict};
use crate::repo::segments::OwnSegments;
use crate::repo::sessions::OpenSession;
use crate::repo::write::{StoreOptions, Stored, store_chunks};
use crate::repo::{RepoError, Repository};
use std::collections::{BTreeMap, BTreeSet};

pub use super::salvage::PackFate as Fate;

/// Packs that go together: what was done stays done if a repair is broken off.
const BATCH: usize = 1024;
/// How often a batch begins anew because of others.
const ATTEMPTS: usize = 8;
/// Packs that a report tells of.
const REPORTED: usize = 1000;

/// Lets parity put packs in their places again, bit for bit, before anything is given up; returns which are sound then, or
/// would be.
fn given_back(
    repo: &Repository,
    damaged: BTreeSet<ObjectId>,
    how: &How<'_>,
    events: &dyn Events,
) -> Result<BTreeSet<ObjectId>, RepoError> {
    let doer = Doer { host: how.host.to_owned(), time: how.now };
    let options = MendOptions { dry_run: how.dry_run, threads: how.threads, doer };
    let mended = parity::rebuild(repo, &damaged, &options, events)?;
    let back = mended.packs.into_iter().filter(|pack| !matches!(pack.outcome, Outcome::Refused(_)));
    Ok(back.map(|pack| pack.id).filter(|id| damaged.contains(id)).collect())
}

/// What to look at, and how to repair it.
pub struct PackOptions<'a> {
    /// Who repairs.
    pub how: How<'a>,
    /// Packs that are read, whatever else is.
    pub named: BTreeSet<ObjectId>,
    /// How many other packs are read. Names and lengths of all packs are looked at in any case.
    pub data: ReadData,
    /// Today, in days since 1970-01-01: noted for the packs that are read and sound.
    pub today: Option<u32>,
    /// Chooses the packs of a sample.
    pub seed: u64,
    /// More than half of the packs are not there, and that is so indeed.
    pub most_are_gone: bool,
    /// Asked for chunks that are lost.
    pub donor: Option<Donor<'a>>,
}

/// What was found and done, or would be done.
#[derive(Clone, Debug, Default)]
pub struct PackReport {
    /// Packs that are stored.
    pub packs: u64,
    /// Packs that were read whole.
    pub packs_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Damaged packs, those that are missing among them.
    pub damaged: u64,
    /// Packs that are not there.
    pub missing: u64,
    /// Packs that were given back whole.
    pub given_back: u64,
    /// The first 1,000 others, and what became of each.
    pub fates: Vec<PackFate>,
    /// Chunks that were stored anew, or would be.
    pub chunks_saved: u64,
    /// Chunks of which another pack has a whole copy.
    pub chunks_elsewhere: u64,
    /// Chunks that were fetched from the other repository.
    pub chunks_fetched: u64,
    /// Chunks that are lost.
    pub chunks_lost: u64,
    /// Their plain bytes.
    pub bytes_lost: u64,
    /// Damaged packs of which nothing tells what was in them.
    pub unknown: u64,
    /// Damaged packs that were removed.
    pub removed: u64,
    /// Damaged packs that stay for now, since a run that goes on depends on them.
    pub spared: u64,
    /// Bytes of packs that were written.
    pub bytes_written: u64,
    /// Packs that are as they were stored and that this program does not understand: left alone.
    pub strange: u64,
    /// Segments that cannot be read: `segments` repairs them.
    pub segments_damaged: u64,
    /// What snapshots lost: each was named.
    pub losses: u64,
    /// Snapshots that lost something.
    pub snapshots_hit: u64,
}

impl PackReport {
    /// Returns whether nothing was damaged.
    pub fn is_sound(&self) -> bool {
        self.damaged == 0 && self.segments_damaged == 0
    }

    /// Returns whether nothing is lost, and nothing is left to repair.
    pub fn is_healed(&self) -> bool {
        self.losses == 0 && self.spared == 0 && self.segments_damaged == 0 && self.unknown == 0
    }
}

/// Looks for damaged packs and repairs them. Every loss is handed to `each` as it is found.
pub fn run(
    repo: &Repository,
    options: &PackOptions<'_>,
    events: &dyn Events,
    each: &mut Each<'_>,
) -> Result<PackReport, RepairError> {
    // What cannot be opened cannot be saved.
    repo.assert_opens(Class::Secrets)?;
    repo.apply_generations()?;
    let mut found = found::find(repo, options, events)?;
    let mut report = PackReport {
        packs: found.packs,
        packs_read: found.read,
        bytes_read: found.bytes,
        damaged: found.damaged.len() as u64,
        missing: found.missing.len() as u64,
        strange: found.strange,
        segments_damaged: found.segments,
        ..PackReport::default()
    };
    if found.damaged.is_empty() {
        return Ok(report);
    }
    let back = given_back(repo, found.damaged.keys().copied().collect(), &options.how, events)?;
    found.damaged.retain(|id, _| !back.contains(id));
    report.given_back = report.damaged - found.damaged.len() as u64;
    if let Some(donor) = options.donor.as_ref().filter(|_| !found.damaged.is_empty()) {
        let mut salvage = Salvage::new(repo)?;
        look(&mut salvage, &found.damaged, events)?;
        report.chunks_fetched =
            fetch::lost_chunks(repo, donor, &salvage, &found.damaged, &options.how, events)?;
    }
    let mut salvage = Salvage::new(repo)?;
    match options.how.dry_run {
        true => {
            for fate in look(&mut salvage, &found.damaged, events)? {
                tell(&mut report, fate);
            }
        }
        false => remove(repo, options, &found, &mut salvage, &mut report, events)?,
    }
    (report.chunks_lost, report.bytes_lost) = (salvage.lost, salvage.lost_bytes);
    if report.chunks_lost > 0 || report.unknown > 0 {
        events.event(Event::Phase(Phase::Structure));
        let stored = found::stored(repo)?;
        let reach = Reach::new(repo, &stored, Some(&salvage));
        (report.losses, report.snapshots_hit) = losses::of_all(&reach, events, each)?;
    }
    Ok(report)
}

fn tell(report: &mut PackReport, fate: PackFate) {
    report.chunks_saved += fate.saved;
    report.chunks_elsewhere += fate.elsewhere;
    report.unknown += u64::from(fate.is_unknown);
    if report.fates.len() < REPORTED {
        report.fates.push(fate);
    }
}

type Damaged = BTreeMap<ObjectId, String>;

/// Finds out what would become of damaged packs.
fn look(
    salvage: &mut Salvage<'_>,
    damaged: &Damaged,
    events: &dyn Events,
) -> Result<Vec<PackFate>, RepairError> {
    let going = damaged.keys().copied().collect();
    let mut fates = Vec::new();
    for (id, wrong) in damaged {
        crate::check::stop_if_asked(events)?;
        let fate = salvage.pack(id, wrong, &going, None)?;
        fates.push(fate);
    }
    Ok(fates)
}

/// Saves what is sound, batch by batch, and removes the packs.
fn remove(
    repo: &Repository,
    options: &PackOptions<'_>,
    found: &Found,
    salvage: &mut Salvage<'_>,
    report: &mut PackReport,
    events: &dyn Events,
) -> Result<(), RepairError> {
    if found.damaged.is_empty() {
        return Ok(());
    }
    in_session(repo, &options.how, &BTreeSet::new(), events, |removal| {
        let ids: Vec<ObjectId> = found.damaged.keys().copied().collect();
        for ids in ids.chunks(BATCH) {
            let going = Going { packs: ids.iter().copied().collect(), ..Going::default() };
            let (removed, fates, written) =
                batch(removal, &going, &found.damaged, salvage, &options.how, events)?;
            fates.into_iter().for_each(|fate| tell(report, fate));
            report.bytes_written += written;
            report.removed += removed.len() as u64;
            for id in ids.iter().filter(|id| !removed.contains(id)) {
                // A prune may have been quicker.
                report.spared += u64::from(!repo.index()?.is_removed(id).map_err(RepoError::from)?);
            }
        }
        Ok(())
    })
}

/// Lets `work` remove things in a session of its own, after packs are in a segment that none names but those that are not believed.
pub(super) fn in_session<T>(
    repo: &Repository,
    how: &How<'_>,
    disbelieved: &BTreeSet<ObjectId>,
    events: &dyn Events,
    work: impl FnOnce(&Removal<'_>) -> Result<T, RepairError>,
) -> Result<T, RepairError> {
    let seen = repo.newest_generation()?;
    let session = OpenSession::begin(&repo.objects, Purpose::Repair, how.host, how.now, seen)?;
    let own = OwnSegments::new(repo, session.id);
    let removal = Removal { repo, session: &session, fence_all: how.fence_all, own };
    let adopted = adopt(repo, &session, disbelieved, events).map_err(RepairError::from);
    let result = adopted.and_then(|adopted| {
        removal.own.add(adopted);
        let result = work(&removal)?;
        // Where nothing was removed too.
        removal.own.renew()?;
        Ok(result)
    });
    // Best effort: a later prune ends it.
    let ended = session.end(Verdict::Done);
    if result.is_ok() && ended.is_ok() {
        removal.forget_session()?;
    }
    result
}

/// Puts all packs into segments that are in none, as the storage tells and not the local index; returns their names.
fn adopt(
    repo: &Repository,
    session: &OpenSession,
    disbelieved: &BTreeSet<ObjectId>,
    events: &dyn Events,
) -> Result<Vec<ObjectId>, RepoError> {
    let mut named = BTreeSet::new();
    repo.each_readable_segment(&mut |id, segment| {
        let segment = segment.ok().filter(|_| !disbelieved.contains(&id));
        named.extend(segment.iter().flat_map(|segment| &segment.packs).map(|pack| pack.id));
        Ok(())
    })?;
    let unnamed = found::stored(repo)?.into_iter().filter(|(id, _)| !named.contains(id)).collect();
    repo.adopt(session.id, unnamed, &|_| Ok(true), events)
}

type Batch = (BTreeSet<ObjectId>, Vec<PackFate>, u64);

fn batch(
    removal: &Removal<'_>,
    going: &Going,
    damaged: &Damaged,
    salvage: &mut Salvage<'_>,
    how: &How<'_>,
    events: &dyn Events,
) -> Result<Batch, RepairError> {
    let mut written = 0;
    for _ in 0..ATTEMPTS {
        let mut fates = Vec::new();
        let mut anew = |packs: &BTreeSet<ObjectId>| {
            salvage.begin_attempt();
            let (found, stored) = save(removal, packs, damaged, salvage, how, events)?;
            written += stored.bytes_stored;
            fates = found;
            Ok(stored)
        };
        match removal.carry_out(going, &mut anew, events)? {
            Removed::Done { packs, .. } => return Ok((packs, fates, written)),
            Removed::Again => {}
        }
    }
    Err(RepairError::Overtaken)
}

/// Stores every sound chunk of packs that go. When it returns all of them are durable, and segments name them.
fn save(
    removal: &Removal<'_>,
    packs: &BTreeSet<ObjectId>,
    damaged: &Damaged,
    salvage: &mut Salvage<'_>,
    how: &How<'_>,
    events: &dyn Events,
) -> Result<(Vec<PackFate>, Stored), RepoError> {
    events.event(Event::Phase(Phase::Store));
    let (repo, session) = (removal.repo, removal.session);
    repo.index()?.begin_run()?;
    let options = StoreOptions {
        session: session.id,
        level: how.level,
        coders: repo.budget.threads(how.threads, how.level),
        dry_run: false,
        anew: true,
        avoid: packs,
        sign_of_life: &|| session.progress(),
        elapsed: how.elapsed,
    };
    store_chunks(repo, &options, |store| {
        let mut fates = Vec::new();
        for id in packs {
            crate::check::stop_if_asked(events)?;
            let wrong = damaged.get(id).map_or("", |wrong| wrong);
            let fate = salvage.pack(id, wrong, packs, Some(store))?;
            events.event(Event::Done { entries: 1, bytes: 0, path: None });
            fates.push(fate);
        }
        Ok::<_, RepoError>(fates)
    })
}
