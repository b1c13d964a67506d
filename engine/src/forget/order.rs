//! Which of two snapshots is the later one. Clocks of clients are wrong now and then, and somebody who may only add
//! snapshots could choose times that make retention drop the good ones. So the order is, in this turn: a snapshot
//! comes after those it was made on top of; after those whose run had seen fewer prunes; and only then by its clock.

use crate::id::ObjectId;
use crate::listing::Time;
use crate::snapshot::Snapshot;
use std::collections::{BTreeMap, BTreeSet};

/// Further than this a time may not contradict the order without a word: a day and a bit, in seconds.
const TOLERATED_SECS: i64 = 26 * 3600;
/// A clock may be ahead by so much, in seconds.
const AHEAD_SECS: i64 = 3600;

/// A snapshot and what is known of it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name.
    pub id: ObjectId,
    /// What it says.
    pub snapshot: Snapshot,
    /// Generation that its session had seen.
    pub seen: u64,
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

/// A candidate in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// Its place in the list that was given.
    pub at: usize,
    /// Its time in seconds since 1970 as far as it is believed: not in the future, and not before what it was made
    /// on top of.
    pub secs: i64,
}

/// Returns the candidates, oldest first, and how many times are in the future or contradict that order.
pub(super) fn order(candidates: &[Candidate], now: Time) -> (Vec<Placed>, u64, u64) {
    let by_id: BTreeMap<ObjectId, usize> =
        candidates.iter().enumerate().map(|(at, one)| (one.id, at)).collect();
    let key = |at: usize| (candidates[at].seen, candidates[at].snapshot.time, candidates[at].id, at);
    let mut waits_for = vec![0; candidates.len()];
    let mut children = vec![Vec::new(); candidates.len()];
    for (at, candidate) in candidates.iter().enumerate() {
        let parents: BTreeSet<_> = candidate.snapshot.parents.iter().filter_map(|id| by_id.get(id)).collect();
        for parent in parents.into_iter().filter(|parent| **parent != at) {
            waits_for[at] += 1;
            children[*parent].push(at);
        }
    }
    let mut ready: BTreeSet<_> = (0..candidates.len()).filter(|at| waits_for[*at] == 0).map(key).collect();
    let (mut placed, mut believed) = (Vec::with_capacity(candidates.len()), vec![i64::MIN; candidates.len()]);
    let (mut future, mut out_of_order) = (0, 0);
    let mut latest = i64::MIN;
    // Names are hashes of what they name, so no snapshot comes before itself: every one gets ready.
    while let Some((.., at)) = ready.pop_first() {
        let said = candidates[at].snapshot.time.secs;
        future += u64::from(said > now.secs.saturating_add(AHEAD_SECS));
        out_of_order += u64::from(said.saturating_add(TOLERATED_SECS) < latest);
        let secs = said.min(now.secs).max(believed[at]);
        latest = latest.max(said.min(now.secs));
        placed.push(Placed { at, secs });
        for child in &children[at] {
            believed[*child] = believed[*child].max(secs);
            waits_for[*child] -= 1;
            if waits_for[*child] == 0 {
                ready.insert(key(*child));
            }
        }
    }
    (placed, future, out_of_order)
}
