//! Orders beside what a person would say, and times beside a naive model.

use super::*;
use crate::id::RepoId;
use crate::snapshot::Origin;
use proptest::prelude::*;

const DAY: i64 = 86_400;
const NOW: i64 = 1_800_000_000;

fn id(at: usize) -> ObjectId {
    ObjectId::from_bytes([at as u8; 32])
}

fn origin(at: usize) -> Option<Origin> {
    Some(Origin { repo: RepoId::from_bytes([9; 16]), snapshot: id(at) })
}

/// Snapshots in the order of the log, if `rank` says so.
fn dated(snapshots: &[Snapshot], rank: impl Fn(usize) -> Option<u64>) -> Vec<Dated<'_>> {
    let one = |(at, snapshot)| Dated { id: id(at), snapshot, rank: rank(at) };
    snapshots.iter().enumerate().map(one).collect()
}

fn logged(snapshots: &[Snapshot]) -> Vec<Dated<'_>> {
    dated(snapshots, |at| Some(at as u64 * 3))
}

fn places(order: &Order) -> Vec<usize> {
    order.placed.iter().map(|one| one.at).collect()
}

/// Days before now, in the order of the log; what is believed of them, in days before now too.
fn believed(days: &[i64]) -> (Vec<i64>, u64) {
    let said: Vec<i64> = days.iter().map(|day| NOW - day * DAY).collect();
    let (believed, wrong) = believe(&said, NOW);
    (believed.iter().map(|secs| (NOW - secs) / DAY).collect(), wrong)
}

#[test]
fn the_log_decides_and_clocks_where_it_is_silent() {
    let all = [Snapshot::bare("web", 900), Snapshot::bare("db", 500), Snapshot::bare("web", 700)];
    assert_eq!(places(&order(&dated(&all, |at| Some(at as u64)), NOW)), [0, 1, 2]);
    assert_eq!(places(&order(&dated(&all, |_| None), NOW)), [1, 2, 0]);
    // One that has no entry yet was committed a moment ago.
    assert_eq!(places(&order(&dated(&all, |at| (at != 1).then_some(at as u64)), NOW)), [0, 2, 1]);
    let mut all = all;
    all[1].parents = vec![id(2)];
    assert_eq!(places(&order(&dated(&all, |at| Some(at as u64)), NOW)), [0, 2, 1], "made on top of it");
}

/// Once a snapshot of a day on which the clock was a month ahead drew a whole month behind it into one day: what was
/// made on top of it was taken for as new as that, so rules kept one of thirty.
#[test]
fn a_clock_that_was_wrong_for_a_day_costs_no_other_day() {
    let (days, wrong) = believed(&[40, 39, 8, 37, 36, 35, 10, 2, 1]);
    assert_eq!((days, wrong), (vec![40, 39, 38, 37, 36, 35, 10, 2, 1], 1));
    let mut all: Vec<Snapshot> =
        [40, 8, 38, 37].iter().map(|day| Snapshot::bare("pi", NOW - day * DAY)).collect();
    for (before, one) in all.iter_mut().skip(1).enumerate() {
        one.parents = vec![id(before)];
    }
    let order = order(&logged(&all), NOW);
    let days: Vec<i64> = order.placed.iter().map(|one| (NOW - one.secs) / DAY).collect();
    assert_eq!((days, order.out_of_order), (vec![40, 39, 38, 37], 1));
}

#[test]
fn a_clock_that_lost_its_battery_is_spread_over_the_days_it_was_off() {
    assert_eq!(believed(&[9, 8, 7, 20_000, 19_999, 20_000, 3, 2]), (vec![9, 8, 7, 6, 5, 4, 3, 2], 3));
    // It is still off: between the last that was right and now.
    assert_eq!(believed(&[9, 8, 7, 6, 20_000, 20_000]), (vec![9, 8, 7, 6, 4, 2], 2));
    assert_eq!(believed(&[20_000, 3, 2]), (vec![20_000, 3, 2], 0), "from before anything that is known");
    assert_eq!(believed(&[5, 20_000]), (vec![5, 2], 1), "one of each: that one lost its time");
    assert_eq!(believed(&[]), (vec![], 0));
}

#[test]
fn what_lies_ahead_is_now_until_something_later_is_known() {
    let (said, last) = ([NOW - DAY, NOW + 5 * DAY, NOW + 3 * DAY], NOW);
    assert_eq!(believe(&said, last), (vec![NOW - DAY, NOW, NOW], 0), "told as what lies ahead");
    let (times, wrong) = believe(&[NOW - 4 * DAY, NOW + 5 * DAY, NOW - 2 * DAY], NOW);
    assert_eq!((times, wrong), (vec![NOW - 4 * DAY, NOW - 3 * DAY, NOW - 2 * DAY], 0));
}

/// Runs of several modules at once end in another order than they began.
#[test]
fn hours_contradict_nothing() {
    let hours = [0, 10, 4, 30, 12].map(|hour| NOW - DAY * 9 + hour * 3600);
    assert_eq!(believe(&hours, NOW), (hours.to_vec(), 0));
}

/// Once a snapshot of last year from which a path was taken out counted as the newest there is, since its run had seen
/// the newest generation, and `--keep-last 1` dropped last night's for it.
#[test]
fn what_was_made_of_another_stands_where_that_stood() {
    let day = |day: i64| Snapshot::bare("web", NOW - day * DAY);
    let mut all = vec![day(5), day(4), day(3), day(4), day(9), Snapshot::bare("db", NOW), day(2)];
    all[3].provenance.rewritten_from = origin(1);
    all[4].provenance.copy_of = origin(40);
    assert_eq!(places(&order(&logged(&all), NOW)), [4, 0, 1, 3, 2, 5, 6]);
    // A backup goes on from a copy, and somebody set the clock back between.
    all[6].time.secs = NOW - 20 * DAY;
    all[6].parents = vec![id(4)];
    let order = order(&logged(&all), NOW);
    let place = |at| places(&order).iter().position(|one| *one == at).unwrap();
    assert!(place(4) < place(6));
    // Nothing but copies: by their times.
    for one in &mut all {
        one.provenance.copy_of = origin(41);
    }
    let order = super::order(&logged(&all), NOW);
    assert!(order.placed.is_sorted_by_key(|one| one.secs) && order.placed.len() == all.len());
}

/// Two runs of one machine overlapped: the one that began earlier was stored later, and is made anew.
#[test]
fn what_is_made_anew_comes_after_what_it_was_made_from() {
    let mut all = [10, 9, 9].map(|hour| Snapshot::bare("web", NOW - DAY + hour * 3600));
    all[2].provenance.rewritten_from = origin(1);
    assert_eq!(places(&order(&logged(&all), NOW)), [0, 1, 2]);
}

/// The longest sequence that does not fall, by trying all of them.
fn naive_longest(said: &[i64], last: i64) -> usize {
    let mut longest = vec![0; said.len()];
    for at in (0..said.len()).filter(|at| said[*at] <= last) {
        let before = (0..at).filter(|before| said[*before] <= said[at] && said[*before] <= last);
        longest[at] = 1 + before.map(|before| longest[before]).max().unwrap_or(0);
    }
    longest.into_iter().max().unwrap_or(0)
}

proptest! {
    #[test]
    fn the_longest_sequence_is_found(said in proptest::collection::vec(0..60_i64, 0..40), last in 30..60_i64) {
        let found = longest_rising(&said, last);
        prop_assert_eq!(found.len(), naive_longest(&said, last));
        prop_assert!(found.is_sorted() && found.iter().all(|at| said[*at] <= last));
        prop_assert!(found.windows(2).all(|two| two[0] < two[1] && said[two[0]] <= said[two[1]]));
    }

    /// As long as most clocks are right, theirs are the times that are believed, and each wrong one lies between those
    /// around it.
    #[test]
    fn right_clocks_are_believed_whatever_the_wrong_ones_say(
        wrong in proptest::collection::vec(proptest::option::weighted(0.2, any::<i32>()), 1..60),
    ) {
        let days = wrong.len() as i64;
        let right: Vec<i64> = (0..days).map(|at| NOW - (days - at) * 3 * DAY).collect();
        let said: Vec<i64> =
            right.iter().zip(&wrong).map(|(right, wrong)| wrong.map_or(*right, |w| right + 5000 * i64::from(w))).collect();
        let (believed, _) = believe(&said, NOW);
        prop_assert_eq!(believed.len(), said.len());
        // A wrong one may take the part of a right one beside it, of which there is one then for each.
        let off = |at: &usize| (believed[*at] - right[*at]).abs() > 3 * DAY;
        let lost = (0..said.len()).filter(|at| wrong[*at].is_none() && off(at)).count();
        prop_assert!(lost <= wrong.iter().flatten().count());
        prop_assert!(believed.iter().all(|secs| *secs <= NOW));
    }

    /// Each stands once, after what the log and its parents put before it, whatever times and provenance say.
    #[test]
    fn each_stands_once(
        made in proptest::collection::vec((any::<i64>(), 0..3_usize, 0..5_u8, 0..40_usize, any::<bool>()), 0..40),
    ) {
        let all: Vec<Snapshot> = made.iter().enumerate().map(|(at, (secs, host, kind, parent, has_parent))| {
            let mut one = Snapshot::bare(["a", "b", "c"][*host], *secs);
            one.provenance.copy_of = (*kind == 0).then(|| origin(1)).flatten();
            one.provenance.rewritten_from = (*kind == 1).then(|| origin(2)).flatten();
            if *has_parent && at > 0 {
                one.parents = vec![id(parent % at)];
            }
            one
        }).collect();
        let dated = logged(&all);
        for last in [NOW, i64::MAX] {
            let order = order(&dated, last);
            let mut once = places(&order);
            let own: Vec<usize> = once.iter().copied().filter(|at| !dated[*at].is_made_of_another()).collect();
            prop_assert!(own.is_sorted(), "as the log says: {own:?}");
            once.sort_unstable();
            prop_assert_eq!(once, (0..all.len()).collect::<Vec<_>>());
        }
    }
}
