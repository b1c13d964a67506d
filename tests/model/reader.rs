//! The steps of a reader: ends and snapshots, generations, segments, the pack. It changes nothing, and it
//! fails only where nothing explains why the pack is missing.

use super::world::{Packs, Reader, World, members};

/// One step of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Reads ends and snapshots, and chooses this one.
    Pick(u8),
    /// Reads generations.
    View,
    /// Reads segments: the chunk is in this pack, or in none.
    Locate(Packs),
    /// Reads the pack.
    Fetch,
}

/// Steps that the reader can take.
pub(super) fn steps(world: &World) -> Vec<Step> {
    match world.reader {
        Reader::Off | Reader::Failed => vec![],
        Reader::Idle => {
            let all = 0..world.sessions.len();
            all.filter(|&s| world.sessions[s].exists()).map(|s| Step::Pick(s as u8)).collect()
        }
        Reader::Picked(_) | Reader::Again(_) => vec![Step::View],
        Reader::Viewed { removed, .. } => {
            let found = world.segments & !removed;
            if found == 0 { vec![Step::Locate(0)] } else { members(found).map(Step::Locate).collect() }
        }
        Reader::Located { .. } => vec![Step::Fetch],
    }
}

/// Takes a step.
pub(super) fn take(world: &mut World, step: Step) {
    world.reader = match (step, world.reader) {
        (Step::Pick(session), _) => Reader::Picked(session),
        (Step::View, Reader::Picked(session) | Reader::Again(session)) => {
            Reader::Viewed { session, overtaken: false, removed: world.removed }
        }
        (Step::Locate(0), Reader::Viewed { session, overtaken, .. }) => missing(world, session, overtaken),
        (Step::Locate(pack), Reader::Viewed { session, overtaken, .. }) => {
            Reader::Located { session, overtaken, pack }
        }
        (Step::Fetch, Reader::Located { session, overtaken, pack }) => {
            if world.packs & pack != 0 {
                Reader::Off
            } else {
                missing(world, session, overtaken)
            }
        }
        (_, other) => other,
    };
}

/// What a reader makes of a missing pack. A forgotten snapshot and a newer generation explain it.
fn missing(world: &World, session: u8, overtaken: bool) -> Reader {
    if !world.sessions[usize::from(session)].exists() {
        Reader::Off
    } else if overtaken {
        Reader::Again(session)
    } else {
        Reader::Failed
    }
}
