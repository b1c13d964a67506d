//! Hostile archives in hostile places: a repository is untrusted even when it opens, since another client may be
//! owned; the target is untrusted too, since others may write there.

mod bombs;
mod cases;
mod folders;
mod forged;
pub(crate) mod hall;
mod names;
mod planted;
mod racing;
mod rights;
mod shells;

use crate::support::budget::Budget;
use hall::Hall;

/// Returns whether owners, devices and mounts can be set up here; else it is said, loudly.
fn can_run() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: hostile restores need root, to be another user's victim");
    }
    is_root
}

/// Returns the numbers of `count` cases: first those that are in every run, then some of every kind.
fn choose(names: &[&str], always: &[&str], count: u64) -> Vec<usize> {
    // Taken so far apart, neighbours, which are alike, come late; all come once.
    const STEP: usize = 97;
    assert!(!names.len().is_multiple_of(STEP));
    let place = |name: &&str| {
        names.iter().position(|other| other == name).unwrap_or_else(|| panic!("there is no case {name:?}"))
    };
    let mut chosen: Vec<usize> = always.iter().map(place).collect();
    let others = (0..names.len()).map(|number| number * STEP % names.len());
    let others: Vec<_> = others.filter(|number| !chosen.contains(number)).collect();
    chosen.extend(others);
    chosen.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    chosen
}

/// What the plainest mistakes would fail at.
const ALWAYS: [&str; 16] = [
    "dot dot above a name as the name of a file",
    "slashes that lead outside as the name of a file",
    "an absolute path as the name of a directory",
    "a name twice",
    "a link and a directory of one name",
    "a link to a directory outside where a directory belongs",
    "a link to a directory outside where a directory belongs, as a user",
    "a link to a file outside where a file belongs",
    "a name of a file outside where a file belongs",
    "a name of a file outside where a first name belongs",
    "a pipe where a file belongs",
    "mode 6755 of a user that cannot be",
    "capabilities of another, owners kept",
    "mode, owner and times of a link to ../canary/mine/file",
    "names of one inode, the first is a link to outside by then",
    "a hole of 2^62 bytes",
];
/// So many archives share a repository; with more of them every restore has more snapshots to look at.
const PER_HALL: usize = 40;

#[test]
fn nothing_leaves_the_target_and_nothing_is_left_out_silently() {
    if !can_run() {
        return;
    }
    let budget = Budget::of("R17 hostile restores", 70, u64::MAX);
    let all = [names::cases(), planted::cases(), rights::cases()].into_iter().flatten().collect::<Vec<_>>();
    let names: Vec<&str> = all.iter().map(|case| &case.name[..]).collect();
    let chosen = choose(&names, &ALWAYS, budget.cases());
    let count = chosen.len();
    let (mut users, mut failed) = (0, Vec::new());
    for some in chosen.chunks(PER_HALL) {
        let hall = Hall::new();
        let stored: Vec<_> = some.iter().map(|number| (*number, all[*number].forge(&hall))).collect();
        hall.open_to_all();
        for (number, id) in stored {
            users += usize::from(all[number].user);
            // One failing case does not hide the others.
            let run = || all[number].run(&hall, number, id);
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
                failed.push(format!("{number}, {}", all[number].name));
            }
        }
    }
    assert!(failed.is_empty(), "{} of {count} cases failed:\n{}", failed.len(), failed.join("\n"));
    budget.tell(&format!(
        "{count} of {count} stayed inside the target and were told rightly, {users} of them restored by an ordinary user"
    ));
}
