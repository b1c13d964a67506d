//! Groups over time: new packs, weaker groups, what is cut off, who else is at work.

use super::*;
use crate::error::Kind;
use crate::storage::fault::{Fault, FaultStorage};
use std::io::ErrorKind;

#[test]
fn what_comes_new_is_protected_by_the_next_run_and_small_groups_grow() {
    let lab = Lab::new(&[60_000; 6]);
    let dry = AddOptions { dry_run: true, ..wanted(2, 8) };
    let before = lab.objects();
    let told = lab.add(&dry);
    assert!(lab.objects() == before, "a dry run changes nothing");
    let done = lab.add(&wanted(2, 8));
    assert_eq!(
        (told.groups, told.packs_grouped, told.bytes_read),
        (done.groups, done.packs_grouped, done.bytes_read)
    );
    assert_eq!((done.groups, done.packs_grouped, done.objects), (1, 6, 2));
    lab.assert_protected(2);
    assert_eq!(lab.add(&wanted(2, 8)).groups, 0, "nothing to do");
    lab.grow(&[60_000; 2]);
    assert_eq!(lab.status().packs_protected, 6);
    assert_eq!(lab.add(&wanted(2, 8)).packs_grouped, 2);
    lab.assert_protected(2);
    // The small group of two is joined with what is new.
    lab.grow(&[60_000; 2]);
    let report = lab.add(&wanted(2, 8));
    assert_eq!((report.groups, report.packs_grouped, report.objects_removed), (1, 4, 2), "{report:?}");
    lab.assert_protected(2);
    assert_eq!(lab.status().groups.len(), 2);
    // More shards: all anew. What was there before goes.
    let report = lab.add(&wanted(3, 8));
    assert_eq!((report.packs_grouped, report.objects_removed, report.objects), (10, 4, 6), "{report:?}");
    lab.assert_protected(3);
    let status = lab.status();
    assert_eq!((status.objects, status.groups.len()), (6, 2));
    for refused in [wanted(0, 8), wanted(33, 8), wanted(2, 0), wanted(2, 129)] {
        let error = add(&lab.open(), &refused, &Silent).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
    }
}

#[test]
fn groups_can_be_removed() {
    let lab = Lab::new(&[60_000; 6]);
    lab.add(&wanted(1, 3));
    let first = lab.status().groups[0].first;
    let goes = |key: &GroupKey| key.packs[0].0 == first;
    let before = lab.objects();
    let told = remove(&lab.open(), &goes, true, &Silent).unwrap();
    assert!(lab.objects() == before);
    assert_eq!(remove(&lab.open(), &goes, false, &Silent).unwrap(), told);
    assert_eq!((told.objects, told.packs_unprotected), (1, 3));
    let status = lab.status();
    assert_eq!((status.objects, status.packs_protected, status.groups.len()), (1, 3, 1));
    // What a generation has removed counts for nobody, even where it is still stored.
    let gone =
        before.iter().find(|(name, _)| name.family() == Family::Parity && !lab.objects().contains_key(name));
    let (name, bytes) = gone.unwrap();
    lab.storage.overwrite(*name, bytes);
    assert_eq!(lab.status(), status);
    remove(&lab.open(), &|_| true, false, &Silent).unwrap();
    assert_eq!(lab.of(Family::Parity).len(), 0, "and is deleted by the next who removes something");
    assert_eq!(lab.status().packs_protected, 0);
}

/// Cut off after every second call of the storage: nothing is damaged, nothing stays for ever, and the next run does it all.
#[test]
fn adding_can_be_cut_anywhere() {
    let lab = Lab::new(&[60_000, 400_000, 900_000, 30_000, 1_000]);
    lab.add(&wanted(1, 2));
    lab.grow(&[20_000]);
    let (before, packs) = (lab.objects(), lab.of(Family::Packs));
    let mut cut = 0;
    loop {
        let storage = Arc::new(FaultStorage::new(lab.storage.clone()));
        let repo = lab.open_by(storage.clone());
        storage.freeze_after(storage.count() + cut);
        let done = add(&repo, &wanted(2, 4), &Silent).is_ok();
        drop(repo);
        assert!(lab.of(Family::Packs) == packs, "cut {cut}");
        assert_eq!(lab.repair(true).packs, [], "cut {cut}");
        let half = lab.objects();
        lab.repair(false);
        lab.add(&wanted(2, 4));
        lab.assert_protected(2);
        let lost = lab.packs()[(cut % 6) as usize];
        lab.storage.delete(&lost).unwrap();
        assert_eq!(lab.repair(false).packs_rebuilt(), 1, "cut {cut}");
        assert!(lab.of(Family::Packs) == packs, "cut {cut}");
        // A session that nobody ends any more keeps others from removing what is not whole; ended, nothing is left over.
        let sessions: Vec<Name> = lab.of(Family::Sessions).into_keys().collect();
        sessions.iter().for_each(|name| lab.storage.delete(name).unwrap());
        lab.add(&wanted(2, 4));
        let status = lab.status();
        let bytes: u64 = status.groups.iter().map(|group| group.stored_bytes).sum();
        assert_eq!(
            (status.groups.len(), status.stored_bytes, status.objects),
            (2, bytes, 4),
            "cut {cut}: {status:?}"
        );
        assert!(half.len() <= before.len() + 8, "cut {cut}");
        lab.set_back(&before);
        if done {
            assert!(cut > 20, "too little happens here to prove anything: {cut} calls");
            return println!("FIGURE R1 cuts of parity add: {}, 0 lost", cut / 2);
        }
        cut += 2;
    }
}

/// Likewise, after the others, for a repair of a pack that is damaged, one that is lost, and a shard.
#[test]
fn a_repair_can_be_cut_anywhere() {
    let lab = Lab::new(&[60_000, 400_000, 900_000, 30_000, 1_000]);
    lab.add(&wanted(3, 128));
    let packs = lab.of(Family::Packs);
    Damage::Flipped(500).of(&lab.storage, lab.packs()[0], &[]);
    Damage::Flipped(500).of(&lab.storage, *lab.of(Family::Parity).keys().next().unwrap(), &[]);
    lab.storage.delete(&lab.packs()[1]).unwrap();
    let damaged = lab.objects();
    let mut cut = 1;
    loop {
        let storage = Arc::new(FaultStorage::new(lab.storage.clone()));
        let repo = lab.open_by(storage.clone());
        storage.freeze_after(storage.count() + cut);
        let done = repair(&repo, &MEND(false), &Silent).is_ok_and(|report| report.is_whole());
        drop(repo);
        let report = lab.repair(false);
        assert!(report.is_whole(), "cut {cut}: {report:?}");
        assert!(lab.of(Family::Packs) == packs, "cut {cut}");
        lab.assert_protected(3);
        lab.set_back(&damaged);
        if done {
            assert!(cut > 20, "too little happens here to prove anything: {cut} calls");
            return println!("FIGURE R1 cuts of parity repair: {}, 0 lost", cut / 2);
        }
        cut += 2;
    }
}

/// Calls fail once, before their effect or after it.
#[test]
fn calls_may_fail_once() {
    let lab = Lab::new(&[60_000, 400_000, 30_000]);
    lab.add(&wanted(1, 2));
    lab.storage.delete(&lab.packs()[0]).unwrap();
    let before = lab.objects();
    let counting = Arc::new(FaultStorage::new(lab.storage.clone()));
    let repo = lab.open_by(counting.clone());
    let opened = counting.count();
    let work = |repo: &Repository| {
        let mended = repair(repo, &MEND(false), &Silent)?;
        add(repo, &wanted(2, 4), &Silent).map(|added| mended.is_whole() && added.damaged.is_empty())
    };
    assert!(work(&repo).unwrap());
    let calls = counting.count();
    lab.set_back(&before);
    // Each second call, one way or the other.
    let mut way = 0;
    for call in (opened..calls).step_by(2) {
        way += 1;
        let faults = [Fault::FailBefore(ErrorKind::StorageFull), Fault::FailAfter(ErrorKind::TimedOut)];
        for fault in faults.into_iter().skip(way % 2).take(1) {
            let storage = Arc::new(FaultStorage::new(lab.storage.clone()));
            let repo = lab.open_by(storage.clone());
            let shift = storage.count() as i64 - opened as i64;
            storage.on_call((call as i64 + shift) as u64, fault);
            let told = work(&repo).unwrap_or(false);
            if told {
                assert_eq!(lab.repair(true).packs, [], "{fault:?} at call {call}, and it was called done");
                lab.assert_protected(2);
            }
            let repo = lab.open();
            assert!(work(&repo).unwrap(), "{fault:?} at call {call}: no way forward");
            lab.assert_protected(2);
            lab.set_back(&before);
        }
    }
}
