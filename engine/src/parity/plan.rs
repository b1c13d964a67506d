//! Which packs come into one group, and which groups are not needed any more: pure functions.

use super::cover::Cover;
use super::groups::{Groups, Standing, Stored, standing};
use super::object::GroupKey;
use crate::id::ObjectId;
use crate::repo::RepoError;
use std::collections::{BTreeMap, BTreeSet};

/// What there is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Shards of each group: how many packs may be lost, 1 to 32.
    pub shards: u8,
    /// Most packs of a group, 1 to 128.
    pub packs: usize,
}

/// A group as far as it matters for a plan.
pub(super) struct Known {
    pub packs: Vec<ObjectId>,
    pub standing: Standing,
}

/// Puts the packs that are not protected as wanted into groups of packs of similar lengths.
///
/// Groups that are small, since they were made for a few new packs, are joined with what comes new.
pub(super) fn new_groups(
    packs: &[(ObjectId, u64)],
    known: &[Known],
    wanted: Wanted,
) -> Vec<Vec<(ObjectId, u64)>> {
    let (mut covered, mut well) = (BTreeSet::new(), BTreeSet::new());
    for group in known.iter().filter(|group| group.standing.spare() >= usize::from(wanted.shards)) {
        covered.extend(group.packs.iter().copied());
        if group.standing.there * 2 >= wanted.packs {
            well.extend(group.packs.iter().copied());
        }
    }
    if packs.iter().all(|(id, _)| covered.contains(id)) {
        return Vec::new();
    }
    let mut waiting: Vec<_> = packs.iter().filter(|(id, _)| !well.contains(id)).copied().collect();
    // A shard is as long as the longest pack of its group.
    waiting.sort_unstable_by_key(|(id, len)| (std::cmp::Reverse(*len), *id));
    let count = waiting.len().div_ceil(wanted.packs);
    let mut groups = Vec::with_capacity(count);
    let mut rest = &waiting[..];
    for left in (1..=count).rev() {
        let (group, others) = rest.split_at(rest.len().div_ceil(left));
        let mut group = group.to_vec();
        group.sort_unstable();
        groups.push(group);
        rest = others;
    }
    groups
}

/// Returns the objects of groups that protect nothing which others do not protect as well, or that never will again.
///
/// `is_settled`: nobody is at work on groups, so that one which lacks shards will not get them.
pub(crate) fn superfluous(
    groups: &Groups,
    stored: &Stored,
    is_removed: &dyn Fn(&ObjectId) -> Result<bool, RepoError>,
    is_settled: bool,
) -> Result<Vec<ObjectId>, RepoError> {
    let mut all = Vec::new();
    let mut holders: BTreeMap<ObjectId, Vec<usize>> = BTreeMap::new();
    for (key, pieces) in &groups.all {
        let standing = standing(key, pieces, stored, is_removed)?;
        let there = key.packs.iter().filter(|(id, len)| stored.get(id) == Some(len)).map(|(id, _)| *id);
        let packs: Vec<ObjectId> = there.filter(|id| !is_removed(id).unwrap_or(false)).collect();
        packs.iter().for_each(|id| holders.entry(*id).or_default().push(all.len()));
        all.push((key, standing, packs, pieces));
    }
    // The weakest and smallest first: it is what others make superfluous, not the other way round.
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|at| {
        let (_, standing, packs, _) = &all[*at];
        (standing.spare(), packs.len(), *at)
    });
    let mut dropped = vec![false; all.len()];
    let mut going = Vec::new();
    for at in order {
        let (key, standing, packs, pieces) = &all[at];
        if standing.shards < usize::from(key.shards) && !is_settled {
            continue;
        }
        let covers = |other: &usize| {
            *other != at && !dropped[*other] && all[*other].1.spare() >= standing.spare().max(1)
        };
        let others_do = || packs.iter().all(|id| holders.get(id).is_some_and(|of| of.iter().any(covers)));
        let is_void = standing.removed >= standing.shards;
        if standing.lost == 0 && (is_void || others_do()) {
            dropped[at] = true;
            going.extend(pieces.iter().map(|piece| piece.id));
        } else if is_settled {
            // Parts that are there twice: a run was cut off, and the next one made the same group.
            let chosen = Cover::new(pieces, key.shards, key.shard_len(), &|_| true).chosen();
            let twice = pieces.iter().enumerate().filter(|(place, _)| !chosen.contains(place));
            going.extend(twice.map(|(_, piece)| piece.id));
        }
    }
    Ok(going)
}

/// Returns a group's packs that are of interest to a plan.
pub(super) fn known(key: &GroupKey, standing: Standing) -> Known {
    Known { packs: key.packs.iter().map(|(id, _)| *id).collect(), standing }
}

#[cfg(test)]
mod tests {
    use super::super::object::Piece;
    use super::*;
    use proptest::prelude::*;

    fn id(n: u8) -> ObjectId {
        ObjectId::from_bytes([n; 32])
    }

    fn known_group(packs: &[u8], shards: usize) -> Known {
        let standing = Standing { shards, there: packs.len(), lost: 0, removed: 0 };
        Known { packs: packs.iter().map(|n| id(*n)).collect(), standing }
    }

    #[test]
    fn only_what_lacks_protection_is_grouped_and_small_groups_grow() {
        let packs: Vec<_> = (0..10).map(|n| (id(n), 100 + u64::from(n % 3))).collect();
        let wanted = |shards, packs| Wanted { shards, packs };
        let sizes = |groups: Vec<Vec<_>>| groups.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(new_groups(&packs, &[], wanted(2, 4))), [4, 3, 3], "evenly");
        let all: Vec<u8> = (0..10).collect();
        assert_eq!(sizes(new_groups(&packs, &[known_group(&all, 2)], wanted(2, 16))), [0; 0]);
        assert_eq!(sizes(new_groups(&packs, &[known_group(&all, 1)], wanted(2, 16))), [10], "too weak");
        // Eight are well off; the group of one is joined with what is new, not for its own sake.
        let two = [known_group(&all[..8], 2), known_group(&all[8..9], 2)];
        assert_eq!(sizes(new_groups(&packs, &two, wanted(2, 16))), [2]);
        assert_eq!(sizes(new_groups(&packs[..9], &two, wanted(2, 16))), [0; 0]);
        let grouped = new_groups(&packs, &[], wanted(1, 4));
        assert!(grouped.iter().all(|group| group.is_sorted()), "in the order of their names");
    }

    fn group(packs: &[u8], pieces: &[u8], shards: u8, mark: u8) -> (GroupKey, Vec<Piece>) {
        let key = GroupKey { packs: packs.iter().map(|n| (id(*n), 64)).collect(), shards };
        let piece = |number: &u8| {
            let mut bytes = [*number; 32];
            bytes[0] = mark;
            Piece {
                id: ObjectId::from_bytes(bytes),
                number: *number,
                start: 0,
                len: 64,
                hash: [0; 32],
                part_at: 84,
            }
        };
        (key, pieces.iter().map(piece).collect())
    }

    fn gone(groups: &Groups, stored: &[u8], removed: &[u8], is_settled: bool) -> BTreeSet<u8> {
        let stored: Stored = stored.iter().map(|n| (id(*n), 64)).collect();
        let removed: BTreeSet<ObjectId> = removed.iter().map(|n| id(*n)).collect();
        let going = superfluous(groups, &stored, &|id| Ok(removed.contains(id)), is_settled).unwrap();
        going.iter().map(|id| id.as_bytes()[0]).collect()
    }

    #[test]
    fn what_others_protect_goes_and_what_is_unique_stays() {
        let of = |list: Vec<(GroupKey, Vec<Piece>)>| Groups {
            all: list.into_iter().collect(),
            ..Groups::default()
        };
        let marks = |list: &[u8]| list.iter().copied().collect::<BTreeSet<u8>>();
        let small_and_large = of(vec![group(&[1, 2], &[0, 1], 2, 1), group(&[1, 2, 3], &[0, 1], 2, 2)]);
        assert_eq!(gone(&small_and_large, &[1, 2, 3], &[], true), marks(&[1]));
        let twice = of(vec![group(&[1, 2], &[0, 1], 2, 1), group(&[1, 2], &[0], 1, 2)]);
        assert_eq!(gone(&twice, &[1, 2], &[], true), marks(&[2]), "the weaker one");
        // Nobody can say whether the writer of the second half of a group is still at work.
        let half = of(vec![group(&[1, 2], &[0], 2, 1), group(&[1, 2, 3], &[0, 1], 2, 2)]);
        assert_eq!(gone(&half, &[1, 2, 3], &[], false), marks(&[]));
        assert_eq!(gone(&half, &[1, 2, 3], &[], true), marks(&[1]));
        let one = of(vec![group(&[1, 2, 3], &[0, 1], 2, 1)]);
        assert_eq!(gone(&one, &[1, 2, 3], &[], true), marks(&[]));
        assert_eq!(gone(&one, &[1, 2], &[3], true), marks(&[]), "it still stands one loss");
        assert_eq!(gone(&one, &[1], &[2, 3], true), marks(&[1]), "it stands none any more");
        assert_eq!(gone(&one, &[1], &[], true), marks(&[]), "two are lost, and can be rebuilt");
        assert_eq!(gone(&one, &[], &[], true), marks(&[]), "too many are lost for now");
        let lost =
            of(vec![group(&[1, 2], &[0], 1, 1), group(&[1, 3], &[0], 1, 2), group(&[2, 4], &[0], 1, 3)]);
        assert_eq!(gone(&lost, &[1, 3, 4], &[], true), marks(&[]), "two groups need each other to rebuild 2");
    }

    proptest! {
        /// Whatever the groups: what was protected against so many losses still is.
        #[test]
        fn nothing_loses_protection(
            made in proptest::collection::vec((proptest::collection::btree_set(0..8u8, 1..6), 1..4u8, 0..4u8), 0..8),
            stored in proptest::collection::btree_set(0..8u8, 0..9),
            removed in proptest::collection::btree_set(0..8u8, 0..3),
            is_settled in any::<bool>(),
        ) {
            let of = |(mark, (packs, shards, there)): (usize, &(BTreeSet<u8>, u8, u8))| {
                let packs: Vec<u8> = packs.iter().copied().collect();
                let pieces: Vec<u8> = (0..*there.min(shards)).collect();
                group(&packs, &pieces, *shards, mark as u8)
            };
            let groups = Groups { all: made.iter().enumerate().map(of).collect(), ..Groups::default() };
            let stored: Stored = stored.iter().map(|n| (id(*n), 64)).collect();
            let removed: BTreeSet<ObjectId> = removed.iter().map(|n| id(*n)).collect();
            let is_removed = |id: &ObjectId| Ok(removed.contains(id));
            let before = groups.spares(&stored, &is_removed).unwrap();
            let going: BTreeSet<_> = superfluous(&groups, &stored, &is_removed, is_settled).unwrap().into_iter().collect();
            let mut left = Groups::default();
            for (key, pieces) in &groups.all {
                let pieces: Vec<_> = pieces.iter().filter(|piece| !going.contains(&piece.id)).cloned().collect();
                left.all.insert(key.clone(), pieces);
            }
            let mut after = left.spares(&stored, &is_removed).unwrap();
            after.retain(|id, _| before.contains_key(id));
            prop_assert_eq!(before, after);
        }
    }
}
