//! A process that works with spaces is killed at every call that changes something, and its renames fail: no object is lost, the
//! index is whole, and what stood where something was put back is never gone.

use super::super::Spaces;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that tells a child where to work, and the one that tells it to put back only.
const PLACE: &str = "DEDUP_TEST_SPACES";
const ONLY_BACK: &str = "DEDUP_TEST_SPACES_BACK";

/// The calls that change something.
const CALLS: [&str; 14] = [
    "mkdir",
    "mkdirat",
    "link",
    "linkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "write",
    "fsync",
    "fchmod",
    "utimensat",
];

fn prepared(place: &Path) {
    fs::create_dir(place.join("a")).unwrap();
    fs::write(place.join("a/file"), "old a").unwrap();
    fs::write(place.join("b"), "old b").unwrap();
}

fn changed(place: &Path) {
    fs::write(place.join("a/file"), "new a").unwrap();
    fs::write(place.join("b"), "new b").unwrap();
}

/// What the process does that is killed: it is run by the tests below. What it was told to be done it notes in `told`.
#[test]
#[ignore = "run by the test that kills it"]
fn works_until_it_is_killed() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let place = PathBuf::from(place);
    let spaces = Spaces::open(&place.join("store")).unwrap();
    let space = spaces.get("app", true).unwrap();
    if std::env::var_os(ONLY_BACK).is_none() {
        let done = |what: &str| fs::write(place.join(format!("told-{what}")), "").unwrap();
        space.put_path(&place.join("a"), Some("a")).unwrap();
        done("a");
        space.put_path(&place.join("b"), Some("b")).unwrap();
        done("b");
        space.put_value("v", b"value", "text").unwrap();
        done("v");
        space.put_value("gone", b"for a while", "text").unwrap();
        space.delete("gone").unwrap();
        changed(&place);
        done("changed");
    }
    space.replay().unwrap();
}

/// Runs the process above while `strace` does something to its calls; returns whether it came to its end.
fn run(place: &Path, call: &str, what: &str, only_back: bool) -> (bool, String) {
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"]);
    command.arg(format!("inject={call}:{what}")).arg(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "spaces::tests::killed::works_until_it_is_killed",
        "--ignored",
        "--test-threads=1",
    ]);
    command.env(PLACE, place);
    if only_back {
        command.env(ONLY_BACK, "1");
    }
    let output = command.output().expect("strace runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success() || output.status.signal() == Some(9) || what.contains("error"), "{said}");
    (output.status.success(), said)
}

#[test]
fn killed_at_any_call_no_object_is_lost() {
    let mut kills = 0;
    for call in CALLS {
        for n in (1..).step_by(if call == "write" { 3 } else { 1 }) {
            let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
            let place = scratch.path();
            prepared(place);
            let (ended, _) = run(place, call, &format!("signal=SIGKILL:when={n}"), false);
            let told = |what: &str| place.join(format!("told-{what}")).exists();
            let case = format!("killed at {call} {n}");
            // Each place holds the old or the new, whole.
            for (file, words) in [("a/file", ["old a", "new a"]), ("b", ["old b", "new b"])] {
                let found = fs::read_to_string(place.join(file)).unwrap();
                // Where the process was killed while it changed a file itself, that is half.
                assert!(words.contains(&&found[..]) || !told("changed"), "{case}: {file} holds {found:?}");
            }
            let spaces = Spaces::open(&place.join("store")).unwrap();
            let space = spaces.get("app", true).unwrap();
            for name in ["a", "b", "v"].into_iter().filter(|name| told(name)) {
                assert!(space.exists(Some(name), None).unwrap(), "{case}: {name} is lost");
            }
            // Whatever the index names can be read.
            changed(place);
            for object in space.list().unwrap() {
                match object.origin {
                    None => drop(space.value(&object.name).unwrap()),
                    Some(_) => drop(space.restore_name(&object.name, None).unwrap()),
                }
            }
            space.replay().unwrap();
            if told("b") {
                assert_eq!(fs::read_to_string(place.join("a/file")).unwrap(), "old a", "{case}");
                assert_eq!(fs::read_to_string(place.join("b")).unwrap(), "old b", "{case}");
            }
            space.put_value("after", b"x", "text").unwrap();
            let names = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name());
            let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(".dedup")).collect();
            assert!(left.is_empty(), "{case}: {left:?}");
            if ended {
                break;
            }
            kills += 1;
        }
    }
    println!("FIGURE kills of work with spaces: {kills}");
    assert!(kills > 60, "{kills} kills");
}

/// Two places change theirs one after the other. Once the change back of the first failed as well, and what lay beside it, the
/// only copy of what had been there, was removed as a leftover.
#[test]
fn whichever_rename_fails_what_was_there_is_somewhere() {
    let mut failed = 0;
    for n in 1.. {
        let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
        let place = scratch.path();
        prepared(place);
        let space = Spaces::open(&place.join("store")).unwrap().get("app", true).unwrap();
        for name in ["a", "b"] {
            space.put_path(&place.join(name), Some(name)).unwrap();
        }
        changed(place);
        let (ended, said) = run(place, "renameat2", &format!("error=EIO:when={n}+"), true);
        if ended {
            assert_eq!(fs::read_to_string(place.join("b")).unwrap(), "old b");
            break;
        }
        failed += 1;
        let found = contents(place);
        for now in ["new a", "new b"] {
            assert!(
                found.iter().any(|content| content == now),
                "from rename {n} on: {now:?} is gone\n{said}"
            );
        }
        for (file, before) in [("a/file", "a"), ("b", "b")] {
            // What lies beside is told where it is.
            let here = fs::read_to_string(place.join(file)).unwrap();
            assert!(
                here == format!("new {before}") || said.contains("what was there lies at"),
                "{n}: {said}"
            );
        }
    }
    assert!(failed >= 2, "{failed} renames");
}

/// Returns the contents of all files outside the store.
fn contents(place: &Path) -> Vec<String> {
    let (mut found, mut waiting) = (Vec::new(), vec![place.to_owned()]);
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true if entry.file_name() != "store" => waiting.push(entry.path()),
                true => {}
                false => found.push(String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned()),
            }
        }
    }
    found
}
