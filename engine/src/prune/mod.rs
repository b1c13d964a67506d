//! Prune: removes what no snapshot needs, while backups run anywhere. Normative: `FORMAT.md` 13, 14 and 20.
//!
//! ```text
//! base ─ packs, sessions, snapshots, retention ─ walk: what is needed ─ segments: where it is ─ plan
//!   for packs of which nothing is needed, then for those that are written anew:
//!     condemned set ─ look again: intents, ends, retention ─ (needed chunks anew) ─ generation base + 1 ─ delete
//! ```
//!
//! - [`plan`]: what goes, as a pure function.
//! - `marks`: what snapshots need, noted in `live`. `census`: what is stored. Both are read from the storage; the local index only
//!   says where to look for a node, which is verified.
//! - `parity`: what becomes of parity groups whose packs go.
//! - `witness`: who else is at work. `round`: one condemned set carried out. `copies`, `repack`, `sweep`: reading the copies that
//!   stay, writing and deleting.
//!
//! What can be freed without writing is freed first, so that a full disk has room for the rest. Every step may be
//! the last one: whoever prunes next finishes what a generation says, and begins anew with what none says yet.
//!
//! Memory: about 90 bytes for each pack, the cache of listings, and for packs that are written anew what a backup
//! takes. Of the set of needed chunks so many are in memory as a quarter of the index's share holds, the rest on disk. What it costs: one walk of the nodes in which snapshots differ, one
//! reading of all segments, and the packs that are written anew.

mod census;
mod copies;
mod live;
mod marks;
mod parity;
pub mod plan;
mod removal;
mod repack;
mod round;
mod sweep;
mod witness;

pub(crate) use removal::{Going, Removal, Removed};

use crate::compress::Level;
use crate::error::{Corrupt, Kind};
use crate::id::{ObjectId, SessionId};
use crate::listing::Time;
use crate::log::PRUNE;
use crate::parity::groups::Groups;
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events, Phase};
use crate::repo::control::{Purpose, Verdict};
use crate::repo::segments::OwnSegments;
use crate::repo::sessions::{OpenSession, generation};
use crate::repo::{RepoError, Repository};
use crate::snapshot::Snapshot;
use census::Census;
use live::{Live, Need};
pub use parity::ParityReport;
use plan::{Limits, Plan};
use repack::NOBODY;
use std::collections::BTreeSet;
use std::time::Duration;
use witness::Sessions;

/// How often a prune begins anew because of others before it gives up.
const ATTEMPTS: usize = 8;

/// How to prune.
pub struct PruneOptions<'a> {
    /// What bounds the work.
    pub limits: Limits,
    /// Only say what would be done.
    pub dry_run: bool,
    /// End the sessions of all runs that have not ended, also young ones: the caller knows that they are dead. One
    /// that lives stores again what it needs.
    pub fence_all: bool,
    /// A repository without any snapshot is meant to be one.
    pub allow_empty: bool,
    /// Machine on which it runs.
    pub host: String,
    /// When it began.
    pub time: Time,
    /// How hard to compress what is written anew.
    pub level: Level,
    /// Threads that compress.
    pub threads: usize,
    /// A monotonic clock.
    pub elapsed: &'a (dyn Fn() -> Duration + Sync),
}

/// What a prune did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// The plan and its sizes.
    pub plan: Plan,
    /// Forgotten snapshots that it removes.
    pub snapshots: Vec<ObjectId>,
    /// Snapshots that stay.
    pub snapshots_kept: u64,
    /// Chunks that are needed.
    pub chunks: u64,
    /// Chunks that snapshots need and that no pack has.
    pub chunks_missing: u64,
    /// Packs that were deleted.
    pub packs_removed: u64,
    /// Bytes of packs that were deleted.
    pub bytes_removed: u64,
    /// Bytes of packs that were written.
    pub bytes_written: u64,
    /// Packs that were condemned and are kept, since a run depends on them.
    pub packs_rescued: u64,
    /// Packs that were to be written anew and stay as they are: something in them cannot be read.
    pub packs_damaged: u64,
    /// Packs left by an earlier prune that was broken off.
    pub packs_left_over: u64,
    /// What becomes of parity.
    pub parity: ParityReport,
    /// Sessions that were fenced.
    pub fenced: u64,
    /// How often it began anew because of others.
    pub restarts: u64,
}

/// Why a prune could not be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// The repository could not be read or written.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// A snapshot that cannot be read may need anything.
    #[error("snapshot {} cannot be read, so nobody can tell what it needs: {why}", .id.short())]
    Unreadable {
        /// One of them.
        id: ObjectId,
        /// What is wrong with it.
        why: String,
    },
    /// Packs and no snapshot.
    #[error("there is no snapshot, so that everything would be removed")]
    NoSnapshots,
    /// Others prune or take snapshots back all the time.
    #[error("others change the repository all the time; nothing more was removed")]
    Overtaken,
}

impl PruneError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Repo(error) => error.kind(),
            Self::Unreadable { .. } => Kind::Integrity,
            Self::NoSnapshots => Kind::Refused,
            Self::Overtaken => Kind::Busy,
        }
    }

    /// Returns what the person can do, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repo(error) => error.hint(),
            Self::Unreadable { .. } => {
                Some("`dedup check` says more; `dedup forget` it by its id if it is lost".into())
            }
            Self::NoSnapshots => Some("if that is what you want, say --allow-empty".into()),
            Self::Overtaken => None,
        }
    }
}

/// Where an attempt starts from.
struct Scene<'r> {
    repo: &'r Repository,
    own: Option<SessionId>,
    /// Highest generation, read before anything else.
    base: u64,
    sessions: Sessions,
    /// Snapshots that are forgotten, and their sessions, as far as they are known.
    forgotten: Vec<(ObjectId, Option<SessionId>)>,
    census: Census,
    /// Parity as it was before sessions were read.
    groups: Groups,
    live: Live<'r>,
    /// Segments of this attempt.
    own_segments: OwnSegments<'r>,
}

/// Prunes the repository.
pub fn run(
    repo: &Repository,
    options: &PruneOptions<'_>,
    events: &dyn Events,
) -> Result<PruneReport, PruneError> {
    // Of what it cannot read it cannot tell what is needed.
    repo.assert_opens(crate::map::Class::Secrets)?;
    // The log says which snapshots there must be.
    repo.know_log()?;
    let mut session = None;
    if !options.dry_run {
        repo.assert_right(PRUNE, "remove anything for good")?;
        let seen = repo.newest_generation()?;
        let purpose = Purpose::Prune;
        session = Some(OpenSession::begin(&repo.objects, purpose, &options.host, options.time, seen)?);
    }
    let result = attempts(repo, session.as_ref(), options, events);
    if let Some(session) = session {
        // Best effort: a later prune ends it.
        let ended = session.end(Verdict::Done);
        if result.is_ok() && ended.is_ok() {
            sweep::sessions(repo, &|id| id == session.id, true)?;
        }
    }
    result
}

fn attempts(
    repo: &Repository,
    session: Option<&OpenSession>,
    options: &PruneOptions<'_>,
    events: &dyn Events,
) -> Result<PruneReport, PruneError> {
    let mut report = PruneReport::default();
    // Snapshots that were rescued once count as needed, whatever is said of them later.
    let mut rescued = BTreeSet::new();
    for restarts in 0..ATTEMPTS {
        report = PruneReport { restarts: restarts as u64, packs_rescued: 0, packs_damaged: 0, ..report };
        // What others stored since is of the newest key epoch.
        let epoch = repo.newest_era()?;
        let seen = repo.newest_generation()?;
        // What is missing was perhaps removed meanwhile.
        let own = session.map(|session| session.id);
        let is_newer = || others_came(repo, own, seen, epoch);
        let is_of_others = |error: &PruneError| {
            matches!(error, PruneError::Repo(_))
                && matches!(error.kind(), Kind::Integrity | Kind::Missing | Kind::Refused)
        };
        let scene = match scene(repo, session, &rescued, options, &mut report, events) {
            Err(error) if is_of_others(&error) && is_newer()? => continue,
            scene => scene?,
        };
        // A chunk may be in no pack that was listed because another prune has put it into a new one since.
        if report.chunks_missing > 0 && is_newer()? {
            continue;
        }
        let Some(session) = session else {
            parity::foretell(&scene, &mut report)?;
            return Ok(report);
        };
        match round::carry_out(&scene, session, options, &mut report, events) {
            Ok(round::Outcome::Done) => {
                repo.index().map_err(PruneError::from)?.tidy().map_err(RepoError::from)?;
                return Ok(report);
            }
            Ok(round::Outcome::Again { snapshots }) => rescued.extend(snapshots),
            Err(error) if is_of_others(&error) && is_newer()? => {}
            Err(error) => return Err(error),
        }
    }
    Err(PruneError::Overtaken)
}

/// Returns whether others have published a generation after `seen`, or opened a key epoch after `epoch`. What this prune has
/// removed itself explains nothing that goes wrong: to begin anew because of that would only be told late.
fn others_came(repo: &Repository, own: Option<SessionId>, seen: u64, epoch: u32) -> Result<bool, RepoError> {
    if repo.newest_era()? > epoch {
        return Ok(true);
    }
    for number in seen + 1..=repo.newest_generation()? {
        let generation = generation(&repo.objects, number)?;
        if generation.is_none_or(|(generation, _)| Some(generation.session) != own) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Finds out what is needed and what is stored, and makes the plan. In this order: the base; packs; sessions, so
/// that whoever wrote one of these packs is seen; snapshots; what is forgotten; packs again, for what the snapshots need.
fn scene<'r>(
    repo: &'r Repository,
    session: Option<&OpenSession>,
    rescued: &BTreeSet<ObjectId>,
    options: &PruneOptions<'_>,
    report: &mut PruneReport,
    events: &dyn Events,
) -> Result<Scene<'r>, PruneError> {
    events.event(Event::Phase(Phase::Structure));
    let base = repo.newest_generation()?;
    let left = sweep::Removed::by_all(repo, base)?;
    if !options.dry_run {
        left.delete(repo, events)?;
    }
    report.packs_left_over += left.packs.len() as u64;
    let mut census = Census::list(repo, &left.packs)?;
    let groups = Groups::look(repo, events)?;
    let own = session.map(|session| session.id);
    let sessions = Sessions::look(repo, own, base, options.fence_all)?;
    let (mut snapshots, faults) = repo.catalog_with_unlogged()?;
    // Segments after snapshots: one that was committed a moment ago has its nodes in packs that no index knew before.
    repo.catch_up(events)?;
    let mut going = repo.retention()?.forgotten;
    going.retain(|id| !rescued.contains(id));
    if let Some((id, why)) = faults.iter().find(|(id, _)| !going.contains(id)) {
        return Err(PruneError::Unreadable { id: *id, why: why.to_string() });
    }
    let mut forgotten: Vec<_> = snapshots
        .iter()
        .filter(|(id, _)| going.contains(id))
        .map(|(id, snapshot): &(ObjectId, Snapshot)| (*id, Some(snapshot.session)))
        .collect();
    // Those that are damaged and forgotten: their sessions say which they are.
    for (id, _) in &faults {
        let of = sessions.ended.iter().find(|(_, verdict)| **verdict == Verdict::Committed(*id));
        // Of one that only the log still tells of nobody knows the session.
        forgotten.push((*id, of.map(|(session, _)| *session)));
    }
    snapshots.retain(|(id, _)| !going.contains(id));
    if snapshots.is_empty()
        && !census.packs.is_empty()
        && !options.allow_empty
        && !planted(Bug::PruneTrustsNothing)
    {
        return Err(PruneError::NoSnapshots);
    }
    events.event(Event::Expect { entries: snapshots.len() as u64, bytes: 0, complete: false });
    census.add_late(repo, &left.packs)?;
    let live = Live::new(repo)?;
    marks::walk(repo, &live, &snapshots, events)?;
    census.count(repo, &live, events)?;
    // Whatever was counted can be read.
    repo.catch_up(events)?;
    let own_segments = OwnSegments::new(repo, own.unwrap_or(NOBODY));
    if live.missing() > 0 {
        own_segments.add(adopt(repo, session, &mut census, &live, events)?);
    }
    if live.missing() > 0 {
        census.spare_untold();
    }
    census.spare(&sessions.running());
    report.parity.packs_spared = parity::spare(repo, &mut census, &groups)?;
    report.plan = plan::plan(&census.packs, &options.limits);
    report.snapshots = forgotten.iter().map(|(id, _)| *id).collect();
    report.snapshots_kept = snapshots.len() as u64;
    (report.chunks, report.chunks_missing) = (live.count(), live.missing());
    Ok(Scene { repo, own, base, sessions, forgotten, census, groups, live, own_segments })
}

/// Looks for what is needed and in no segment among the packs that no segment names: segments may have been lost. Returns
/// those that name them now.
fn adopt(
    repo: &Repository,
    session: Option<&OpenSession>,
    census: &mut Census,
    live: &Live<'_>,
    events: &dyn Events,
) -> Result<Vec<ObjectId>, PruneError> {
    let unnamed = census.packs.iter().filter(|pack| !pack.is_named && !pack.is_spared);
    let unnamed: Vec<_> = unnamed.map(|pack| (pack.id, pack.stored_bytes)).collect();
    let Some(session) = session else {
        // A dry run writes nothing, and does not know which of these packs are needed.
        census.packs.iter_mut().filter(|pack| !pack.is_named).for_each(|pack| pack.is_spared = true);
        return Ok(Vec::new());
    };
    let adopted = repo.adopt(
        session.id,
        unnamed,
        &|pack| {
            for chunk in pack.directory.chunks() {
                if live.need(&chunk.id)? == Need::Unclaimed {
                    return Ok(true);
                }
            }
            Ok(false)
        },
        events,
    )?;
    repo.each_segment(&mut |id, segment| {
        if census.segments.iter().all(|known| known.id != id) {
            census.enter(repo, (id, true), &segment, live)?;
        }
        Ok(())
    })?;
    Ok(adopted)
}

/// Makes an error of a chunk that was to be there.
fn lost(what: impl ToString, wrong: &str) -> RepoError {
    Corrupt::new(what.to_string(), wrong).into()
}
