//! Somebody works in the target while it is restored to: directories, files and links change places.

use super::forged::{Entry, dir, file, link, listing};
use super::hall::{Ground, Hall, Outcome, finish};
use crate::support::budget::Budget;
use crate::support::random::Random;
use dedup_engine::id::ObjectId;
use dedup_engine::testing::forge::Forge;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Directories of the tree; each has one below and files in both.
const DIRECTORIES: usize = 24;

/// What the adversary puts in place of what.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trick {
    /// A directory for a link to one outside.
    Directory,
    /// The directory below it.
    Below,
    /// A file, or what is becoming one, for a link to one outside.
    File,
    /// A file for another name of one outside.
    HardLink,
    /// The whole directory for one outside the target that has links in it.
    Moved,
}

const TRICKS: [Trick; 5] = [Trick::Directory, Trick::Below, Trick::File, Trick::HardLink, Trick::Moved];

fn tree(user: bool) -> Vec<Entry> {
    let owner = if user { super::hall::NOBODY } else { 0 };
    let mut entries = Vec::new();
    for number in 0..DIRECTORIES {
        entries.push(dir(&format!("d{number:02}")).mode(0o777));
        entries.push(dir(&format!("d{number:02}/sub")).mode(0o777));
        for name in ["file", "x", "setuid"] {
            entries.push(file(&format!("d{number:02}/{name}"), b"restored").mode(0o666));
            entries
                .push(file(&format!("d{number:02}/sub/{name}"), b"restored").mode(0o666).group(number as u8));
        }
        entries.push(link(&format!("d{number:02}/link"), "x"));
    }
    entries.into_iter().map(|entry| entry.owner(owner, owner)).collect()
}

/// Makes one exchange, and perhaps takes it back; returns whether it met anything.
fn play(ground: &Ground, trick: Trick, random: &mut Random, turn: u64) -> bool {
    let bait = ground.root.join("swaps").join(format!("{turn}"));
    let number = random.below(DIRECTORIES as u64);
    let at = ground.target.join(format!("d{number:02}"));
    let outside = ground.canary.join(["mine", "theirs"][random.below(2) as usize]);
    let place = match trick {
        Trick::Directory => {
            symlink(&outside, &bait).unwrap();
            at
        }
        Trick::Below => {
            symlink(outside.join("sub"), &bait).unwrap();
            at.join("sub")
        }
        Trick::File | Trick::HardLink => {
            let Some(place) = any_file(&at, random) else { return false };
            match trick {
                Trick::File => symlink(outside.join("file"), &bait).unwrap(),
                _ => fs::hard_link(outside.join("file"), &bait).unwrap(),
            }
            place
        }
        Trick::Moved => {
            fs::create_dir(&bait).unwrap();
            symlink(outside.join("sub"), bait.join("sub")).unwrap();
            symlink(outside.join("file"), bait.join("file")).unwrap();
            at
        }
    };
    let swap = || renameat_with(CWD, &bait, CWD, &place, RenameFlags::EXCHANGE).is_ok();
    let met = swap();
    if met && random.below(3) == 0 {
        swap();
    }
    // A link that came back or met nothing is of no more use.
    if fs::symlink_metadata(&bait).is_ok_and(|metadata| !metadata.is_dir()) {
        fs::remove_file(&bait).unwrap();
    }
    met
}

/// Returns something in a directory, temporary files above all.
fn any_file(at: &Path, random: &mut Random) -> Option<PathBuf> {
    // Through a link that another trick left here, nothing is to be gained.
    if fs::symlink_metadata(at).ok()?.is_symlink() {
        return None;
    }
    let names: Vec<_> = fs::read_dir(at).ok()?.flatten().map(|entry| entry.path()).collect();
    let temporary = names.iter().find(|path| path.extension().is_some_and(|extension| extension == "tmp"));
    temporary.or_else(|| names.get(random.below(names.len().max(1) as u64) as usize)).cloned()
}

/// Restores with the adversary at work until the two have met.
fn race(hall: &Hall, ids: [ObjectId; 2], number: u64, random: &mut Random) -> (u64, u64) {
    let user = number % 2 == 1;
    let trick = TRICKS[(number / 2) as usize % TRICKS.len()];
    let ground = hall.ground(1_000_000 + number as usize, user);
    fs::create_dir(ground.root.join("swaps")).unwrap();
    if user {
        std::os::unix::fs::chown(ground.root.join("swaps"), Some(65534), Some(65534)).unwrap();
    }
    let before = ground.outside();
    let stop = AtomicBool::new(false);
    let (mut met, mut told) = (0, 0);
    std::thread::scope(|scope| {
        let (ground, stop) = (&ground, &stop);
        let adversary = scope.spawn(move || {
            let (mut met, mut turn) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                met += u64::from(play(ground, trick, random, turn));
                turn += 1;
            }
            met
        });
        let child = hall.start_restore(ids[usize::from(user)], ground, &["--threads", "2"]);
        let outcome = finish(child);
        // Before anything is asserted: a test that fails must end as well.
        stop.store(true, Ordering::Relaxed);
        met = adversary.join().unwrap();
        let Outcome { code, err, told: paths, .. } = outcome;
        assert!(code == 0 || code == 3, "race {number}, {trick:?}: exit status {code}:\n{err}");
        told += paths.len() as u64;
    });
    let after = ground.outside();
    let lines = before.0.differences(&after.0);
    assert!(
        lines.is_empty(),
        "race {number}, {trick:?}: something outside was changed:\n{}",
        lines.join("\n")
    );
    // Other names of the outside's files come and go, which their inodes show.
    assert!(trick == Trick::HardLink || before.1 == after.1, "race {number}, {trick:?}: touched outside");
    fs::remove_dir_all(&ground.root).unwrap();
    (met, told)
}

#[test]
fn whoever_swaps_directories_and_links_during_a_restore_gains_nothing() {
    if !super::can_run() {
        return;
    }
    let budget = Budget::of("R17 races", 6, 60);
    let hall = Hall::new();
    let ids = [false, true].map(|user| {
        let repo = hall.repository();
        let forge = Forge::begin(&repo).unwrap();
        let root = listing(&forge, &tree(user));
        forge.commit(&[b"/"], root).unwrap()
    });
    hall.open_to_all();
    let (mut met, mut told) = (0, 0);
    budget.each(|number, random| {
        let of_case = race(&hall, ids, number, random);
        met += of_case.0;
        told += of_case.1;
    });
    assert!(met > 0, "the adversary met nothing");
    let races = budget.cases();
    budget.tell(&format!(
        "{races} of {races} stayed inside the target; {met} exchanges met something, {told} entries were refused and told"
    ));
}
