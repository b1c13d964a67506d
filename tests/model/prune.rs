//! The steps of a prune.
//!
//! The model's prune has no policy: it condemns any set of packs, needed or not, fences whom it likes,
//! whenever it likes, and treats packs of running sessions no better than others. What a real prune does to
//! be kind (it spares packs of sessions that have not ended, it fences only who makes no progress) is a
//! subset of that. A session that has no final intent is simply passed over: it will see the condemned set
//! after publishing one.

use super::{
    protocol::{Bug, Shape},
    world::{
        ATTEMPTS, Condemned, End, Packs, Prune, PrunePhase as Phase, SESSIONS, Session, SessionSet, World,
        members,
    },
};

/// What a prune does in its first five steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Look {
    /// Publishes the condemned set.
    Condemn,
    /// Reads sessions and intents.
    Intents,
    /// Reads ends.
    Ends,
    /// Reads snapshots.
    Snapshots,
    /// Reads what is forgotten.
    Retention,
}

/// One step of a prune.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Reads the newest generation, publishes `condemned/<n>`.
    Condemn(Packs),
    /// Reads.
    Read(Look),
    /// Tries to create the end of this session.
    Fence(usize),
    /// Copies the chunk into a pack of its own, which no condemned set names.
    Repack,
    /// Planted bug only: deletes what it is going to remove.
    DeleteFirst(Packs),
    /// Creates the generation that follows the one it planned on.
    Publish(Packs),
    /// Deletes every pack that a generation has removed, also one that a dead prune has left behind.
    Delete,
    /// Deletes the condemned sets that can no longer act.
    CleanCondemned,
    /// Deletes the objects of a session.
    CleanSession(usize),
    /// Begins again.
    StartOver,
}

/// The order of the first five steps.
fn plan(bug: Option<Bug>) -> [Look; 5] {
    use Look::{Condemn, Ends, Intents, Retention, Snapshots};
    match bug {
        Some(Bug::SessionsBeforeCondemned) => [Intents, Condemn, Ends, Snapshots, Retention],
        Some(Bug::SnapshotsBeforeSessions) => [Condemn, Snapshots, Intents, Ends, Retention],
        Some(Bug::RetentionReadOnce) => [Retention, Condemn, Intents, Ends, Snapshots],
        Some(Bug::SnapshotsBeforeEnds) => [Condemn, Intents, Snapshots, Ends, Retention],
        _ => [Condemn, Intents, Ends, Snapshots, Retention],
    }
}

/// Steps that prune `p` can take.
pub(super) fn steps(shape: &Shape, bug: Option<Bug>, world: &World, p: usize) -> Vec<Step> {
    let me = &world.prunes[p];
    match me.phase {
        Phase::Off | Phase::Done => vec![],
        Phase::Plan(n) => match plan(bug)[usize::from(n)] {
            Look::Condemn => {
                let all = world.packs & !world.removed;
                let any = if shape.sweeping { all } else { 1 };
                (any.max(1)..=all).filter(|set| set & !all == 0).map(Step::Condemn).collect()
            }
            look => vec![Step::Read(look)],
        },
        Phase::Decide => {
            let mut steps = removals(shape, bug, world, me);
            if world.fences < shape.fences {
                steps.extend((0..SESSIONS).filter(|s| me.open >> s & 1 == 1).map(Step::Fence));
            }
            steps
        }
        Phase::Late => vec![Step::Publish(me.set)],
        Phase::Delete if has_garbage(world) => vec![Step::Delete],
        Phase::Delete => vec![Step::CleanCondemned],
        Phase::Clean => vec![Step::CleanSession(me.clean.trailing_zeros() as usize)],
        Phase::Lost => vec![Step::StartOver],
    }
}

/// The ways to go on from what it has seen: as much as possible of the condemned set goes, but one copy stays
/// of what a snapshot needs. Which one is left open; or it writes one.
fn removals(shape: &Shape, bug: Option<Bug>, world: &World, me: &Prune) -> Vec<Step> {
    let named = me.named.iter().fold(0, |all, packs| all | packs);
    let may_go = me.set & !named;
    let copies = match bug {
        Some(Bug::TombstonedCopyCounts) => world.packs & world.segments,
        Some(Bug::SegmentlessCopyCounts) => world.packs & !world.removed,
        _ => world.readable(),
    };
    let remove = |packs| match bug {
        Some(Bug::DeletedBeforeGeneration) => Step::DeleteFirst(packs),
        _ => Step::Publish(packs),
    };
    if !me.live || copies & !may_go != 0 {
        return vec![remove(may_go)];
    }
    let mut steps: Vec<Step> = members(copies).map(|kept| remove(may_go & !kept)).collect();
    if world.written < shape.packs {
        steps.push(Step::Repack);
    }
    steps
}

/// Takes a step.
pub(super) fn take(shape: &Shape, bug: Option<Bug>, world: &mut World, p: usize, step: Step) {
    match step {
        Step::Condemn(packs) => {
            let place = p * ATTEMPTS + usize::from(world.prunes[p].attempt);
            let snapshots = match bug {
                Some(Bug::RetentionReadOnce) => world.prunes[p].goes,
                _ => sessions_where(world, |session| session.marked),
            };
            world.condemned[place] = Condemned { dead: false, packs, snapshots };
            let me = &mut world.prunes[p];
            (me.set, me.goes) = (packs, snapshots);
            looked(bug, world, p);
        }
        Step::Read(look) => read(bug, world, p, look),
        Step::Fence(s) => fence(bug, world, p, s),
        Step::Repack => {
            let pack = world.write_pack();
            world.write_segment(pack);
        }
        Step::DeleteFirst(packs) => {
            world.packs &= !packs;
            world.segments &= !packs;
            let me = &mut world.prunes[p];
            (me.set, me.phase) = (packs, Phase::Late);
        }
        Step::Publish(packs) => publish(shape, bug, world, p, packs),
        Step::Delete => {
            world.packs &= !world.removed;
            world.segments &= !world.removed;
            for session in world.sessions.iter_mut().filter(|session| session.retired) {
                session.snapshot = false;
            }
        }
        Step::CleanCondemned => {
            for set in &mut world.condemned {
                if set.dead || bug == Some(Bug::CondemnedDeletedAlive) {
                    *set = Condemned::default();
                }
            }
            let me = &mut world.prunes[p];
            me.rescued = false;
            me.phase = if me.clean == 0 { Phase::Done } else { Phase::Clean };
        }
        Step::CleanSession(s) => clean_session(bug, world, p, s),
        Step::StartOver => start_over(world, p),
    }
}

/// Whether something that a generation has removed is still stored.
fn has_garbage(world: &World) -> bool {
    world.packs & world.removed != 0
        || world.sessions.iter().any(|session| session.retired && session.snapshot)
}

/// The set of sessions for which something holds.
fn sessions_where(world: &World, holds: impl Fn(&Session) -> bool) -> SessionSet {
    let all = world.sessions.iter().enumerate();
    all.filter(|(_, session)| holds(session)).fold(0, |set, (s, _)| set | 1 << s)
}

/// Whether a crash of prune `p` differs from its sleeping for ever.
pub(super) fn can_crash(shape: &Shape, world: &World, p: usize) -> bool {
    let me = &world.prunes[p];
    !matches!(me.phase, Phase::Off | Phase::Plan(0) | Phase::Lost | Phase::Done)
        && me.attempt + 1 < shape.prune_attempts
}

/// Begins again, with an empty memory. A condemned set stays behind, in a place of its own.
pub(super) fn start_over(world: &mut World, p: usize) {
    let attempt = world.prunes[p].attempt + 1;
    world.prunes[p] = Prune { phase: Phase::Plan(0), attempt, ..Default::default() };
}

/// Reads one kind of object.
fn read(bug: Option<Bug>, world: &mut World, p: usize, look: Look) {
    let me = &mut world.prunes[p];
    for (s, session) in world.sessions.iter().enumerate() {
        let bit = 1 << s;
        match look {
            Look::Intents if session.listed => {
                me.open |= bit;
                me.named[s] = session.intent;
            }
            Look::Ends if session.end != End::None => {
                me.open &= !bit;
                me.named[s] = 0;
                let ends = if session.end == End::Committed { &mut me.committed } else { &mut me.fenced };
                *ends |= bit;
            }
            Look::Snapshots if session.snapshot => me.snapshots |= bit,
            Look::Retention if bug == Some(Bug::RetentionReadOnce) && session.marked => me.goes |= bit,
            Look::Retention if !session.marked => me.goes &= !bit,
            _ => {}
        }
    }
    looked(bug, world, p);
}

/// Goes on to the next look; after the last one keeps only what decides: who has not ended and what it names,
/// whether a snapshot needs the chunk, which sessions are over.
fn looked(bug: Option<Bug>, world: &mut World, p: usize) {
    let retired = sessions_where(world, |session| session.retired);
    let me = &mut world.prunes[p];
    let Phase::Plan(n) = me.phase else { return };
    if n < 4 {
        me.phase = Phase::Plan(n + 1);
        return;
    }
    me.goes &= me.committed & me.snapshots & !retired;
    me.live = me.committed & me.snapshots & !retired & !me.goes != 0;
    me.clean = retired & me.committed;
    match bug {
        Some(Bug::FencedEndDeleted) => me.clean |= me.fenced,
        Some(Bug::IntentDeletedEarly) => me.clean |= me.snapshots & me.open,
        Some(Bug::UncommittedSnapshotDeleted) => me.clean |= me.snapshots & !me.committed,
        _ => {}
    }
    (me.committed, me.fenced, me.snapshots) = (0, 0, 0);
    me.phase = Phase::Decide;
}

/// Create-only decides: the intent of a session stops counting only if the fence was first. If it was not,
/// the session has committed since, perhaps after the snapshots were read: what it named stays.
fn fence(bug: Option<Bug>, world: &mut World, p: usize, s: usize) {
    world.fences += 1;
    let session = &mut world.sessions[s];
    if session.end == End::None {
        session.close(End::Fenced);
        session.fenced = !session.promised;
    }
    let fenced = session.end == End::Fenced;
    let me = &mut world.prunes[p];
    me.open &= !(1 << s);
    me.late |= !fenced;
    if fenced && bug == Some(Bug::FencedEndDeleted) {
        me.clean |= 1 << s;
    }
    if fenced || bug == Some(Bug::LostFenceIgnored) {
        me.named[s] = 0;
    }
}

/// The commit point of a prune: of all prunes that planned on one generation, one can publish the next. The
/// others planned on copies that may be gone now.
fn publish(shape: &Shape, bug: Option<Bug>, world: &mut World, p: usize, packs: Packs) {
    let me = &mut world.prunes[p];
    let first = !me.overtaken || bug == Some(Bug::AnyGenerationNumber);
    let (attempt, goes) = (me.attempt, me.goes);
    let rescued = me.set & me.named.iter().fold(0, |all, named| all | named) != 0;
    let (phase, clean, rescued) = match first {
        true => (Phase::Delete, me.clean | goes, rescued),
        false if attempt + 1 < shape.prune_attempts => (Phase::Lost, 0, false),
        false => (Phase::Done, 0, false),
    };
    *me = Prune { phase, attempt, clean, rescued, ..Default::default() };
    if first {
        world.removed |= packs;
        for (s, session) in world.sessions.iter_mut().enumerate() {
            session.retired |= goes >> s & 1 == 1;
        }
        world.overtake();
    }
}

/// Deletes the objects of a committed session that a generation has retired. The end of a fenced session stays for
/// ever: its owner may be asleep just before creating it. (Whatever else a fenced session has left counts for
/// nobody; the model drops it at once, see [`super::world::Session::close`].)
fn clean_session(bug: Option<Bug>, world: &mut World, p: usize, s: usize) {
    let session = &mut world.sessions[s];
    match session.end {
        End::Committed if session.retired => {
            (session.listed, session.end) = (false, End::None);
        }
        End::Fenced if bug == Some(Bug::FencedEndDeleted) => session.end = End::None,
        _ if bug == Some(Bug::IntentDeletedEarly) => session.intent = 0,
        _ if bug == Some(Bug::UncommittedSnapshotDeleted) => session.snapshot = false,
        // Another prune was faster.
        _ => {}
    }
    let me = &mut world.prunes[p];
    me.clean &= !(1 << s);
    if me.clean == 0 {
        me.phase = Phase::Done;
    }
}
