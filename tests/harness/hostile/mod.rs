//! Hostile archives in hostile places: a repository is untrusted even when it opens, since another client may be
//! owned; the target is untrusted too, since others may write there.

mod bombs;
mod cases;
mod folders;
mod forged;
pub(super) mod hall;
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

/// Cases are taken this far apart, so that a short run has some of every kind.
const STEP: usize = 97;
/// So many archives share a repository; with more of them every restore has more snapshots to look at.
const PER_HALL: usize = 40;

#[test]
fn nothing_leaves_the_target_and_nothing_is_left_out_silently() {
    if !can_run() {
        return;
    }
    let budget = Budget::of("R17 hostile restores", 75, u64::MAX);
    let all = [names::cases(), planted::cases(), rights::cases()].into_iter().flatten().collect::<Vec<_>>();
    assert!(!all.len().is_multiple_of(STEP) && all.len() > 300, "{} cases", all.len());
    let count = all.len().min(usize::try_from(budget.cases()).unwrap_or(usize::MAX));
    let chosen: Vec<_> = (0..count).map(|number| number * STEP % all.len()).collect();
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
