//! The layers, kept by a machine: who may use whom, how long a file may be, what a library may not do.

use crate::rust_files;
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Longest file in lines, tests inside included.
const MAX_LINES: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the path from the workspace's root, for messages.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Returns a file's code: without comments, and without what only tests are compiled with.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = read_to_string(path).unwrap();
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let after = lines.peek().map_or("", |(_, line)| line.trim_start());
        // Modules of tests stand last in their file.
        if line.starts_with("#[cfg(test)]") && after.starts_with("mod ") && after.ends_with('{') {
            break;
        }
        let line = line.trim_start();
        if !line.starts_with("//") {
            kept.push((number + 1, line.split(" // ").next().unwrap_or(line).to_owned()));
        }
    }
    kept
}

/// Returns whether only tests are compiled with the file, going by its name.
fn is_test_file(path: &Path) -> bool {
    shown(path).split(['/', '.', '_']).any(|part| matches!(part, "tests" | "rigged" | "crash"))
}

/// Returns the files of a crate that users get.
fn shipped(dir: &str) -> Vec<PathBuf> {
    rust_files(dir).into_iter().filter(|path| !is_test_file(path)).collect()
}

/// Returns a crate's rooms, lowest first, as the table at the head of its `lib.rs` has them.
fn floors(krate: &str) -> Vec<String> {
    let text = read_to_string(root().join(krate).join("src/lib.rs")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("//! |") && line.contains("[`"));
    let rooms = rows.flat_map(|row| row.split("[`").skip(1).filter_map(|rest| rest.split('`').next()));
    rooms.map(|room| room.trim_start_matches("mod@").to_owned()).collect()
}

/// A circle of modules cannot be understood, tested or moved in parts, and it begins with one harmless `use`.
#[test]
fn rooms_use_only_those_before_them() {
    for (krate, least) in [("engine", 16), ("modules", 6)] {
        let floors = floors(krate);
        let height: BTreeMap<&str, usize> =
            floors.iter().enumerate().map(|(n, room)| (&room[..], n)).collect();
        assert!(
            height.len() == floors.len() && height.len() >= least,
            "{krate}, table in lib.rs: {floors:?}"
        );
        let wrong = uses_of_later_rooms(&format!("{krate}/src"), &height);
        assert!(
            wrong.is_empty(),
            "A room uses a later one of the table in {krate}/src/lib.rs. Rooms that use each other are one room that \
             nobody can take apart: move what both need to the lower of them.\n{}",
            wrong.join("\n")
        );
    }
}

/// Returns every use of a room that stands later in the table of its crate, or not in it.
fn uses_of_later_rooms(dir: &str, height: &BTreeMap<&str, usize>) -> Vec<String> {
    let src = root().join(dir);
    let mut wrong = Vec::new();
    for path in shipped(dir) {
        let below = path.strip_prefix(&src).unwrap();
        let room = below.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        // Of the crate itself, and of the bodies of the fuzz targets, which look at every room.
        if matches!(room, "lib" | "testing") {
            continue;
        }
        let Some(own) = height.get(room) else {
            wrong.push(format!("{}: room {room} is not in the table of lib.rs", shown(&path)));
            continue;
        };
        for (number, line) in code(&path) {
            for used in line.split("crate::").skip(1) {
                let used = used.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
                match height.get(used) {
                    Some(theirs) if theirs <= own => {}
                    Some(_) => wrong.push(format!("{}:{number}: {room} uses {used}", shown(&path))),
                    None => wrong.push(format!("{}:{number}: name the room that is used", shown(&path))),
                }
            }
        }
    }
    wrong
}

/// The engine must be usable without modules and modules without the program; the other way is a circle.
#[test]
fn crates_depend_downwards() {
    for (file, forbidden) in [
        ("engine/Cargo.toml", &["dedup-modules", "dedup.workspace", "clap", "indicatif", "anyhow"][..]),
        ("modules/Cargo.toml", &["dedup.workspace", "clap", "indicatif", "anyhow"]),
    ] {
        let text = read_to_string(root().join(file)).unwrap();
        let dependencies = text.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
        let wrong: Vec<_> = dependencies
            .lines()
            .filter(|line| forbidden.iter().any(|crate_name| line.starts_with(crate_name)))
            .collect();
        assert!(
            wrong.is_empty(),
            "{file}: cli → modules → engine, never back, and words belong to cli: {wrong:?}"
        );
    }
    let text = read_to_string(root().join("Cargo.toml")).unwrap();
    let dependencies = text.split("\n[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(
        !dependencies.contains("testing"),
        "the program is never built with the engine's faults and fuzz bodies"
    );
    for file in ["Cargo.toml", "engine/Cargo.toml", "modules/Cargo.toml"] {
        let text = read_to_string(root().join(file)).unwrap();
        let code = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert!(!code.contains("\ndefault ="), "{file}: a feature that is on by itself");
        let asked = code.matches("\"planted\"").count();
        assert_eq!(asked, 0, "{file}: planted bugs are only ever asked for on the command line");
    }
}

/// Two downloads of somebody's experiments once were committed beside `Cargo.toml`.
#[test]
fn the_top_level_holds_what_belongs_there() {
    let known = ["Cargo.toml", "Cargo.lock", "LICENSE", "Makefile", "README.md", "target"];
    let folders = ["engine", "modules", "cli", "benches", "tests", "fuzz"];
    let entries = std::fs::read_dir(root()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stray: Vec<_> = names
        .filter(|name| !name.starts_with('.') && !known.contains(&&name[..]) && !folders.contains(&&name[..]))
        .collect();
    assert!(stray.is_empty(), "at the top level: {stray:?}");
}

/// What a person reads is the program's business; a library that prints cannot be used by another one. A
/// library that asks the clock or the environment cannot be tested at every moment and in every place.
#[test]
fn libraries_do_not_print_nor_ask_the_world() {
    let words = [
        "print!(",
        "println!(",
        "eprint!(",
        "eprintln!(",
        "dbg!(",
        "std::env",
        "env::var",
        "SystemTime::now",
        "Instant::now",
        "process::exit",
        "process::abort",
        "todo!(",
        "unimplemented!(",
    ];
    let wrong = having(&words, shipped("engine/src").into_iter().chain(shipped("modules/src")));
    assert!(
        wrong.is_empty(),
        "Engine and modules return values and events; only cli/ writes words, and time is an argument.\n{}",
        wrong.join("\n")
    );
}

/// A backup that panics on what somebody wrote leaves its user with a backtrace instead of a backup.
#[test]
fn nothing_that_is_shipped_panics_on_purpose() {
    // `expect` with words only: parsers have methods of that name.
    let words =
        [".unwrap()", ".unwrap_err()", ".expect(\"", "panic!(", "unreachable!(", "todo!(", "unimplemented!("];
    let paths = ["engine/src", "modules/src", "cli"].into_iter().flat_map(shipped);
    // Forgers and generators that tests and fuzzing share, and the tests that every storage must pass.
    let wrong = having(
        &words,
        paths.filter(|path| !["/testing", "/contract"].iter().any(|part| shown(path).contains(part))),
    );
    assert!(wrong.is_empty(), "return an error that says what to do:\n{}", wrong.join("\n"));
}

/// Returns where these files have one of these words, as words of their own.
fn having(words: &[&str], paths: impl Iterator<Item = PathBuf>) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths {
        for (number, line) in code(&path) {
            let whole = |word: &&&str| {
                let of_longer = |at: usize| line[..at].ends_with(|c: char| c.is_alphanumeric());
                line.match_indices(**word).any(|(at, _)| word.starts_with('.') || !of_longer(at))
            };
            let words = words.iter().filter(whole);
            found.extend(words.map(|word| format!("{}:{number}: {word}", shown(&path))));
        }
    }
    found
}

/// A file that is longer has become two things.
#[test]
fn files_are_short() {
    let dirs = ["engine/src", "modules/src", "cli", "tests", "benches", "fuzz"];
    let lines = |path: &PathBuf| read_to_string(path).unwrap().lines().count();
    let long: Vec<_> = dirs
        .iter()
        .flat_map(|dir| rust_files(dir))
        .map(|path| (lines(&path), shown(&path)))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .collect();
    assert!(
        long.is_empty(),
        "more than {MAX_LINES} lines: split them where they stop being one thing: {long:?}"
    );
}

/// The tests above are worth nothing if they look at nothing.
#[test]
fn the_rules_see_the_code() {
    let engine = shipped("engine/src");
    assert!(engine.len() > 60 && shipped("modules/src").len() > 10, "{} files", engine.len());
    let uses = engine.iter().flat_map(|path| code(path)).filter(|(_, line)| line.contains("crate::"));
    assert!(uses.count() > 200);
    let uses = shipped("modules/src").into_iter().flat_map(|path| code(&path));
    assert!(uses.filter(|(_, line)| line.contains("crate::")).count() > 20);
    assert!(floors("engine").iter().any(|room| room == "format"), "{:?}", floors("engine"));
    assert!(floors("modules").iter().any(|room| room == "manifest"), "{:?}", floors("modules"));
}
