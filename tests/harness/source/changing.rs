//! A tree that changes while it is backed up: what is restored is one state that the file had, or it was told.

use super::editor::{Editor, State, state_of};
use super::moments::Edited;
use crate::support::Scratch;
use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::random::Random;
use crate::support::world::{Run, World, backup_source, files, restore_to};
use dedup_engine::backup::{BackupReport, Parent};
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// What happened in a part.
#[derive(Default)]
struct Counts {
    edits: u64,
    runs: u64,
    told: u64,
}

/// Returns the moment of a run that begins now: then an entry that changed a moment ago is not trusted.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap() - 4_000_000_000
}

/// Returns the paths that were told, relative to the tree.
fn told(report: &BackupReport, root: &Path) -> BTreeSet<PathBuf> {
    let all = report.problems.iter().chain(&report.notices);
    let path = |slashes: Vec<u8>| Path::new("/").join(String::from_utf8(slashes).unwrap());
    let below = |path: PathBuf| path.strip_prefix(root).unwrap_or(Path::new("")).to_owned();
    all.map(|problem| below(path(problem.path.to_slashes()))).collect()
}

/// Compares what is restored with every state that each path had.
fn judge(
    world: &World,
    repo: &Repository,
    report: &BackupReport,
    editor: &Editor,
    exact: bool,
    case: &str,
) -> u64 {
    let told = told(report, &editor.root);
    let target = world.scratch.path("restored");
    let restored = restore_to(repo, report.snapshot.unwrap(), &editor.root, &target).unwrap();
    assert_eq!(restored.problems, [], "{case}");
    for path in Editor::paths() {
        let state = state_of(&target.join(&path), exact);
        let is_told = told.contains(&path)
            || path.ancestors().skip(1).any(|above| {
                // The empty path is the tree itself, of which nothing is told.
                above != Path::new("") && told.contains(above)
            });
        let had = editor.had(&path, &state);
        assert!(
            had || is_told,
            "{case}: {path:?} is {state:?}, was one of {:?}; told {told:?}",
            editor.states(&path)
        );
        assert!(editor.was_edited(&path) || had && !is_told, "{case}: a false alarm for {path:?}");
        assert!(
            state != State::Absent || editor.had(&path, &State::Absent) || is_told,
            "{case}: {path:?} is left out"
        );
    }
    fs::remove_dir_all(&target).unwrap();
    told.len() as u64
}

/// Backs up the tree as it stands still now; the snapshot must be exactly that.
fn next_is_exact(world: &World, repo: &Repository, root: &Path, moment: i64, case: &str) {
    let run = Run { tree: root, moment };
    let report = backup_source(repo, run, &files(root), Parent::Auto, &Silent).unwrap();
    assert!(report.problems.is_empty() && report.notices.is_empty(), "{case}, the next run: {report:?}");
    let tree = Tree::read(root);
    let target = world.scratch.path("next");
    let restored = restore_to(repo, report.snapshot.unwrap(), root, &target).unwrap();
    assert_eq!(restored.problems, [], "{case}, the next run");
    tree.assert_same(&Tree::read(&target), &format!("{case}, the next run"));
    fs::remove_dir_all(&target).unwrap();
}

/// Returns whether a change right after somebody looked has another time than the one before (multigrain
/// timestamps, Linux 6.13).
fn times_tell_every_change(scratch: &Scratch) -> bool {
    use std::os::unix::fs::MetadataExt;
    let path = scratch.path("times");
    let look = || {
        fs::write(&path, b"x").unwrap();
        let metadata = fs::metadata(&path).unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    };
    (0..200).all(|_| look() != look())
}

/// Rounds of edits at exact moments until there were as many as wanted.
#[test]
fn edits_at_exact_moments_are_consistent_or_told() {
    let budget = Budget::of("R23 edits at exact moments", 500, 4000);
    let world = World::new();
    let repo = world.open().unwrap();
    let root = world.scratch.dir("tree");
    let far = times_tell_every_change(&world.scratch);
    if !far {
        eprintln!("SKIPPED: half of the rounds, which need times that tell every change (Linux 6.13)");
    }
    let seed = budget.seed();
    let editor = Arc::new(Mutex::new(Editor::new(&root, seed, true)));
    let mut counts = Counts::default();
    let mut moment = 0;
    for round in 0.. {
        if counts.edits >= budget.cases() {
            break;
        }
        // Every second round begins so late that only the times themselves can tell.
        let late = far && round % 2 == 1;
        let case = format!("round {round} of seed {seed}, late {late}");
        moment += 100_000;
        let time = |plus: i64| if late { moment + plus } else { now() };
        editor.lock().unwrap().mend();
        let source = Edited::new(&root, editor.clone(), seed.wrapping_add(round), 4);
        let run = Run { tree: &root, moment: time(0) };
        let report = backup_source(&repo, run, &source, Parent::Auto, &Silent).unwrap();
        {
            let editor = editor.lock().unwrap();
            counts.told += judge(&world, &repo, &report, &editor, true, &case);
            counts.edits = editor.edits;
        }
        counts.runs += 1;
        next_is_exact(&world, &repo, &root, time(50_000), &case);
    }
    assert!(counts.told > 0, "nothing was ever told");
    let Counts { edits, runs, told } = counts;
    budget.tell(&format!(
        "{edits} edits in {runs} runs: every file of one moment or told ({told} told); every next run exact"
    ));
}

/// The same with a writer that keeps no time.
#[test]
fn edits_by_a_thread_are_consistent_or_told() {
    let budget = Budget::of("R23 edits by a thread", 300, 3000);
    let world = World::new();
    let repo = world.open().unwrap();
    let root = world.scratch.dir("tree");
    let seed = budget.seed();
    let mut editor = Editor::new(&root, seed, false);
    let mut counts = Counts::default();
    for round in 0.. {
        if counts.edits >= budget.cases() {
            break;
        }
        let case = format!("round {round} of seed {seed}");
        editor.mend();
        let stop = AtomicBool::new(false);
        let source = files(&root);
        let report = std::thread::scope(|scope| {
            let (stop, editor) = (&stop, &mut editor);
            scope.spawn(move || {
                let mut random = Random::new(seed ^ round);
                while !stop.load(Ordering::Relaxed) {
                    editor.edit(None);
                    std::thread::sleep(std::time::Duration::from_micros(random.below(900)));
                }
            });
            let run = Run { tree: &root, moment: now() };
            let report = backup_source(&repo, run, &source, Parent::Auto, &Silent);
            stop.store(true, Ordering::Relaxed);
            report.unwrap()
        });
        counts.told += judge(&world, &repo, &report, &editor, false, &case);
        counts.edits = editor.edits;
        counts.runs += 1;
        next_is_exact(&world, &repo, &root, now(), &case);
    }
    let Counts { edits, runs, told } = counts;
    budget.tell(&format!(
        "{edits} edits in {runs} runs: every file of one moment or told ({told} told); every next run exact"
    ));
}
