//! Trees to back up: the same for the same seed, with one entry at least of every kind there is.

use super::random::Random;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::Path;

/// Sets the time of the last change, of a link itself too.
pub fn set_mtime(path: &Path, secs: i64, nanos: i64) {
    let time = Timespec { tv_sec: secs, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Writes a file whose time of change tells its content apart, whatever the clock's resolution.
pub fn write(path: &Path, content: &[u8], mtime_secs: i64) {
    fs::write(path, content).unwrap();
    set_mtime(path, mtime_secs, 123_456_789);
}

/// Writes a file that is data, a hole, data, a hole.
pub fn write_sparse(path: &Path, random: &mut Random, mtime_secs: i64) {
    let file = fs::File::create(path).unwrap();
    file.write_all_at(&random.bytes(5000), 0).unwrap();
    file.write_all_at(&random.text(70_000), 1 << 20).unwrap();
    file.set_len(3 << 20).unwrap();
    drop(file);
    set_mtime(path, mtime_secs, 5);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn special(path: &Path, kind: FileType, device: u64) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device).unwrap();
}

/// Sets an extended attribute.
pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// Builds the tree of a seed in an empty directory: about 40 entries, 2.4 MB of data. Needs root's rights for
/// owners and a device. The largest file consists of so many chunks that their list is a chunk too.
pub fn build_all_kinds(root: &Path, seed: u64) {
    build(root, seed, 2 << 20);
}

/// The same with a tenth of the data.
pub fn build_small(root: &Path, seed: u64) {
    build(root, seed, 64 << 10);
}

fn build(root: &Path, seed: u64, large_bytes: usize) {
    let random = &mut Random::new(seed);
    for dir in ["docs/deep/er", "empty", "öffentlich", "links"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for number in 0..12 {
        let len = random.below(9000) as usize;
        write(&root.join(format!("docs/{number:02}.txt")), &random.text(len), 1_600_000_000 + number);
    }
    write(&root.join("docs/deep/er/leaf"), &random.bytes(777), 1_700_000_000);
    write(&root.join("docs/nothing"), b"", 1);
    write(&root.join("large"), &random.bytes(large_bytes), 1_500_000_000);
    write(&root.join("same 1"), &[7; 100_000], 1_500_000_001);
    write(&root.join("same 2"), &[7; 100_000], 1_500_000_002);
    write_sparse(&root.join("sparse"), random, 1_500_000_003);
    fs::File::create(root.join("hole only")).unwrap().set_len(1 << 30).unwrap();

    write(&root.join(OsStr::from_bytes(b"not\xFFutf-8\n\x01")), &random.bytes(10), -77);
    write(&root.join("n".repeat(255)), &random.bytes(20), 2_000_000_000);
    write(&root.join("setuid"), b"#!/bin/sh\n", 3);
    lchown(root.join("setuid"), Some(1234), Some(60_000)).unwrap();
    set_mode(&root.join("setuid"), 0o6755);
    set_mode(&root.join("empty"), 0o1777);
    set_mode(&root.join("docs/00.txt"), 0o000);

    write(&root.join("attributes"), b"x", 4);
    set_xattr(&root.join("attributes"), "user.small", b"v");
    set_xattr(&root.join("attributes"), "user.empty", b"");
    set_xattr(&root.join("attributes"), "user.large", &random.bytes(2000));
    set_xattr(&root.join("öffentlich"), "user.of-a-directory", b"d");

    fs::hard_link(root.join("docs/01.txt"), root.join("links/hard")).unwrap();
    fs::hard_link(root.join("docs/01.txt"), root.join("a first name")).unwrap();
    symlink("../docs/01.txt", root.join("links/soft")).unwrap();
    symlink("/nowhere/at all", root.join("links/dangling")).unwrap();
    lchown(root.join("links/dangling"), Some(7), Some(8)).unwrap();
    set_mtime(&root.join("links/dangling"), 99, 999_999_999);
    special(&root.join("fifo"), FileType::Fifo, 0);
    special(&root.join("socket"), FileType::Socket, 0);
    special(&root.join("null"), FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    set_mtime(&root.join("fifo"), 5, 6);
    set_mtime(&root.join("docs"), 1_234_567_890, 1);
    set_mtime(root, 1_000_000_000, 0);
}

/// Changes a tree that [`build_all_kinds`] built: something new, changed, gone, moved, of another kind.
pub fn change(root: &Path, seed: u64) {
    let random = &mut Random::new(seed ^ 0x5EED);
    write(&root.join("docs/02.txt"), &random.text(4000), 1_800_000_000);
    write(&root.join("docs/new"), &random.bytes(30_000), 1_800_000_001);
    fs::remove_file(root.join("docs/03.txt")).unwrap();
    fs::rename(root.join("docs/deep"), root.join("moved")).unwrap();
    let large = fs::File::options().write(true).open(root.join("large")).unwrap();
    large.write_all_at(&random.bytes(1000), 50_000).unwrap();
    drop(large);
    set_mtime(&root.join("large"), 1_800_000_002, 0);
    fs::remove_file(root.join("fifo")).unwrap();
    fs::create_dir(root.join("fifo")).unwrap();
    set_mode(&root.join("docs/04.txt"), 0o600);
    set_xattr(&root.join("attributes"), "user.small", b"other");
    fs::remove_file(root.join("a first name")).unwrap();
    set_mtime(root, 1_000_000_001, 0);
}

/// Builds a tree of a few small files: a repository of a few KB.
pub fn build_tiny(root: &Path, seed: u64) {
    let random = &mut Random::new(seed);
    fs::create_dir(root.join("sub")).unwrap();
    write(&root.join("one"), &random.text(300), 11);
    write(&root.join("sub/two"), &random.bytes(150), 12);
    write(&root.join("sub/three"), b"three", 13);
    symlink("one", root.join("link")).unwrap();
    set_mtime(&root.join("sub"), 14, 0);
    set_mtime(root, 15, 0);
}
