//! What rules are asked of: snapshots in their order, and what is odd about their times.

use crate::id::ObjectId;
use crate::listing::Time;
use crate::repo::order::{self as repo_order, Dated, Placed};
use crate::snapshot::Snapshot;

/// A clock may be ahead by so much, in seconds.
const AHEAD_SECS: i64 = 3600;

/// A snapshot and what is known of it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name.
    pub id: ObjectId,
    /// What it says.
    pub snapshot: Snapshot,
    /// How many entries of the log the one follows that made it; nothing if it has none yet.
    pub rank: Option<u64>,
    /// What was said of its run later calls it suspect.
    pub is_suspect: bool,
    /// It is pinned.
    pub is_pinned: bool,
}

/// Something that a person should know before snapshots go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// Times that lie in the future.
    Future {
        /// How many snapshots have such.
        snapshots: u64,
    },
    /// Times that contradict the order in which snapshots were made, by more than a day.
    OutOfOrder {
        /// How many snapshots have such.
        snapshots: u64,
    },
    /// Very many snapshots of one group in the hour before its newest.
    Burst {
        /// The group.
        group: super::Group,
        /// How many.
        snapshots: u64,
    },
    /// More is forgotten than kept.
    MostGo {
        /// How many are forgotten.
        forgotten: u64,
        /// Of how many.
        of: u64,
    },
}

/// Returns the candidates, oldest first, and how many times are in the future or contradict that order.
pub(super) fn order(candidates: &[Candidate], now: Time) -> (Vec<Placed>, u64, u64) {
    let ahead = now.secs.saturating_add(AHEAD_SECS);
    let dated = candidates.iter().map(|one| Dated { id: one.id, snapshot: &one.snapshot, rank: one.rank });
    let mut order = repo_order::order(&dated.collect::<Vec<_>>(), ahead);
    for one in &mut order.placed {
        one.secs = one.secs.min(now.secs);
    }
    let future = candidates.iter().filter(|one| one.snapshot.time.secs > ahead).count();
    (order.placed, future as u64, order.out_of_order)
}
