//! Everything that a file system can hold, through a repository and back to the same kind of file system.

use super::everything::build;
use super::images::Image;
use crate::support::budget::Budget;
use crate::support::compare::{Holds, Tree};
use crate::support::world::{Run, World, backup, restore_to};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, IFlags, Mode, OFlags, SeekFrom, StatxFlags, open, openat, seek, statx};
use rustix::fs::{ioctl_getflags, ioctl_setflags, mkdirat};
use std::fs;
use std::path::Path;

/// Returns where the data of a file lies, as the file system tells.
fn data(path: &Path) -> Vec<(u64, u64)> {
    let file = fs::File::open(path).unwrap();
    let len = file.metadata().unwrap().len();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < len
        && let Ok(start) = seek(&file, SeekFrom::Data(at))
    {
        let end = seek(&file, SeekFrom::Hole(start)).unwrap();
        found.push((start, end));
        at = end;
    }
    found
}

fn open_dir(at: &OwnedFd, name: &str) -> OwnedFd {
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).unwrap()
}

/// Makes a chain of directories far beyond `PATH_MAX`, with a file at its end.
fn make_chain(root: &Path, depth: usize) {
    let name = "n".repeat(200);
    let mut at = open(root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&at, &name, Mode::from_raw_mode(0o751)).unwrap();
        at = open_dir(&at, &name);
    }
    let file = openat(&at, "leaf", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o640)).unwrap();
    rustix::io::write(file, b"far down").unwrap();
}

/// Returns mode and time of every directory of such a chain, and what the file holds.
fn read_chain(root: &Path, depth: usize) -> (Vec<(u16, i64, u32)>, Vec<u8>) {
    let name = "n".repeat(200);
    let mut at = open(root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let mut found = Vec::new();
    for _ in 0..depth {
        at = open_dir(&at, &name);
        let stat = statx(&at, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).unwrap();
        found.push((stat.stx_mode, stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec));
    }
    let mut buffer = [0; 64];
    let file = openat(&at, "leaf", OFlags::RDONLY, Mode::empty()).unwrap();
    let len = rustix::io::read(file, &mut buffer).unwrap();
    (found, buffer[..len].to_vec())
}

/// What this text says is not kept must not be kept either, or the text is wrong.
fn assert_not_kept(before: &Path, after: &Path) {
    let born = |path: &Path| {
        let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME).unwrap();
        (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)
    };
    assert!(born(before) == (0, 0) || born(before) != born(after), "the time of birth");
    let flags = |path: &Path| ioctl_getflags(fs::File::open(path).unwrap());
    if let (Ok(before), Ok(after)) = (flags(before), flags(after)) {
        assert!(before.contains(IFlags::NODUMP) && !after.contains(IFlags::NODUMP), "flags of the file");
    }
}

/// Backs a tree up from one kind of file system and restores it to it; returns how much was compared.
fn round(kind: &str, seed: u64) -> Result<u64, String> {
    const DEPTH: usize = 60;
    let image = Image::new(kind)?;
    let (root, deep) = (image.path().join("tree"), image.path().join("deep"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&deep).unwrap();
    let built = build(&root, seed);
    for refused in &built.refused {
        eprintln!("{kind} has no {refused}");
    }
    let marked = root.join("kinds/file");
    // Where a file system has no flags, none is lost.
    if let Ok(flags) = ioctl_getflags(fs::File::open(&marked).unwrap()) {
        let _ = ioctl_setflags(fs::File::open(&marked).unwrap(), flags | IFlags::NODUMP);
    }
    make_chain(&deep, DEPTH);
    let before = Tree::read(&root);

    let world = World::new();
    let repo = world.open().unwrap();
    let mut properties = built.set;
    for (tree, name) in [(&root, "tree"), (&deep, "deep")] {
        let run = Run { tree, moment: 1 };
        let report = backup(&repo, run).unwrap();
        assert!(report.problems.is_empty() && report.notices.is_empty(), "{kind}: {report:?}");
        let target = image.path().join(format!("{name}-restored"));
        let snapshot = report.snapshot.unwrap();
        let report = restore_to(&repo, snapshot, tree, &target).unwrap();
        assert_eq!(report.problems, [], "{kind}");
        // What was right is found right: nothing is written twice.
        let again = restore_to(&repo, snapshot, tree, &target).unwrap();
        assert_eq!((again.bytes_written, &again.problems[..]), (0, &[][..]), "{kind}: a second restore");
    }
    let restored = image.path().join("tree-restored");
    before.assert_same(&Tree::read(&restored), kind);
    for (path, entry) in &before.0 {
        if matches!(entry.holds, Holds::File(..) | Holds::Zeros(_)) {
            assert_eq!(data(&restored.join(path)), data(&root.join(path)), "{kind}: holes of {path:?}");
            properties += 1;
        }
    }
    let chain = read_chain(&deep, DEPTH);
    assert_eq!(read_chain(&image.path().join("deep-restored"), DEPTH), chain, "{kind}: deep directories");
    assert_not_kept(&marked, &restored.join("kinds/file"));
    Ok(properties + DEPTH as u64)
}

#[test]
fn everything_comes_back_on_every_file_system() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: file systems can be mounted, and owners restored, by root only");
        return;
    }
    let budget = Budget::of("R22 metadata", 1, 5);
    let mut results = Vec::new();
    for kind in ["ext4", "xfs", "btrfs", "tmpfs"] {
        let mut properties = 0;
        for number in 0..budget.cases() {
            match round(kind, budget.seed().wrapping_add(number)) {
                Ok(count) => properties = count,
                Err(why) => eprintln!("SKIPPED: {kind}: {why}"),
            }
        }
        if properties > 0 {
            results.push(format!("{kind} {properties}"));
        }
    }
    assert!(!results.is_empty(), "no file system could be mounted");
    let trees = budget.cases();
    budget.tell(&format!("0 differences in {trees} trees; properties compared: {}", results.join(", ")));
}
