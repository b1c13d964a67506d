//! A restore with a way back is killed at every call that changes something, and so is the way back itself.

use super::aside::{prepared, stored};
use super::copy::{read_tree, write_to};
use super::*;
use crate::files::{FilesSink, Safety, SinkOptions, take_back};
use std::process::Command;

/// What the process does that is killed at each of its calls: it is run by the test below.
#[test]
#[ignore = "run by the test that kills it"]
fn restores_until_it_is_killed() {
    let Ok(place) = std::env::var("DEDUP_TEST_ASIDE") else { return };
    let place = PathBuf::from(place);
    let options = SinkOptions { root_metadata: true, ..SinkOptions::default() };
    let kept = read_tree(&place.join("base"));
    let safety = Safety { run: "r1".into(), log: place.join("log") };
    let sink = FilesSink::with_safety(&place.join("t"), options, &safety).unwrap();
    for path in ["deleted", "cleared"] {
        assert!(sink.set_aside(&stored(path)).unwrap());
    }
    assert_eq!(write_to(&kept, &sink).errors, [""; 0]);
    if std::env::var_os("DEDUP_TEST_BACK").is_some() {
        take_back(&place.join("t"), &place.join("log")).unwrap();
    }
}

/// The calls that change something.
const CALLS: [&str; 17] = [
    "mkdirat",
    "linkat",
    "renameat",
    "renameat2",
    "unlinkat",
    "write",
    "pwrite64",
    "ftruncate",
    "fchmod",
    "fchmodat",
    "fchownat",
    "utimensat",
    "fsetxattr",
    "setxattr",
    "fremovexattr",
    "removexattr",
    "symlinkat",
];

/// Kills the process above as it enters the nth of such a call; returns whether it was.
fn killed_at(scratch: &Scratch, call: &str, n: usize, back: bool) -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"]);
    command.arg(format!("inject={call}:signal=SIGKILL:when={n}"));
    command.arg(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "files::tests::killed::restores_until_it_is_killed",
        "--ignored",
        "--test-threads=1",
    ]);
    command.env("DEDUP_TEST_ASIDE", &scratch.1);
    if back {
        command.env("DEDUP_TEST_BACK", "1");
    }
    let output = command.output().expect("strace runs");
    if output.status.success() {
        return false;
    }
    use std::os::unix::process::ExitStatusExt;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.signal(), Some(9), "{text}{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// Kills the process at every `step`th of those calls, one after another; after each kill everything must come back. Returns how often.
fn killed_everywhere(back: bool, step: usize) -> usize {
    let mut kills = 0;
    for call in CALLS {
        for n in (1..).step_by(step) {
            let scratch = Scratch::new();
            prepared(&scratch);
            let before = read_tree(&scratch.path("t"));
            let killed = killed_at(&scratch, call, n, back);
            let log = scratch.path("log");
            if log.exists() {
                let done = take_back(&scratch.path("t"), &log).unwrap();
                assert_eq!(done.left, [""; 0], "killed at {call} {n}");
            }
            let after = read_tree(&scratch.path("t"));
            let differs: Vec<_> =
                after.iter().filter(|one| !before.contains(one)).map(|one| &one.path).collect();
            assert!(differs.is_empty(), "killed at {call} {n}: {differs:?}");
            assert_eq!(after.len(), before.len(), "killed at {call} {n}");
            if !killed {
                break;
            }
            kills += 1;
        }
    }
    kills
}

#[test]
fn killed_at_any_call_everything_comes_back() {
    let kills = killed_everywhere(false, 1);
    println!("FIGURE kills of a restore with a way back: {kills}");
    assert!(kills > 100, "{kills} kills");
}

#[test]
fn killed_on_the_way_back_the_rest_comes_back_too() {
    let kills = killed_everywhere(true, 2);
    println!("FIGURE kills on the way back: {kills}");
    assert!(kills > 100, "{kills} kills");
}
