//! Whose the files of a repository are that root writes into (7.21 of the design).

use super::jobs::{machine_with, run, user_number};
use crate::cli::support::{Place, is_root, skip};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};

/// Returns the owner of everything below a directory, and of itself.
fn owners(dir: &Path) -> BTreeMap<PathBuf, u32> {
    let (mut found, mut waiting) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(path) = waiting.pop() {
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, metadata.uid());
    }
    found
}

#[test]
fn what_a_job_writes_belongs_to_its_owner_and_nothing_else_does() {
    if !is_root() {
        return skip("only root can give files to another user");
    }
    let machine = machine_with("[owner]\nuser = \"nobody\"\n");
    let (repo, nobody) = (machine.place.path("repo"), user_number("nobody"));
    let before = owners(&repo);
    assert!(before.values().all(|owner| *owner == 0));
    run(&machine, &[]).ok();
    let after = owners(&repo);
    assert!(after.len() > before.len());
    for (path, owner) in after {
        let expected = if before.contains_key(&path) { 0 } else { nobody };
        assert_eq!(owner, expected, "{}", path.display());
    }
    machine.dedup(&["check", "--read-data"]).ok();
    // Who may write in the repository plants links: what they lead to is neither written to nor given away.
    let outside = machine.place.path("outside");
    fs::create_dir(&outside).unwrap();
    for n in 0..=255 {
        let shard = repo.join(format!("packs/{n:02x}"));
        let _ = fs::remove_dir_all(&shard);
        symlink(&outside, &shard).unwrap();
    }
    fs::write(machine.data("one").join("file"), "something new").unwrap();
    assert_ne!(run(&machine, &[]).code, 0);
    assert_eq!(owners(&outside), BTreeMap::from([(outside, 0)]));
}

/// A backup by root in a user's repository made objects that the user could not read any more.
#[test]
fn what_root_writes_into_the_repository_of_a_user_the_user_can_read() {
    if !is_root() {
        return skip("only root can give files to another user");
    }
    let (place, nobody) = (Place::new(), 65_534);
    for path in owners(&place.path("repo")).into_keys() {
        chown(path, Some(nobody), Some(nobody)).unwrap();
    }
    fs::write(place.path("letter"), "dear").unwrap();
    place.run(["backup", "letter"]).ok();
    let owners = owners(&place.path("repo"));
    assert!(owners.values().all(|owner| *owner == nobody), "{owners:?}");
}
