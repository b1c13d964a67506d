//! Checks that read a share begin with what waited longest.

use crate::support::random::Random;
use crate::support::world::{Run, World, backup};
use dedup_engine::check::{self, CheckOptions, CheckReport, ReadData};
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::storage::{Family, Name, Storage};

fn run(repo: &Repository, data: ReadData, unread_for_days: Option<u32>, today: u32) -> CheckReport {
    let options = CheckOptions { data, unread_for_days, today: Some(today), seed: today.into(), threads: 2 };
    check::run(repo, &options, &Silent).unwrap()
}

/// Packs were drawn by lot once: after as many checks of a tenth as there are tenths, a third had not been read.
#[test]
fn shares_reach_everything_and_nothing_twice_before() {
    let world = World::new();
    let live = world.scratch.dir("live");
    let mut random = Random::new(1);
    for n in 0..24 {
        std::fs::write(live.join(format!("{n}")), random.bytes(512 << 10)).unwrap();
    }
    drop(backup(&world.open().unwrap(), Run { tree: &live, moment: 0 }).unwrap());
    let repo = world.open().unwrap();
    let structure = run(&repo, ReadData::Nothing, None, 100);
    let packs = structure.packs;
    assert!(packs >= 10, "{packs} packs");
    assert_eq!((structure.packs_read, structure.packs_never_read), (0, packs));

    let share = packs.div_ceil(4);
    let mut never = packs;
    for day in 101..=104 {
        let report = run(&repo, ReadData::Percent(25), None, day);
        assert_eq!(report.packs_read, share);
        never = never.saturating_sub(share);
        assert_eq!(report.packs_never_read, never, "day {day}");
    }
    // A share of no more than is due, and all that is due.
    drop(repo);
    let repo = world.open().unwrap();
    assert_eq!(
        run(&repo, ReadData::All, Some(30), 133).packs_read,
        packs - share,
        "all but those of the last day"
    );
    assert_eq!(run(&repo, ReadData::All, Some(30), 133).packs_read, 0);
    assert_eq!(run(&repo, ReadData::Percent(50), Some(1), 134).packs_read, packs.div_ceil(2));
    // On a day before that of the notes, a clock was wrong: nothing that it said counts.
    assert_eq!(run(&repo, ReadData::All, Some(30), 50).packs_read, packs);
}

#[test]
fn what_is_damaged_is_read_again_and_what_is_not_known_too() {
    let world = World::new();
    let live = world.scratch.dir("live");
    std::fs::write(live.join("file"), Random::new(2).bytes(4 << 20)).unwrap();
    drop(backup(&world.open().unwrap(), Run { tree: &live, moment: 0 }).unwrap());
    let mut packs = Vec::new();
    let mut each = |name: Name, _: u64| {
        packs.push(name);
        Ok(())
    };
    world.storage.list(Family::Packs, &mut each, &mut |_| {}).unwrap();
    let mut bytes = world.storage.get_all(&packs[0], 1 << 30).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    world.storage.delete(&packs[0]).unwrap();
    world.storage.put(&packs[0], &bytes).unwrap();

    let repo = world.open().unwrap();
    let all = run(&repo, ReadData::All, Some(30), 100);
    assert_eq!((all.packs_read, all.packs_never_read), (packs.len() as u64, 1));
    let again = run(&repo, ReadData::All, Some(30), 101);
    assert_eq!((again.packs_read, again.is_sound()), (1, false), "the damaged one alone");
    drop(repo);
    let afresh = run(&world.open_afresh(), ReadData::All, Some(30), 101);
    assert_eq!(afresh.packs_read, packs.len() as u64, "another index knows of no reading");
}
