//! The steps of a backup.
//!
//! Every chunk is the same chunk: each backup needs it, and any pack that holds it will do. Looking into the
//! index and publishing the intent are one step for a pack that is only relied on. That loses nothing: an
//! index may be as stale as it likes (*any* pack that was ever in a segment is a possible hit, also one long
//! gone), so looking earlier would offer no hit that looking now does not.

use super::{
    protocol::{Bug, Shape},
    world::{ATTEMPTS, Backup, BackupPhase as Phase, End, Packs, World, members},
};

/// One step of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Creates `sessions/<sid>`.
    Open,
    /// The index knows the chunk in this pack: publishes the final intent that relies on it.
    Rely(Packs),
    /// The index does not know the chunk: stores a pack.
    WritePack,
    /// Stores the segment of its own pack, which other backups may now rely on.
    WriteSegment,
    /// Publishes the final intent that names its own pack.
    PublishIntent,
    /// Reads the condemned sets, or the generations.
    Look,
    /// Stores the snapshot.
    WriteSnapshot,
    /// Creates the end.
    CreateEnd,
}

/// Steps that backup `b` can take.
pub(super) fn steps(shape: &Shape, world: &World, b: usize) -> Vec<Step> {
    let me = &world.backups[b];
    match me.phase {
        Phase::Off | Phase::Done | Phase::Stopped => vec![],
        Phase::Open => vec![Step::Open],
        Phase::Choose | Phase::Again => {
            let mut steps: Vec<Step> = members(world.known & !me.pack).map(Step::Rely).collect();
            if world.written < shape.packs {
                steps.push(Step::WritePack);
            }
            steps
        }
        Phase::Segment => vec![Step::WriteSegment],
        Phase::Intent => vec![Step::PublishIntent],
        Phase::LookFirst | Phase::LookSecond => vec![Step::Look],
        Phase::Snapshot => vec![Step::WriteSnapshot],
        Phase::End => vec![Step::CreateEnd],
    }
}

/// Takes a step.
pub(super) fn take(shape: &Shape, bug: Option<Bug>, world: &mut World, b: usize, step: Step) {
    let id = session(world, b);
    match step {
        Step::Open => {
            world.sessions[id].listed = true;
            world.backups[b].phase = Phase::Choose;
        }
        Step::Rely(pack) => {
            let removed = world.removed;
            let me = &mut world.backups[b];
            me.pack = pack;
            me.own = false;
            if bug == Some(Bug::SegmentRevivesPack) {
                me.trusted = removed;
            }
            publish_intent(bug, world, b);
        }
        Step::WritePack => {
            let pack = world.write_pack();
            let me = &mut world.backups[b];
            me.pack = pack;
            me.own = true;
            me.trusted = 0;
            me.phase = Phase::Segment;
        }
        Step::WriteSegment => {
            world.write_segment(world.backups[b].pack);
            let me = &mut world.backups[b];
            me.phase = match bug {
                Some(Bug::StoredAnewUnannounced) if me.renewed => Phase::LookFirst,
                _ => Phase::Intent,
            };
        }
        Step::PublishIntent => publish_intent(bug, world, b),
        Step::Look => look(bug, world, b),
        Step::WriteSnapshot => {
            world.sessions[id].snapshot = true;
            let me = &mut world.backups[b];
            (me.pack, me.own, me.renewed, me.trusted) = (0, false, false, 0);
            me.phase = Phase::End;
        }
        Step::CreateEnd => {
            let session = &mut world.sessions[id];
            if session.end == End::None || bug == Some(Bug::CommitOverwrites) {
                session.close(End::Committed);
                session.promised = true;
                world.backups[b].phase = Phase::Done;
            } else {
                start_over(shape, world, b);
            }
        }
    }
}

/// Whether a crash of backup `b` differs from its sleeping for ever: somebody has to begin again.
pub(super) fn can_crash(shape: &Shape, world: &World, b: usize) -> bool {
    let me = &world.backups[b];
    !matches!(me.phase, Phase::Off | Phase::Open | Phase::Done | Phase::Stopped)
        && me.attempt + 1 < shape.backup_attempts
}

/// Begins again with a new session and an empty memory. The index survives, as stale as it may be.
pub(super) fn start_over(shape: &Shape, world: &mut World, b: usize) {
    let attempt = world.backups[b].attempt + 1;
    let over = attempt == shape.backup_attempts;
    world.backups[b] = Backup {
        phase: if over { Phase::Stopped } else { Phase::Open },
        attempt: if over { attempt - 1 } else { attempt },
        ..Default::default()
    };
}

/// The session of backup `b` now.
fn session(world: &World, b: usize) -> usize {
    b * ATTEMPTS + usize::from(world.backups[b].attempt)
}

/// Publishes an intent that names the pack.
fn publish_intent(bug: Option<Bug>, world: &mut World, b: usize) {
    let id = session(world, b);
    let me = &mut world.backups[b];
    if bug != Some(Bug::IntentOmitted) {
        world.sessions[id].intent = me.pack;
    }
    me.phase = match bug {
        Some(Bug::NoLookAfterIntent) => Phase::Snapshot,
        Some(Bug::StoredAnewUnchecked) if me.renewed => Phase::Snapshot,
        _ => Phase::LookFirst,
    };
}

/// Reads condemned sets, then generations; whatever names the pack makes the backup choose again.
///
/// Condemned sets first: one that has been deleted since is dead, and what it removed stands in a generation.
/// A dead set that is still there counts as well. That is only caution: it costs a pack, never safety.
fn look(bug: Option<Bug>, world: &mut World, b: usize) {
    let condemned = world.condemned.iter().fold(0, |all, set| all | set.packs);
    let removed = world.removed;
    let me = &mut world.backups[b];
    let first = me.phase == Phase::LookFirst;
    let at_condemned = first != (bug == Some(Bug::GenerationsLookedAtFirst));
    let met = match bug {
        Some(Bug::OwnPacksUnchecked) if me.own => 0,
        Some(Bug::CondemnedNotLookedAt) if at_condemned => 0,
        Some(Bug::GenerationsNotLookedAt) if !at_condemned => 0,
        _ if at_condemned => condemned,
        _ => removed & !me.trusted,
    };
    me.hit |= me.pack & met != 0;
    me.phase = match (first, me.hit) {
        (true, false) => Phase::LookSecond,
        (false, false) => Phase::Snapshot,
        (_, true) => Phase::Again,
    };
    if me.hit {
        me.hit = false;
        me.renewed = matches!(bug, Some(Bug::StoredAnewUnannounced | Bug::StoredAnewUnchecked));
    }
}
