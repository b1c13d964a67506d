//! A topological order that is always the same, or the circles that forbid one.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// Orders things so that each comes after those it waits for.
///
/// `waits_for[n]` are the indexes of what must come before thing `n`; those out of range are left out. Of the things that
/// could come next, the one of lowest `rank` does; ranks should differ. O((n + edges) log n), no recursion.
///
/// # Errors
///
/// Circles, if there is no such order: each in order of waiting (each member waits for the next, the last for the first),
/// beginning with its member of lowest rank, no member in two of them. Every thing that cannot be ordered is in one of
/// them or waits for one, directly or not.
pub fn topological<R: Ord>(ranks: &[R], waits_for: &[Vec<usize>]) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let count = ranks.len();
    let before = |n: usize| -> BTreeSet<usize> {
        waits_for.get(n).into_iter().flatten().copied().filter(|other| *other < count).collect()
    };
    let mut open: Vec<usize> = (0..count).map(|n| before(n).len()).collect();
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); count];
    for n in 0..count {
        before(n).into_iter().for_each(|other| followers[other].push(n));
    }
    let mut ready: BinaryHeap<Reverse<(&R, usize)>> =
        (0..count).filter(|n| open[*n] == 0).map(|n| Reverse((&ranks[n], n))).collect();
    let mut placed = vec![false; count];
    let mut order = Vec::with_capacity(count);
    let mut circles = Vec::new();
    loop {
        while let Some(Reverse((_, n))) = ready.pop() {
            placed[n] = true;
            order.push(n);
            for follower in &followers[n] {
                open[*follower] -= 1;
                if open[*follower] == 0 && !placed[*follower] {
                    ready.push(Reverse((&ranks[*follower], *follower)));
                }
            }
        }
        let Some(start) = (0..count).filter(|n| !placed[*n]).min_by_key(|n| &ranks[*n]) else { break };
        // Everything left waits for something left, so the walk must come back to where it was.
        let circle = walk(start, &placed, ranks, &before);
        // As if its members were placed, so that other circles show.
        for n in &circle {
            placed[*n] = true;
        }
        for n in &circle {
            for follower in &followers[*n] {
                open[*follower] -= 1;
                if open[*follower] == 0 && !placed[*follower] {
                    ready.push(Reverse((&ranks[*follower], *follower)));
                }
            }
        }
        circles.push(circle);
    }
    if circles.is_empty() { Ok(order) } else { Err(circles) }
}

/// Follows what is waited for until something comes again; returns the circle, its lowest member first.
fn walk<R: Ord>(
    start: usize,
    placed: &[bool],
    ranks: &[R],
    before: &dyn Fn(usize) -> BTreeSet<usize>,
) -> Vec<usize> {
    let mut path = vec![start];
    let mut seen = BTreeSet::from([start]);
    let mut at = start;
    while let Some(next) = before(at).into_iter().filter(|n| !placed[*n]).min_by_key(|n| &ranks[*n]) {
        if !seen.insert(next) {
            path.drain(..path.iter().position(|n| *n == next).unwrap_or(0));
            break;
        }
        path.push(next);
        at = next;
    }
    let lowest = (0..path.len()).min_by_key(|n| &ranks[path[*n]]).unwrap_or(0);
    path.rotate_left(lowest);
    path
}
