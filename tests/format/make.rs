//! Writes the golden repositories and the seeds of the fuzz corpus anew:
//!
//! ```text
//! cargo test --release --test all -- --ignored make_golden_repositories make_fuzz_seeds
//! ```
//!
//! As root, since the tree that is stored lies in `/golden`. Only for a new draft of the format, and then in the commit that changes `FORMAT.md`. Once the format is
//! final, a golden repository is never written again; new ones come beside it.

use super::golden::{WRITTEN_ONLY, data_dir, place_of};
use crate::cli::support::{Place, noise, packs, tree};
use crate::support::copy_dir;
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::repo::Repository;
use dedup_engine::storage::local::LocalStorage;
use dedup_engine::testing::{TARGETS, seeds};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// When every file of the golden tree was changed last: a moment with nanoseconds.
const CHANGED: Duration = Duration::new(1_600_000_000, 123_456_789);

/// Writes the tree that the golden repositories hold: as in their newest snapshot, or the one before.
pub fn golden_tree(dir: &Path, newest: bool) {
    fs::create_dir_all(dir.join("sub/deeper")).unwrap();
    let write = |name: &[u8], bytes: &[u8]| fs::write(dir.join(OsStr::from_bytes(name)), bytes).unwrap();
    write(b"text", &b"the same line again and again\n".repeat(500));
    write(b"noise", &noise(7, 30_000));
    write(b"empty", b"");
    write(b"no text \xff\x01", b"its name is not UTF-8");
    write(b"sub/deeper/file", b"deep");
    if newest {
        write(b"sub/second", &noise(8, 9_000));
    }
    fs::hard_link(dir.join("sub/deeper/file"), dir.join("sub/linked")).unwrap();
    std::os::unix::fs::symlink("../text", dir.join("sub/link")).unwrap();
    let mut sparse = File::create(dir.join("sparse")).unwrap();
    sparse.write_all(b"begin").unwrap();
    sparse.seek(SeekFrom::Start(300_000)).unwrap();
    sparse.write_all(b"end").unwrap();
    drop(sparse);
    for (path, (mode, _, _)) in
        tree(dir).into_iter().rev().chain([(Default::default(), (0o040_755, (0, 0), Vec::new()))])
    {
        let path = dir.join(path);
        let (is_link, is_dir) = (mode & 0o170_000 == 0o120_000, mode & 0o170_000 == 0o040_000);
        if !is_link {
            let mode = if is_dir { 0o755 } else { 0o640 };
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + CHANGED);
            File::open(&path).unwrap().set_times(times).unwrap();
        }
    }
}

/// Stores the golden tree in two snapshots of host `golden`, with `/golden` as its path.
fn sound(place: &Place) {
    store(place, "key");
}

/// The same with a key file of its own.
fn store(place: &Place, key: &str) {
    // The path that is stored must not depend on where this runs, so the tree lies in the root directory.
    let root = Path::new("/golden");
    assert!(!root.exists(), "{} is in the way", root.display());
    for newest in [false, true] {
        golden_tree(root, newest);
        let time = if newest { "2026-11-21T12:00:00Z" } else { "2026-11-21T11:00:00Z" };
        let what = ["backup", "/golden", "--host", "golden", "--time", time, "--tag", "fixed"];
        place.run([&["--key-file", key], &what[..]].concat()).ok();
        fs::remove_dir_all(root).unwrap();
    }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn flip(path: &Path) {
    change(path, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    });
}

/// Returns the objects of a folder, oldest first as far as their times tell.
fn objects(repo: &Path, folder: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(repo.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort_by_key(|path| path.metadata().unwrap().modified().unwrap());
    found
}

fn newest_of_sessions(repo: &Path, end: &str) -> PathBuf {
    let mut found =
        objects(repo, "sessions").into_iter().filter(|path| path.to_str().unwrap().ends_with(end));
    found.next_back().unwrap()
}

/// Damages a copy of the sound repository; `newest` is the id of its newest snapshot.
fn damage(name: &str, repo: &Path, newest: &str, other: &Place) {
    // The larger data pack is that of the first snapshot.
    let mut data = packs(repo, 3);
    data.sort_by_key(|pack| std::cmp::Reverse(pack.metadata().unwrap().len()));
    let config = repo.join("config");
    let snapshot = repo.join("snapshots").join(newest);
    match name {
        "repo-config-flipped" => flip(&config),
        "repo-config-missing" => fs::remove_file(&config).unwrap(),
        "repo-config-newer" => change(&config, |bytes| bytes[4] = 2),
        "repo-config-truncated" => change(&config, |bytes| bytes.truncate(90)),
        "repo-end-flipped" => flip(&newest_of_sessions(repo, ".end")),
        "repo-end-missing" => fs::remove_file(newest_of_sessions(repo, ".end")).unwrap(),
        "repo-foreign-files" => {
            fs::write(repo.join("packs/readme"), "not an object").unwrap();
            fs::write(repo.join("snapshots/latest"), "nor this").unwrap();
            fs::write(repo.join("notes.txt"), "nor this").unwrap();
        }
        "repo-intent-flipped" => flip(&newest_of_sessions(repo, ".intent-0000000000000001")),
        "repo-listing-pack-missing" => packs(repo, 4).iter().for_each(|pack| fs::remove_file(pack).unwrap()),
        "repo-pack-empty" => fs::write(&data[1], "").unwrap(),
        "repo-pack-flipped" => flip(&data[1]),
        "repo-pack-missing" => fs::remove_file(&data[1]).unwrap(),
        "repo-pack-of-another" => {
            let theirs = &packs(&other.path("repo"), 3)[0];
            let name = theirs.strip_prefix(other.path("repo")).unwrap();
            fs::create_dir_all(repo.join(name).parent().unwrap()).unwrap();
            fs::copy(theirs, repo.join(name)).unwrap();
        }
        "repo-pack-truncated" => change(&data[1], |bytes| bytes.truncate(bytes.len() / 2)),
        "repo-packs-swapped" => {
            let (first, second) = (fs::read(&data[0]).unwrap(), fs::read(&data[1]).unwrap());
            fs::write(&data[0], second).unwrap();
            fs::write(&data[1], first).unwrap();
        }
        "repo-segment-flipped" => flip(&objects(repo, "segments")[0]),
        "repo-segments-missing" => {
            objects(repo, "segments").iter().for_each(|path| fs::remove_file(path).unwrap());
        }
        "repo-slot-flipped" => flip(&objects(repo, "keys")[0]),
        "repo-slot-missing" => fs::remove_file(&objects(repo, "keys")[0]).unwrap(),
        "repo-snapshot-flipped" => flip(&snapshot),
        "repo-snapshot-missing" => fs::remove_file(&snapshot).unwrap(),
        "repo-tmp-left" => fs::write(repo.join("tmp/half-a-pack"), noise(9, 500)).unwrap(),
        _ => assert_eq!(name, "repo-1-draft2"),
    }
}

#[test]
#[ignore = "writes tests/data anew; see the head of this file"]
fn make_golden_repositories() {
    let place = Place::new();
    sound(&place);
    let newest = place.newest();
    let other = Place::with_snapshot();
    let names = super::golden::names();
    let folders = fs::read_dir(data_dir()).unwrap().map(|entry| entry.unwrap().path());
    let is_golden =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"repo-"));
    for old in folders.filter(is_golden) {
        fs::remove_dir_all(old).unwrap();
    }
    fs::write(data_dir().join("golden.key"), fs::read(place.path("key")).unwrap()).unwrap();
    for name in names.into_iter().filter(|name| *name != WRITTEN_ONLY) {
        let copy = Place::empty();
        let repo = copy.path("repo");
        copy_dir(&place.path("repo"), &repo);
        // Copied in one moment: the order of the objects is that of the original.
        for (path, (_, (secs, nanos), _)) in tree(&place.path("repo")) {
            let time =
                SystemTime::UNIX_EPOCH + Duration::new(secs.unsigned_abs(), nanos.unsigned_abs() as u32);
            File::open(repo.join(path)).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
        }
        damage(name, &repo, &newest, &other);
        copy_dir(&repo, &data_dir().join(name));
    }
    written_only();
    super::years::make();
}

/// Makes the one that a client stored which only writes, under the key file of the others.
fn written_only() {
    let place = Place::empty();
    fs::copy(data_dir().join("golden.key"), place.path("key")).unwrap();
    place.run(["init", "--key-file", "key", "repo"]).ok();
    place.run(["key", "add", "--write-only", "--new-key-file", "writer", "--label", "writer"]).ok();
    store(&place, "writer");
    fs::copy(place.path("writer"), data_dir().join("golden-writer.key")).unwrap();
    copy_dir(&place.path("repo"), &data_dir().join(WRITTEN_ONLY));
}

#[test]
#[ignore = "writes one of tests/data anew; see the head of this file"]
fn make_golden_written_only() {
    written_only();
}

#[test]
#[ignore = "writes fuzz/corpus anew; see the head of this file"]
fn make_fuzz_seeds() {
    const MOST: usize = 8;
    let place = place_of("repo-1-draft2");
    let unlock = Unlock::read_key_file(&fs::read_to_string(place.path("key")).unwrap()).unwrap();
    let storage = Arc::new(LocalStorage::open(place.path("repo")).unwrap());
    let repo = Repository::open(storage, &unlock, 256 << 20).unwrap();
    let all = seeds(&repo).unwrap();
    for (target, _) in TARGETS {
        let of_target: BTreeSet<_> =
            all.iter().filter(|(name, _)| *name == target).map(|(_, seed)| seed).collect();
        assert!(!of_target.is_empty(), "nothing of the golden repository is a {target}");
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        fs::create_dir_all(&dir).unwrap();
        let step = of_target.len().div_ceil(MOST);
        for (number, seed) in of_target.into_iter().step_by(step).enumerate() {
            fs::write(dir.join(format!("seed-{number}")), seed).unwrap();
        }
    }
}
