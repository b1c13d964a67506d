//! What goes wrong outside: a full disk, files that may not be read, a repository that may not be written.

use super::support::{PROGRAM, PermissionsExt, Place, finish, is_root, noise, skip, small_tree, tree};
use crate::support::mount::Mount;
use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

/// User and group `nobody` of every Linux (`overflowuid`).
const NOBODY: u32 = 65534;

#[test]
fn a_full_disk_is_1_and_the_repository_stays_usable() {
    let place = Place::empty();
    let disk = place.path("disk");
    let Some(mount) = Mount::tmpfs(&disk, "size=3m") else { return };
    small_tree(&place.path("src"));
    place.run(["init", "--key-file", "key", "disk/repo"]).ok();
    let run = |arguments: &[&str]| {
        place.run([&["-r", "disk/repo", "--key-file", "key", "--index-dir", "index"], arguments].concat())
    };
    run(&["backup", "src"]).ok();
    fs::create_dir(place.path("large")).unwrap();
    for n in 0..8 {
        fs::write(place.path(format!("large/{n}")), noise(n, 1 << 20)).unwrap();
    }
    run(&["backup", "large"]).ends(1).says(&["space", "room"]);
    let error = run(&["backup", "large", "--json"]).ends(1).err;
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!((&error["type"], &error["kind"]), (&"error".into(), &"no_space".into()));

    assert_eq!(run(&["snapshots", "-q"]).ok().out.lines().count(), 2, "one line, and the head");
    run(&["check", "--read-data"]).ok();
    run(&["restore", "latest", "--target", "back"]).ok();
    let below = place.path("back").join(place.path("src").strip_prefix("/").unwrap());
    assert_eq!(tree(&below), tree(&place.path("src")));

    // A target that is full, on the other side.
    mount.remount("size=40m");
    run(&["backup", "large"]).ok();
    run(&["check", "--read-data"]).ok();
    let target = place.path("small");
    let Some(_small) = Mount::tmpfs(&target, "size=2m") else { return };
    run(&["restore", "latest", "--target", "small/out"]).ends(1).says(&["space"]);
}

/// Runs the program as a user to whom files can be closed; `None` if there is no way to become one.
fn unprivileged(place: &Place) -> Option<impl Fn(&[&str]) -> super::support::Run + '_> {
    let program = place.path("dedup");
    if is_root() {
        // The build directory may be out of that user's reach. Copied by a process of its own: a file that this one has
        // open to write is handed to whatever another test starts just then, and cannot be run meanwhile.
        assert!(Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap().success());
        for path in [place.path(""), place.path("home")] {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let became = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .arg("--version")
            .output();
        if !became.is_ok_and(|output| output.status.success()) {
            skip("root, but there is no setpriv that makes a nobody of it");
            return None;
        }
    }
    Some(move |arguments: &[&str]| {
        let plain = place.command(arguments);
        if !is_root() {
            return finish(plain, b"");
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(arguments);
        command.current_dir(place.path("")).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        finish(command, b"")
    })
}

#[test]
fn files_that_may_not_be_read_are_3_and_told() {
    let place = Place::empty();
    let Some(run) = unprivileged(&place) else { return };
    small_tree(&place.path("src"));
    let source = place.path("src");
    for closed in ["noise", "sub"] {
        fs::set_permissions(source.join(closed), PermissionsExt::from_mode(0o000)).unwrap();
    }
    run(&["init", "--key-file", "key", "repo"]).ok();
    let backup = run(&["backup", "src", "--json"]).ends(3);
    let problems: Vec<_> = backup.json_lines().into_iter().filter(|line| line["type"] == "problem").collect();
    let named = |end: &str| problems.iter().any(|line| line["path"].as_str().unwrap().ends_with(end));
    assert!(problems.len() == 2 && named("src/noise") && named("src/sub"), "{problems:?}");
    let summary = backup.summary();
    assert_eq!(
        (&summary["state"], &summary["problems"], &summary["exit_code"]),
        (&"warned".into(), &2.into(), &3.into())
    );
    run(&["backup", "src"]).ends(3).says(&["src/noise", "src/sub", "ermission denied"]);

    // What could be read is there, and nothing pretends to be the rest.
    let from = format!("latest:{}", source.display());
    let words = ["does not have all of files (warned): 2 entries", "--parts"];
    run(&["restore", &from, "--target", "out"]).ok().says(&words);
    assert_eq!(fs::read(place.path("out/text")).unwrap(), fs::read(source.join("text")).unwrap());
    assert!(!place.path("out/noise").exists());
    run(&["check", "--read-data"]).ok();

    // Nor may a target that is closed be forced.
    fs::create_dir(place.path("closed")).unwrap();
    fs::set_permissions(place.path("closed"), PermissionsExt::from_mode(0o555)).unwrap();
    let refused = run(&["restore", "latest", "--target", "closed/out"]);
    assert!(matches!(refused.code, 1 | 3), "{} {}", refused.code, refused.err);
    refused.says(&["ermission denied"]);
    for open in ["noise", "sub"] {
        fs::set_permissions(source.join(open), PermissionsExt::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_read_only_repository_can_be_read_and_restored() {
    let place = Place::with_snapshot();
    let repo = place.path("repo");
    let mounted = if is_root() {
        let arguments = ["-o", "bind,ro", repo.to_str().unwrap()];
        let Some(mount) = Mount::new(&place.path("frozen"), &arguments) else { return };
        Some(mount)
    } else {
        std::os::unix::fs::symlink("repo", place.path("frozen")).unwrap();
        None
    };
    let set_mode = |mode: u32| {
        let found = tree(&repo);
        let folders = found
            .iter()
            .filter(|(_, entry)| entry.0 & 0o170_000 == 0o040_000)
            .map(|(path, _)| repo.join(path));
        for folder in folders.chain([repo.clone()]) {
            fs::set_permissions(folder, PermissionsExt::from_mode(mode)).unwrap();
        }
    };
    if mounted.is_none() {
        set_mode(0o500);
    }
    let run = |arguments: &[&str]| place.run([&["-r", "frozen"], arguments].concat());
    // Once with an index that is there, once with one that must be made.
    for index in ["home/.cache/dedup", "fresh"] {
        let run = |arguments: &[&str]| run(&[arguments, &["--index-dir", index]].concat());
        for line in
            [&["snapshots"][..], &["ls", "latest"], &["stats"], &["check", "--read-data"], &["key", "list"]]
        {
            run(line).ok();
        }
        let from = format!("latest:{}", place.path("src").display());
        run(&["restore", &from, "--target", &format!("out-{}", index.len())]).ok();
        assert_eq!(tree(&place.path(format!("out-{}", index.len()))), tree(&place.path("src")));
        fs::write(place.path("src/text"), index).unwrap();
        let refused = run(&["backup", "src"]).ends(1);
        assert!(refused.err.contains("ead-only") || refused.err.contains("ermission"), "{}", refused.err);
        fs::remove_dir_all(place.path("src")).unwrap();
        fs::rename(place.path(format!("out-{}", index.len())), place.path("src")).unwrap();
    }
    drop(mounted);
    if !is_root() {
        set_mode(0o700);
    }
    place.run(["backup", "src"]).ok();
    place.assert_restores();
}

/// The new slot was stored, removing the old one failed, and the command removed its new key file: whoever then
/// lost the old slot was locked out for ever.
#[test]
fn a_key_change_that_fails_keeps_the_new_key_file() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let place = Place::new();
    let slot = fs::read_dir(place.path("repo/keys")).unwrap().next().unwrap().unwrap().path();
    let slot = fs::File::open(slot).unwrap();
    let flags = ioctl_getflags(&slot).unwrap_or(IFlags::empty());
    if !is_root() || ioctl_setflags(&slot, flags | IFlags::IMMUTABLE).is_err() {
        return skip("no file can be made immutable here");
    }
    let change = place.run(["key", "change", "--new-key-file", "new"]);
    ioctl_setflags(&slot, flags).unwrap();
    assert_ne!(change.code, 0, "{}", change.out);
    place.run(["--key-file", "new", "key", "list"]).ok();
    place.run(["key", "list"]).ok();
}
