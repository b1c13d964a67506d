//! Which of two snapshots is the later one. Clocks are wrong now and then, and somebody who may only add snapshots could
//! choose times that make retention drop the good ones. So snapshots stand as their entries in the log follow each
//! other (`FORMAT.md` 15), after those that they were made on top of; clocks decide only what the log leaves open.
//!
//! Copies and rewritten snapshots hold what was stored earlier, and their entries tell when that was done: these stand
//! where their time puts them among the others of their machine.

use crate::id::ObjectId;
use crate::planted::{Bug, planted};
use crate::snapshot::Snapshot;
use std::collections::{BTreeMap, BTreeSet};

/// A time may contradict the order by so much without a word: a day and a bit, in seconds. Runs of one machine overlap.
const TOLERATED_SECS: i64 = 26 * 3600;

/// A snapshot, and how much stands before it in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dated<'a> {
    pub id: ObjectId,
    pub snapshot: &'a Snapshot,
    /// How many entries the one that made it follows; nothing if there is none yet, or the log is not known.
    pub rank: Option<u64>,
}

impl Dated<'_> {
    fn secs(&self) -> i64 {
        self.snapshot.time.secs
    }

    fn is_made_of_another(&self) -> bool {
        self.snapshot.provenance.copy_of.is_some() || self.snapshot.provenance.rewritten_from.is_some()
    }
}

/// A snapshot in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Its place in the list that was given.
    pub at: usize,
    /// Its time in seconds since 1970 as far as it is believed.
    pub secs: i64,
}

/// Snapshots in their order, oldest first, and how many times contradict it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    pub placed: Vec<Placed>,
    pub out_of_order: u64,
}

/// Puts snapshots in order. Times after `last` are not believed; `i64::MAX` where the moment is not known.
pub(crate) fn order(all: &[Dated<'_>], last: i64) -> Order {
    let by_log = by_log(all);
    let mut order = Order::default();
    let mut believed = vec![0; all.len()];
    let mut of_host: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for at in &by_log {
        of_host.entry(&all[*at].snapshot.host).or_default().push(*at);
    }
    for ats in of_host.values() {
        let said: Vec<i64> = ats.iter().map(|at| all[*at].secs()).collect();
        let (times, wrong) = believe(&said, last);
        ats.iter().zip(times).for_each(|(at, secs)| believed[*at] = secs);
        order.out_of_order += wrong;
    }
    order.placed = by_log.into_iter().map(|at| Placed { at, secs: believed[at] }).collect();
    insert_others(all, &mut order.placed, last);
    order
}

/// Returns those that were made here, by the log: each after those it was made on top of.
fn by_log(all: &[Dated<'_>]) -> Vec<usize> {
    let own: BTreeMap<ObjectId, usize> = all
        .iter()
        .enumerate()
        .filter(|(_, one)| !one.is_made_of_another())
        .map(|(at, one)| (one.id, at))
        .collect();
    let rank = |at: usize| if planted(Bug::OrderByClock) { 0 } else { all[at].rank.unwrap_or(u64::MAX) };
    let key = |at: usize| (rank(at), all[at].snapshot.time, all[at].id, at);
    let mut waits_for = vec![0; all.len()];
    let mut children = vec![Vec::new(); all.len()];
    for at in own.values() {
        let parents: BTreeSet<_> = all[*at].snapshot.parents.iter().filter_map(|id| own.get(id)).collect();
        for parent in parents.into_iter().filter(|parent| *parent != at) {
            waits_for[*at] += 1;
            children[*parent].push(*at);
        }
    }
    let mut ready: BTreeSet<_> = own.values().filter(|at| waits_for[**at] == 0).map(|at| key(*at)).collect();
    let mut placed = Vec::with_capacity(own.len());
    // Names are hashes of what they name, so no snapshot comes before itself: every one gets ready.
    while let Some((.., at)) = ready.pop_first() {
        placed.push(at);
        for child in &children[at] {
            waits_for[*child] -= 1;
            if waits_for[*child] == 0 {
                ready.insert(key(*child));
            }
        }
    }
    placed
}

/// Returns what is believed of the times of one machine's snapshots, in their order, and how many of them are wrong.
///
/// Most clocks are right most of the time: the largest set of times that do not contradict each other is right. One that
/// differs from its neighbours there by more than is tolerated is spread evenly between them, so that a clock that
/// was wrong for a week does not make one day of that week.
fn believe(said: &[i64], last: i64) -> (Vec<i64>, u64) {
    let mut believed: Vec<i64> = said.iter().map(|secs| (*secs).min(last)).collect();
    if planted(Bug::BelieveHighestTime) {
        (1..believed.len()).for_each(|at| believed[at] = believed[at].max(believed[at - 1]));
        return (believed, 0);
    }
    let (mut wrong, mut from) = (0, 0_usize);
    for end in longest_rising(said, last).into_iter().chain([said.len()]) {
        let before = from.checked_sub(1).map(|at| said[at]);
        let after = said.get(end).copied();
        let earliest = before.unwrap_or(i64::MIN).saturating_sub(TOLERATED_SECS);
        let latest = after.unwrap_or(last).saturating_add(TOLERATED_SECS);
        let odd: Vec<usize> =
            (from..end).filter(|at| !(earliest..=latest).contains(&said[*at]) || said[*at] > last).collect();
        // What lies ahead is another matter, and now, if nothing later is known: no day of its own.
        wrong += odd.iter().filter(|at| said[**at] <= last).count() as u64;
        let low = before.or(after).unwrap_or(last);
        let high = after.unwrap_or(if last == i64::MAX { low } else { last });
        let step = (i128::from(high) - i128::from(low)) / (odd.len() as i128 + 1);
        for (number, at) in (1_i128..).zip(odd) {
            let is_ahead = said[at] > last && after.is_none();
            // Between two that fit.
            believed[at] = if is_ahead { last } else { (i128::from(low) + step * number) as i64 };
        }
        from = end + 1;
    }
    (believed, wrong)
}

/// Returns the places of a longest sequence that does not fall (Fredman, Discrete Mathematics 11, 1975), from its end on: of
/// several the one that begins highest, since clocks that are wrong and not ahead of now have mostly lost their time.
fn longest_rising(said: &[i64], last: i64) -> Vec<usize> {
    // Of each length the place where a sequence of it can begin highest; and what comes after each place in its own.
    let (mut starts, mut after): (Vec<usize>, Vec<Option<usize>>) = (Vec::new(), vec![None; said.len()]);
    for (at, secs) in said.iter().enumerate().rev().filter(|(_, secs)| **secs <= last) {
        let length = starts.partition_point(|start| said[*start] >= *secs);
        after[at] = length.checked_sub(1).map(|shorter| starts[shorter]);
        if length == starts.len() {
            starts.push(at);
        } else {
            starts[length] = at;
        }
    }
    std::iter::successors(starts.last().copied(), |at| after[*at]).collect()
}

/// Puts what was made of other snapshots among those of its machine, or of all where it has none: before the first that
/// is later. It comes after what it was made from and before what was made on top of it, whatever the clocks say.
fn insert_others(all: &[Dated<'_>], placed: &mut Vec<Placed>, last: i64) {
    let mut others: Vec<usize> = (0..all.len()).filter(|at| all[*at].is_made_of_another()).collect();
    if others.is_empty() {
        return;
    }
    // One that was rewritten has the time of what it was made from, and is the newer of the two.
    let is_rewritten = |at: usize| all[at].snapshot.provenance.rewritten_from.is_some();
    others.sort_by_key(|at| (all[*at].snapshot.time, is_rewritten(*at), all[*at].id));
    // The highest time up to each place: of each machine, and of all.
    let mut highest: BTreeMap<Option<&str>, Vec<(usize, i64)>> = BTreeMap::new();
    let mut children: BTreeMap<ObjectId, usize> = BTreeMap::new();
    let places: BTreeMap<ObjectId, usize> =
        placed.iter().enumerate().map(|(place, one)| (all[one.at].id, place)).collect();
    for (place, one) in placed.iter().enumerate() {
        let snapshot = all[one.at].snapshot;
        for of in [Some(snapshot.host.as_str()), None] {
            let row = highest.entry(of).or_default();
            let most = row.last().map_or(i64::MIN, |(_, most)| *most);
            row.push((place, most.max(one.secs)));
        }
        for id in &snapshot.parents {
            children.entry(*id).or_insert(place);
        }
    }
    let mut rows: Vec<Vec<Placed>> = vec![Vec::new(); placed.len() + 1];
    for at in others {
        let secs = all[at].secs().min(last);
        let own = highest.get(&Some(all[at].snapshot.host.as_str())).or_else(|| highest.get(&None));
        let later = own.and_then(|row| row.get(row.partition_point(|(_, most)| *most <= secs)));
        let place = later.map_or(placed.len(), |(place, _)| *place);
        let from = all[at].snapshot.provenance.rewritten_from.and_then(|from| places.get(&from.snapshot));
        let place = from.map_or(place, |from| place.max(from + 1));
        let place = children.get(&all[at].id).map_or(place, |child| place.min(*child));
        rows[place].push(Placed { at, secs });
    }
    let own = std::mem::take(placed);
    let mut own = own.into_iter();
    for row in rows {
        placed.extend(row);
        placed.extend(own.next());
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
