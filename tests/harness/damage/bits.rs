//! Single bits that flip: in any object, of any snapshot.

use super::subject::{Judged, Subject, Verdict, is_named, is_told_at};
use crate::support::budget::Budget;
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{Run, World, open, open_keys};
use dedup_engine::error::Kind;
use dedup_engine::progress::Silent;
use dedup_engine::storage::fault::FaultStorage;
use dedup_engine::storage::{Family, Name};
use std::sync::Arc;

/// Returns the object and the bit of it that a bit of the whole repository is.
fn bit_of(subject: &Subject, mut bit: u64) -> (Name, u64) {
    for (name, bytes) in subject.world.storage.objects() {
        let bits = bytes.len() as u64 * 8;
        if bit < bits {
            return (name, bit);
        }
        bit -= bits;
    }
    panic!("there is no bit {bit} more");
}

/// The index was made before. A full run flips every single bit.
#[test]
fn bits_can_flip() {
    let subject = Subject::new();
    let storage = Arc::new(FaultStorage::new(subject.world.storage.clone()));
    let repo = open(storage.clone(), &subject.world.unlock, &subject.world.index(), &Silent).unwrap();
    let all = subject.len() * 8;
    let budget = Budget::of("R4 flipped bits", 1000, all);
    let mut harmless = 0;
    budget.each(|case, random| {
        let bit = if budget.cases() < all { random.below(all) } else { case };
        let (name, bit) = bit_of(&subject, bit);
        let context = format!("{name}, bit {bit}");
        storage.reset();
        storage.corrupt(name, bit / 8, 1 << (bit % 8));
        if matches!(name.family(), Family::Config | Family::Keys) {
            match open_keys(storage.clone(), &subject.world.unlock) {
                // The other slots open as they did.
                Ok(_) => assert!(name != Name::config(), "{context} goes unnoticed"),
                Err(error) => {
                    let clear = [Kind::Integrity, Kind::TooNew, Kind::WrongKey, Kind::Refused];
                    assert!(clear.contains(&error.kind()), "{context}: {error:?}");
                }
            }
        }
        let Judged { verdict, report, lost } = subject.judge_opened(&repo, &[name], &context);
        assert_eq!(verdict, Verdict::Located, "{context} goes unnoticed");
        if name.family() == Family::Packs {
            let part = subject.part_of(&name, bit / 8);
            assert!(
                is_told_at(&report, &name, part),
                "{context}: not told at {part}: {:#?}",
                report.findings
            );
        }
        harmless += u32::from(lost.is_empty());
    });
    budget.tell(&format!(
        "{} of {all} bits: each detected and located, 0 wrong bytes, 0 panics; after {harmless} all restores",
        budget.cases()
    ));
}

/// The index is made from the damaged repository, so that nothing sound is remembered.
#[test]
fn bits_can_flip_before_the_index_is_made() {
    let subject = Subject::new();
    let all = subject.len() * 8;
    let budget = Budget::of("R4 flipped bits, no index", 150, 5000);
    budget.each(|_, random| {
        let (name, bit) = bit_of(&subject, random.below(all));
        let storage = subject.world.storage.fork();
        let bytes = storage.objects().into_iter().find(|(other, _)| *other == name).unwrap().1;
        let mut changed = bytes.to_vec();
        changed[(bit / 8) as usize] ^= 1 << (bit % 8);
        storage.overwrite(name, &changed);
        let context = format!("{name}, bit {bit}");
        let verdict = subject.judge(storage, &[name], &context).verdict;
        assert_ne!(verdict, Verdict::Harmless, "{context} goes unnoticed");
    });
    budget.tell(&format!("{} bits of {all}: each detected and located", budget.cases()));
}

/// Packs of many blocks, files of many chunks, snapshots that share most: exactly the right ones are named.
#[test]
fn no_neighbour_of_a_damaged_file_is_called_damaged() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    let random = &mut Random::new(3);
    for number in 0..14 {
        let len = random.below(60_000) as usize;
        trees::write(&tree.join(format!("{number}")), &random.bytes(len), 1000 + number);
    }
    // Long enough for its list of chunks to be a chunk itself.
    trees::write(&tree.join("list"), &random.text(20_000), 2000);
    world.backup(Run { tree: &tree, moment: 0 }).unwrap();
    trees::write(&tree.join("3"), &random.bytes(70_000), 3000);
    world.backup(Run { tree: &tree, moment: 10 }).unwrap();
    let subject = Subject::of(world);
    let packs: Vec<_> = subject.world.storage.objects();
    let packs: Vec<_> = packs.into_iter().filter(|(name, _)| name.family() == Family::Packs).collect();
    let storage = Arc::new(FaultStorage::new(subject.world.storage.clone()));
    let repo = open(storage.clone(), &subject.world.unlock, &subject.world.index(), &Silent).unwrap();
    let budget = Budget::of("R4 files hit", 60, 2000);
    let (mut named, mut some) = (0, 0);
    budget.each(|_, random| {
        storage.reset();
        let mut names = Vec::new();
        for _ in 0..=random.below(2) {
            let (name, bytes) = &packs[random.below(packs.len() as u64) as usize];
            storage.corrupt(*name, random.below(bytes.len() as u64), 1 << random.below(8));
            names.push(*name);
        }
        let context = format!("{names:?}");
        let Judged { verdict, report, lost } = subject.judge_opened(&repo, &names, &context);
        assert_eq!(verdict, Verdict::Located);
        assert!(names.iter().all(|name| is_named(&report, &[*name])), "{context}: {:#?}", report.findings);
        named += lost.len();
        some += u32::from(!lost.is_empty() && lost.len() < 30);
    });
    assert!(some > 10 || budget.cases() < 60, "only {some} cases hit some files and not all");
    budget.tell(&format!("{} cases, {named} files hit, each named and no other", budget.cases()));
}
