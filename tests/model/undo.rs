//! The steps of somebody who takes a forgotten snapshot back.
//!
//! The retention object is written by compare and swap, so that a word is one step.

use super::{
    protocol::{Bug, Shape},
    world::{Undo, World},
};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Writes that this session's snapshot is not forgotten.
    Begin(u8),
    /// Reads the condemned sets.
    Sets,
    /// Reads the generations: it is gone, or a live set names it, or it is taken back.
    Generations,
    /// Creates an empty generation, with the number that the prune of the set would take.
    Overtake,
}

/// Steps that can be taken.
pub(super) fn steps(shape: &Shape, world: &World) -> Vec<Step> {
    match world.undo {
        Undo::Off if world.undos < shape.undos => {
            let all = world.sessions.iter().enumerate();
            all.filter(|(_, session)| session.marked).map(|(s, _)| Step::Begin(s as u8)).collect()
        }
        Undo::Off => vec![],
        Undo::Sets(_) => vec![Step::Sets],
        Undo::Generations { .. } => vec![Step::Generations],
        Undo::Overtake(_) => vec![Step::Overtake],
    }
}

/// Whether a set that can still be carried out names the snapshot.
fn is_condemned(world: &World, session: u8) -> bool {
    world.condemned.iter().any(|set| set.packs != 0 && !set.dead && set.snapshots >> session & 1 == 1)
}

/// Takes a step.
pub(super) fn take(bug: Option<Bug>, world: &mut World, step: Step) {
    world.undo = match (step, world.undo) {
        (Step::Begin(session), _) => {
            world.undos += 1;
            world.sessions[usize::from(session)].marked = false;
            Undo::Sets(session)
        }
        (Step::Sets, Undo::Sets(session)) => {
            let named = is_condemned(world, session) && bug != Some(Bug::UndoneUnseen);
            Undo::Generations { session, named }
        }
        (Step::Generations, Undo::Generations { session, .. })
            if world.sessions[usize::from(session)].retired =>
        {
            world.too_late = true;
            Undo::Off
        }
        // A set that has ended since is seen as a generation.
        (Step::Generations, Undo::Generations { session, named: true }) if is_condemned(world, session) => {
            Undo::Overtake(session)
        }
        (Step::Generations, Undo::Generations { session, .. }) => {
            let session = &mut world.sessions[usize::from(session)];
            // Somebody may have forgotten it once more.
            session.forgotten = session.marked;
            Undo::Off
        }
        (Step::Overtake, Undo::Overtake(session)) => {
            // If the set has ended, somebody has taken the number.
            if is_condemned(world, session) {
                world.overtaken = true;
                world.overtake();
            }
            Undo::Sets(session)
        }
        (_, other) => other,
    };
}
