//! R26: two years of three machines, a day at a time: a backup each day, rules each day, a prune each Sunday. What is kept is what a
//! calendar of another making says, it restores, and the repository does not grow for ever.

use super::{Contents, assert_holds, contents};
use crate::support::budget::Budget;
use crate::support::pruned::{assert_nothing_left, pack_bytes, prune_with};
use crate::support::random::Random;
use crate::support::world::{Run, World, backup, snapshots};
use crate::support::{Scratch, trees};
use dedup_engine::forget::rules::{GroupBy, Rules, plan};
use dedup_engine::forget::{candidates, forget};
use dedup_engine::id::ObjectId;
use dedup_engine::listing::Time;
use jiff::{Timestamp, tz::TimeZone};
use std::collections::{BTreeMap, BTreeSet};

const DAY: i64 = 24 * 3600;
/// The first moment of tests, of which days are counted: Tuesday, 2 October 2096.
const FIRST: i64 = 4_000_000_000;
const CLIENTS: usize = 3;
/// Bytes of each machine's files.
const FILES: usize = 12;
const FILE: usize = 6_000;

/// A snapshot, the day it was made on, and what it holds.
struct Made {
    id: ObjectId,
    day: i64,
    contents: Contents,
}

/// Days to keep of these, newest last: seven days, four weeks, twelve months, every year.
fn kept(days: &[i64]) -> BTreeSet<i64> {
    let date = |day: i64| {
        let moment = Timestamp::from_second(FIRST + day * DAY).unwrap();
        moment.to_zoned(TimeZone::UTC).date()
    };
    let newest_of = |many: usize, of: &dyn Fn(i64) -> i64| {
        let newest: BTreeMap<i64, i64> = days.iter().map(|day| (of(*day), *day)).collect();
        newest.into_values().rev().take(many).collect::<Vec<_>>()
    };
    let week = |day: i64| {
        let monday = date(day).weekday().to_monday_zero_offset();
        day - i64::from(monday)
    };
    let year = |day: i64| i64::from(date(day).year());
    let month = |day: i64| year(day) * 12 + i64::from(date(day).month());
    let all =
        [newest_of(7, &|day| day), newest_of(4, &week), newest_of(12, &month), newest_of(usize::MAX, &year)];
    all.concat().into_iter().collect()
}

/// The rules that say the same.
fn rules() -> Rules {
    // last, hourly, daily, weekly, monthly, yearly
    Rules { counts: [0, 0, 7, 4, 12, u32::MAX], group_by: GroupBy::default(), ..Rules::default() }
}

#[test]
fn years_pass_and_what_rules_keep_is_there() {
    let budget = Budget::of("R26 days", 60, 730);
    let (world, scratch, random) = (World::new(), Scratch::in_memory(), &mut Random::new(budget.seed()));
    let roots: Vec<_> = (0..CLIENTS).map(|client| scratch.dir(format!("{client}"))).collect();
    for root in &roots {
        (0..FILES).for_each(|file| trees::write(&root.join(format!("{file}")), &random.bytes(FILE), 0));
    }
    let mut made: Vec<Vec<Made>> = roots.iter().map(|_| Vec::new()).collect();
    let (mut backups, mut forgotten, mut prunes, mut restored, mut most) = (0, 0, 0, 0, 0);
    let mut repo = Some(world.open().unwrap());
    for day in 0..budget.cases() as i64 {
        if day % 40 == 39 {
            // Now and then a machine is set up anew: its index is gone.
            drop(repo.take());
            std::fs::remove_dir_all(world.index()).unwrap();
        }
        let open = repo.get_or_insert_with(|| world.open().unwrap());
        for (client, root) in roots.iter().enumerate() {
            // The third is off for a month, twice a year.
            if client == 2 && day % 180 > 150 {
                continue;
            }
            let file = root.join(format!("{}", random.below(FILES as u64)));
            trees::write(&file, &random.bytes(FILE), day);
            let run = Run { tree: root, moment: day * DAY + 600 * client as i64 };
            let id = backup(open, run).unwrap().snapshot.unwrap();
            made[client].push(Made { id, day, contents: contents(root) });
            backups += 1;
        }
        let now = Time { secs: FIRST + day * DAY + 7200, nanos: 0 };
        let to_go = plan(&candidates(open).unwrap(), &rules(), now).forgotten();
        forget(open, &to_go, now).unwrap();
        forgotten += to_go.len();
        for of_client in &mut made {
            let keep = kept(&of_client.iter().map(|one| one.day).collect::<Vec<_>>());
            of_client.retain(|one| keep.contains(&one.day));
        }
        let expected: BTreeSet<ObjectId> = made.iter().flatten().map(|one| one.id).collect();
        let there: BTreeSet<ObjectId> = snapshots(open).into_iter().collect();
        assert_eq!(there, expected, "day {day}");
        if day % 7 == 5 {
            let prune = prune_with(open, |options| options.time = now);
            prune.unwrap_or_else(|error| panic!("day {day}: {error}"));
            prunes += 1;
            assert_nothing_left(open, &format!("day {day}"));
        }
        if day % 60 == 59 {
            let afresh = world.open_afresh();
            for one in made.iter().flatten() {
                assert_holds(&afresh, one.id, &one.contents, &format!("day {day}"));
                restored += 1;
            }
            world.assert_sound(&afresh);
            // What differs, each once; listings, directories of packs and padding come to it.
            let all: BTreeSet<&Vec<u8>> =
                made.iter().flatten().flat_map(|one| one.contents.values()).collect();
            let least: usize = all.iter().map(|bytes| bytes.len()).sum();
            let bytes = pack_bytes(&world);
            most = most.max(100 * bytes / least as u64);
            assert!(bytes < 3 * least as u64 / 2 + (64 << 10), "day {day}: {bytes} bytes for {least}");
        }
    }
    budget.tell(&format!(
        "{} days of {CLIENTS} machines: {backups} backups, {forgotten} forgotten, {prunes} prunes, {restored} restores; \
         as kept by the calendar, 0 lost; packs at most {most} % of what is different",
        budget.cases()
    ));
}
