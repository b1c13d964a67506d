//! Losses of every kind, up to as many as a group stands, and one more.

use super::*;
use std::collections::BTreeSet;

/// Packs of very different lengths, one of them longer than a part of the shards by far.
const LENS: [usize; 7] = [900_000, 300_000, 70_000, 66_000, 5_000, 400, 1];

fn outcomes(report: &MendReport) -> Vec<&Outcome> {
    report.packs.iter().map(|pack| &pack.outcome).collect()
}

/// R14: every pack in turn, with every kind of damage. What is stored afterwards is what was stored before, no object more.
#[test]
fn every_pack_in_turn_comes_back_bit_for_bit() {
    let lab = Lab::new(&LENS);
    assert_eq!(lab.add(&wanted(1, 128)).groups, 1);
    let before = lab.objects();
    let repo = lab.open();
    let mut cases = 0;
    for name in lab.packs() {
        let other = lab.packs().into_iter().find(|other| *other != name).unwrap();
        for damage in Damage::ALL {
            damage.of(&lab.storage, name, &before[&other]);
            let damaged = lab.objects();
            let told = repair(&repo, &MEND(true), &Silent).unwrap();
            assert_eq!(
                (outcomes(&told), lab.objects() == damaged),
                (vec![&Outcome::Possible], true),
                "{damage:?}"
            );
            let report = repair(&repo, &MEND(false), &Silent).unwrap();
            assert_eq!(outcomes(&report), [&Outcome::Rebuilt], "{damage:?} of {name}: {report:?}");
            assert_eq!(Some(report.packs[0].id), name.object_id());
            assert!(lab.objects() == before, "{damage:?} of {name}");
            cases += 1;
        }
    }
    println!("FIGURE R14 every pack in turn: {cases} cases, bit for bit");
}

/// R14: any two of packs and shards, lost or damaged. Shards that were lost are there again too.
#[test]
fn every_pair_comes_back_bit_for_bit() {
    let lab = Lab::new(&LENS);
    lab.add(&wanted(2, 128));
    let (before, packs) = (lab.objects(), lab.of(Family::Packs));
    let all: Vec<Name> = packs.keys().copied().chain(lab.of(Family::Parity).into_keys()).collect();
    assert_eq!(all.len(), LENS.len() + 2);
    let kinds = Damage::ALL;
    let mut cases = 0;
    for (n, first) in all.iter().enumerate() {
        for second in &all[n + 1..] {
            let (one, two) = (kinds[cases % kinds.len()], kinds[cases / 3 % kinds.len()]);
            one.of(&lab.storage, *first, &before[second]);
            two.of(&lab.storage, *second, &before[first]);
            let case = format!("{one:?} of {first}, {two:?} of {second}");
            let report = lab.repair(false);
            assert!(report.is_whole(), "{case}: {report:?}");
            assert!(lab.of(Family::Packs) == packs, "{case}");
            lab.assert_protected(2);
            assert_eq!(lab.of(Family::Parity).len(), 2, "{case}: {report:?}");
            let again = lab.objects();
            assert!(lab.repair(false).packs.is_empty() && lab.objects() == again, "{case}: once is enough");
            lab.set_back(&before);
            cases += 1;
        }
    }
    println!("FIGURE R14 pairs: {cases} cases, bit for bit");
}

/// One more than the group stands: refused, said clearly, nothing changed.
#[test]
fn one_loss_too_many_is_refused_and_nothing_changes() {
    let lab = Lab::new(&LENS);
    lab.add(&wanted(2, 128));
    let before = lab.objects();
    let long = |name: &Name| before[name].len() > 200_000;
    let packs: Vec<Name> = lab.packs().into_iter().filter(|name| !long(name)).collect();
    let parity: Vec<Name> = lab.of(Family::Parity).into_keys().collect();
    for three in
        [[packs[0], packs[1], packs[2]], [packs[0], packs[3], parity[0]], [packs[4], packs[1], parity[1]]]
    {
        for damage in [Damage::Lost, Damage::Zeroed, Damage::Cut] {
            three.iter().for_each(|name| damage.of(&lab.storage, *name, &[]));
            let damaged = lab.objects();
            for dry_run in [true, false] {
                let report = lab.repair(dry_run);
                assert!(!report.is_whole(), "{report:?}");
                for pack in &report.packs {
                    let Outcome::Refused(why) = &pack.outcome else { panic!("{report:?}") };
                    assert!(why.contains("shards are left") || why.contains("no parity"), "{why}");
                }
                assert!(lab.objects() == damaged, "{damage:?} of {three:?}");
            }
            lab.set_back(&before);
        }
    }
}

/// Without any shard nobody knows of a group: nothing is rebuilt, nothing changed, and that nothing was looked at is told.
#[test]
fn without_shards_nothing_is_known() {
    let lab = Lab::new(&LENS);
    lab.add(&wanted(2, 128));
    lab.storage.delete(&lab.packs()[0]).unwrap();
    for damage in [Damage::Zeroed, Damage::Lost] {
        lab.of(Family::Parity).keys().for_each(|name| damage.of(&lab.storage, *name, &[]));
        let damaged = lab.objects();
        let report = lab.repair(false);
        assert_eq!((report.groups, report.packs_unread), (0, 6), "{report:?}");
        assert_eq!(report.objects_damaged.len(), if damage == Damage::Zeroed { 2 } else { 0 });
        assert!(lab.objects() == damaged);
    }
}

/// A short pack takes room at the beginning of the shards only: behind it, another one may be lost instead.
#[test]
fn what_a_short_pack_does_not_cover_is_not_lost_with_it() {
    let lab = Lab::new(&LENS);
    lab.add(&wanted(1, 128));
    let before = lab.objects();
    let of_len = |is: &dyn Fn(usize) -> bool| {
        *before.iter().find(|(name, bytes)| name.family() == Family::Packs && is(bytes.len())).unwrap().0
    };
    let (long, short) = (of_len(&|len| len > 800_000), of_len(&|len| len < 700));
    lab.storage.delete(&short).unwrap();
    lab.storage.delete(&long).unwrap();
    let report = lab.repair(false);
    assert!(!report.is_whole(), "both begin at the same place: {report:?}");
    // Now only the long one is, and a shard's part that is damaged is a loss where it lies.
    lab.set_back(&before);
    lab.storage.delete(&long).unwrap();
    assert_eq!(lab.repair(false).packs_rebuilt(), 1);
    assert!(lab.objects() == before);
}

/// R15: a repository in which all is well is left as it is, to the byte.
#[test]
fn a_sound_repository_is_not_changed() {
    let lab = Lab::new(&LENS);
    let before = lab.objects();
    assert_eq!(lab.repair(false), MendReport { packs_unread: 7, ..MendReport::default() });
    assert!(lab.objects() == before, "without parity");
    lab.add(&wanted(3, 4));
    let before = lab.objects();
    let report = lab.repair(false);
    assert_eq!((report.packs.len(), report.objects_stored, report.objects_removed), (0, 0, 0));
    assert_eq!((report.groups, report.packs_read, report.objects_read), (2, 7, 6));
    assert!(lab.objects() == before);
}

/// With 32 shards the budget holds 256 KiB of each: parts, and packs that are rebuilt one after another.
#[test]
fn shards_in_parts_and_many_losses_at_once() {
    let lens: Vec<usize> = (0..40).map(|n| 1_000_000 + 10_000 * n).collect();
    let lab = Lab::new(&lens);
    let report = lab.add(&wanted(32, 128));
    assert_eq!((report.groups, report.packs_grouped), (1, 40));
    assert!(report.objects > 4 * 32, "{report:?}");
    let (before, packs) = (lab.objects(), lab.of(Family::Packs));
    for (n, name) in lab.packs().into_iter().take(32).enumerate() {
        Damage::ALL[n % 9].of(&lab.storage, name, b"another");
    }
    let report = lab.repair(false);
    assert_eq!(report.packs_rebuilt(), 32, "{report:?}");
    assert!(lab.objects() == before);
    // A part of every shard, each in another place, and as many packs as are left over there.
    let parity: Vec<Name> = lab.of(Family::Parity).into_keys().collect();
    parity.iter().step_by(9).for_each(|name| lab.storage.delete(name).unwrap());
    lab.packs().iter().take(20).for_each(|name| lab.storage.delete(name).unwrap());
    let report = lab.repair(false);
    assert_eq!(report.packs_rebuilt(), 20, "{report:?}");
    assert_eq!(report.objects_stored, parity.iter().step_by(9).count() as u64);
    assert!(lab.of(Family::Packs) == packs);
    lab.assert_protected(32);
}

/// Only these packs, and what is in their groups.
#[test]
fn single_packs_can_be_asked_for() {
    let lab = Lab::new(&LENS);
    lab.add(&wanted(1, 3));
    let before = lab.objects();
    let repo = lab.open();
    let ids: Vec<ObjectId> = lab.packs().iter().filter_map(Name::object_id).collect();
    for id in &ids {
        lab.storage.delete(&Name::pack(*id)).unwrap();
        let asked = BTreeSet::from([*id]);
        let report = rebuild(&repo, &asked, &MEND(false), &Silent).unwrap();
        assert_eq!((report.groups, report.packs_rebuilt()), (1, 1), "{report:?}");
        assert!(lab.objects() == before);
    }
    let unknown = BTreeSet::from([ObjectId::from_bytes([7; 32])]);
    let report = rebuild(&repo, &unknown, &MEND(false), &Silent).unwrap();
    assert!(!report.is_whole() && report.packs[0].why.contains("no group"), "{report:?}");
}

/// A pack in two groups: what one of them cannot rebuild alone, they can together.
#[test]
fn groups_help_each_other() {
    let lab = Lab::new(&LENS[..4]);
    let ids: Vec<ObjectId> = lab.packs().iter().filter_map(Name::object_id).collect();
    for of in [vec![0, 1, 2], vec![2, 3]] {
        lies::group_of(&lab, &of.iter().map(|n: &usize| ids[*n]).collect::<Vec<_>>(), 1, |_| {});
    }
    let packs = lab.of(Family::Packs);
    for lost in [1, 2] {
        lab.storage.delete(&Name::pack(ids[lost])).unwrap();
    }
    let report = lab.repair(false);
    assert_eq!(report.packs_rebuilt(), 2, "{report:?}");
    assert!(lab.of(Family::Packs) == packs);
}
