//! A plan carried out: twice a condemned set, a second look, a generation, and the deletions.

use super::repack::{self, How};
use super::witness::Rescued;
use super::{PruneError, PruneOptions, PruneReport, Scene, copies, parity, removal, sweep};
use crate::format::MAX_NAMES;
use crate::id::{ObjectId, SessionId};
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events, Phase};
use crate::repo::control::{Condemned, Generation};
use crate::repo::sessions::{OpenSession, live_condemned};
use crate::storage::Put;
use std::collections::BTreeSet;

/// Packs of one condemned set at most.
const MOST_PACKS: usize = MAX_NAMES / 2;

/// How a round ended.
pub(super) enum Outcome {
    /// All is done.
    Done,
    /// Others were at work: everything is looked at again.
    Again {
        /// Snapshots that were to go and that somebody needs.
        snapshots: BTreeSet<ObjectId>,
    },
}

/// What one condemned set is about.
struct Going<'a> {
    packs: Vec<ObjectId>,
    snapshots: &'a [(ObjectId, Option<SessionId>)],
    /// Whether what is needed of the packs is written anew first.
    anew: bool,
    base: u64,
}

/// Carries a plan out, and says what that did to parity.
pub(super) fn carry_out(
    scene: &Scene<'_>,
    session: &OpenSession,
    options: &PruneOptions<'_>,
    report: &mut PruneReport,
    events: &dyn Events,
) -> Result<Outcome, PruneError> {
    let before = parity::spares(scene)?;
    let outcome = in_two_steps(scene, session, options, report, events)?;
    parity::tell(scene, &before, report, events)?;
    Ok(outcome)
}

/// First what nobody needs goes, which takes no room, then what is written anew.
fn in_two_steps(
    scene: &Scene<'_>,
    session: &OpenSession,
    options: &PruneOptions<'_>,
    report: &mut PruneReport,
    events: &dyn Events,
) -> Result<Outcome, PruneError> {
    let ids =
        |places: &[usize]| -> Vec<ObjectId> { places.iter().map(|at| scene.census.packs[*at].id).collect() };
    let (remove, repack) = (ids(&report.plan.remove), ids(&report.plan.repack));
    let mut base = scene.base;
    let mut snapshots = &scene.forgotten[..];
    let mut gone = BTreeSet::new();
    let sets = remove.chunks(MOST_PACKS).map(|packs| (packs, false));
    let mut sets: Vec<_> = sets.chain(repack.chunks(MOST_PACKS).map(|packs| (packs, true))).collect();
    // Snapshots without packs, the sets of prunes that died and void segments want a generation too.
    let dead_sets = live_condemned(&scene.repo.objects)?.iter().any(|set| set.base >= base);
    let fences = scene.sessions.open.values().any(|fence| *fence);
    let superfluous = parity::any_superfluous(scene)?;
    let void = scene.census.any_void(&scene.sessions.running());
    let others = !snapshots.is_empty() || dead_sets || fences || superfluous || void;
    if sets.first().is_none_or(|(_, anew)| *anew) && others {
        sets.insert(0, (&[], false));
    }
    for (packs, anew) in sets {
        let going = Going { packs: packs.to_vec(), snapshots: std::mem::take(&mut snapshots), anew, base };
        match one(scene, session, options, going, &mut gone, report, events)? {
            Outcome::Done => base += 1,
            again => return Ok(again),
        }
    }
    let ended = super::Sessions::look(scene.repo, scene.own, base, false)?;
    sweep::tidy(scene.repo, base, &ended)?;
    Ok(Outcome::Done)
}

/// Publishes a condemned set, looks again, publishes the generation, and deletes. `gone`: what earlier ones of this
/// prune have deleted.
fn one(
    scene: &Scene<'_>,
    session: &OpenSession,
    options: &PruneOptions<'_>,
    going: Going<'_>,
    gone: &mut BTreeSet<ObjectId>,
    report: &mut PruneReport,
    events: &dyn Events,
) -> Result<Outcome, PruneError> {
    let repo = scene.repo;
    let mut packs: BTreeSet<ObjectId> = going.packs.iter().copied().collect();
    let set = Condemned {
        number: 0,
        base: going.base,
        session: Some(session.id),
        packs: going.packs,
        segments: scene
            .census
            .empty_segments(&packs.union(gone).copied().collect(), &scene.sessions.running()),
        snapshots: going.snapshots.iter().map(|(id, _)| *id).collect(),
    };
    let number = removal::condemn(repo, &set)?;
    events.event(Event::Phase(Phase::Commit));
    let Rescued { named, going_on, fenced, unclear } = scene.sessions.look_again(repo, session.id, number)?;
    let runs_go_on = !going_on.is_empty();
    report.fenced += fenced;
    let forgotten = repo.retention()?.forgotten;
    let is_needed = |id: &ObjectId| {
        named.snapshots.contains(id) || !forgotten.contains(id) && !planted(Bug::PruneLooksOnce)
    };
    let snapshots: BTreeSet<ObjectId> = set.snapshots.iter().copied().filter(is_needed).collect();
    if unclear || !snapshots.is_empty() {
        return Ok(Outcome::Again { snapshots });
    }
    let before = packs.len();
    packs.retain(|id| {
        let unlisted = scene.census.place(id).is_some_and(|at| !scene.census.packs[at].is_named);
        let spared = unlisted && runs_go_on && !planted(Bug::PruneTakesUnlisted);
        !named.packs.contains(id) && !spared
    });
    report.packs_rescued += (before - packs.len()) as u64;
    let mut damaged = copies::irreplaceable(scene, &packs, events)?;
    packs.retain(|id| !damaged.contains_key(id));
    if going.anew && !packs.is_empty() {
        events.event(Event::Phase(Phase::Store));
        let how = How { level: options.level, threads: options.threads, elapsed: options.elapsed };
        let mut repacked = repack::repack(repo, session, &scene.census, &scene.live, &packs, &how, events)?;
        scene.own_segments.add(repacked.stored.segments);
        repacked.stored.segments = scene.own_segments.renew()?;
        repack::announce(session, &repacked.stored)?;
        report.bytes_written += repacked.stored.bytes_stored;
        packs.retain(|id| !repacked.damaged.contains_key(id));
        damaged.extend(repacked.damaged);
    }
    // What cannot be read was perhaps removed meanwhile; then this round comes to nothing anyway.
    if !damaged.is_empty() && repo.newest_generation()? > going.base {
        return Ok(Outcome::Again { snapshots: BTreeSet::new() });
    }
    report.packs_damaged += damaged.len() as u64;
    damaged.into_values().for_each(|why| events.event(Event::Notice(why)));
    let mut segments = scene.census.empty_segments(&packs.union(gone).copied().collect(), &going_on);
    segments.retain(|id| !named.segments.contains(id) && set.segments.contains(id));
    let parity = parity::going(scene, &packs, !runs_go_on, events)?;
    let generation = Generation {
        number: going.base + 1,
        condemned: number,
        previous: removal::previous(repo, going.base)?,
        packs: packs.iter().copied().collect(),
        segments,
        snapshots: set.snapshots,
        parity: parity.objects.clone(),
        retired: going.snapshots.iter().filter_map(|(_, session)| *session).collect(),
        ..Generation::empty(0, ObjectId::from_bytes([0; 32]), session.id)
    };
    if planted(Bug::PruneDeletesFirst) {
        sweep::Removed::by(&generation).delete(repo, events)?;
    }
    let (generation, put) = repo.publish_signed_generation(generation)?;
    if put == Put::Present && !planted(Bug::PruneIgnoresRace) {
        return Ok(Outcome::Again { snapshots: BTreeSet::new() });
    }
    // Also where an epoch began at that very moment: what goes must be told of by something that counts.
    scene.own_segments.renew()?;
    events.event(Event::Phase(Phase::Finish));
    // The index must not vouch any more for what goes.
    repo.apply_generations()?;
    sweep::Removed::by(&generation).delete(repo, events)?;
    report.parity.objects_removed += parity.objects.len() as u64;
    report.parity.bytes_removed += parity.bytes;
    gone.extend(&packs);
    report.packs_removed += packs.len() as u64;
    let bytes =
        packs.iter().filter_map(|id| scene.census.place(id)).map(|at| scene.census.packs[at].stored_bytes);
    report.bytes_removed += bytes.sum::<u64>();
    Ok(Outcome::Done)
}
