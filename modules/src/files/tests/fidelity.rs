//! What goes through source and sink comes out as it was.

use super::copy::{read_tree, read_tree_with, write_tree};
use super::*;
use crate::files::SinkOptions;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, makedev, mknodat, setxattr,
    utimensat,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::process::Command;

/// `security.capability` of version 2: cap_net_raw permitted and effective (`linux/capability.h`).
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn set_times(path: &Path, secs: i64, nanos: i64) {
    let time = Timespec { tv_sec: secs, tv_nsec: nanos };
    let times =
        Timestamps { last_access: Timespec { tv_sec: secs + 1, tv_nsec: nanos }, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// One entry of every kind, with everything that can be set on it.
fn make_everything(scratch: &Scratch) -> PathBuf {
    let base = scratch.path("base");
    let at = |name: &str| base.join(name);
    scratch.file("base/plain", b"content");
    chown(at("plain"), Some(1234), Some(4321)).unwrap();
    fs::set_permissions(at("plain"), fs::Permissions::from_mode(0o4751)).unwrap();
    scratch.file("base/capable", b"#!");
    setxattr(at("capable"), "security.capability", &NET_RAW, XattrFlags::empty()).unwrap();
    setxattr(at("capable"), "user.empty", &[], XattrFlags::empty()).unwrap();
    setxattr(at("capable"), "trusted.large", &[9; 2000], XattrFlags::empty()).unwrap();
    scratch.file("base/listed", b"");
    let set_acl = |arguments: &[&str], path: PathBuf| {
        assert!(Command::new("setfacl").args(arguments).arg(path).status().unwrap().success());
    };
    set_acl(&["-m", "u:1234:rw,g:77:r"], at("listed"));
    fs::create_dir(at("inheriting")).unwrap();
    set_acl(&["-d", "-m", "u:1234:rwx"], at("inheriting"));
    scratch.file("base/inheriting/got one", b"");
    scratch.file("base/inheriting/lost it", b"");
    set_acl(&["-b"], at("inheriting/lost it"));
    fs::create_dir_all(at("empty/nested")).unwrap();
    fs::set_permissions(at("empty"), fs::Permissions::from_mode(0o3555)).unwrap();
    symlink(OsStr::from_bytes(b"to/\xff\nnowhere"), at("link")).unwrap();
    lchown(at("link"), Some(5), Some(6)).unwrap();
    lsetxattr(at("link"), "trusted.of-a-link", b"x", XattrFlags::empty()).unwrap();
    scratch.file("base/names/one", b"linked");
    fs::hard_link(at("names/one"), at("names/two")).unwrap();
    fs::create_dir(at("names/below")).unwrap();
    fs::hard_link(at("names/one"), at("names/below/three")).unwrap();
    fs::hard_link(at("link"), at("names/link too")).unwrap();
    for name in [&[b'n'; 255][..], b"\xff\xfe", b"new\nline", b"\\ \"", b".dedup-x.tmp", b"\x01"] {
        fs::write(base.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let node =
        |name: &str, kind, device| mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    node("fifo", FileType::Fifo, 0);
    node("socket", FileType::Socket, 0);
    node("null", FileType::CharacterDevice, makedev(1, 3));
    node("disk", FileType::BlockDevice, makedev(259, 70_000));
    chown(at("fifo"), Some(7), None).unwrap();
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    sparse.write_at(b"middle", 1 << 39).unwrap();
    fs::File::create(at("hole at the end")).unwrap().set_len(3 << 20).unwrap();
    fs::OpenOptions::new().write(true).open(at("hole at the end")).unwrap().write_at(b"x", 0).unwrap();
    set_times(&at("plain"), -86_401, 1);
    set_times(&at("link"), 12_345, 999_999_999);
    set_times(&at("null"), 1 << 33, 5);
    set_times(&at("empty"), 1, 500_000_000);
    set_times(&base, 1_000_000_000, 123_456_789);
    base
}

fn everything() -> SinkOptions {
    SinkOptions { devices: true, root_metadata: true, ..SinkOptions::default() }
}

#[test]
fn every_kind_of_entry_survives_and_a_second_restore_changes_nothing() {
    let scratch = Scratch::new();
    let base = make_everything(&scratch);
    let before = read_tree(&base);
    assert_eq!(before.len(), 28, "an entry of the test is missing");
    let target = scratch.path("target");
    let report = write_tree(&before, &target, everything());
    assert_eq!(report.errors, [""; 0]);
    let after = read_tree(&target);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after, before, "{:?}", before.path);
    }
    assert_eq!(after.len(), before.len());
    assert!(fs::metadata(target.join("sparse")).unwrap().blocks() < 100);

    let again = write_tree(&before, &target, everything());
    assert_eq!(again, Default::default());
    assert_eq!(read_tree(&target), before);
}

#[test]
fn damaged_entries_are_brought_back_and_only_those() {
    let scratch = Scratch::new();
    let base = make_everything(&scratch);
    let before = read_tree(&base);
    let target = scratch.path("target");
    write_tree(&before, &target, everything());

    let at = |name: &str| target.join(name);
    fs::write(at("capable"), "!!").unwrap();
    fs::write(at("listed"), "longer").unwrap();
    // Only the owner is wrong; setting it clears the setuid bit, which was right.
    chown(at("plain"), Some(1), None).unwrap();
    fs::set_permissions(at("plain"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(at("names"), fs::Permissions::from_mode(0o700)).unwrap();
    setxattr(at("inheriting/got one"), "user.surplus", b"x", XattrFlags::empty()).unwrap();
    // What is made there by now inherits access rights that the entry had not.
    fs::remove_file(at("inheriting/lost it")).unwrap();
    for name in ["link", "fifo", "empty/nested"] {
        fs::remove_file(at(name)).or_else(|_| fs::remove_dir(at(name))).unwrap();
        fs::write(at(name), "in the way").unwrap();
    }
    fs::remove_file(at("sparse")).unwrap();
    fs::create_dir(at("sparse")).unwrap();
    fs::remove_file(at("names/two")).unwrap();
    fs::write(at("names/two"), "linked").unwrap();
    chown(at("socket"), Some(99), None).unwrap();
    let report = write_tree(&before, &target, everything());
    assert_eq!(report.errors, [""; 0]);
    let after = read_tree(&target);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after, before, "{:?}", before.path);
    }
    for name in [
        "capable",
        "listed",
        "plain",
        "inheriting/got one",
        "inheriting/lost it",
        "link",
        "fifo",
        "sparse",
        "socket",
    ] {
        assert!(report.changed.iter().any(|changed| changed == name), "{name} not in {:?}", report.changed);
    }
    for name in ["null", "names/one", "hole at the end"] {
        assert!(!report.changed.iter().any(|changed| changed == name), "{name} in {:?}", report.changed);
    }
}

#[test]
fn access_times_come_back_if_they_were_kept() {
    let scratch = Scratch::new();
    scratch.file("base/file", b"x");
    set_times(&scratch.path("base/file"), 100, 7);
    let mut options = options();
    options.keep_atime = true;
    let kept = read_tree_with(&scratch.path("base"), options.clone());
    write_tree(&kept, &scratch.path("target"), SinkOptions::default());
    let meta = fs::metadata(scratch.path("target/file")).unwrap();
    assert_eq!((meta.atime(), meta.atime_nsec(), meta.mtime()), (101, 7, 100));
    assert_eq!(fs::metadata(scratch.path("base/file")).unwrap().atime(), 101, "reading left a trace");
}

#[test]
fn paths_beyond_the_limit_survive() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("base")).unwrap();
    super::deep::make_chain(&scratch.path("base"), &"n".repeat(200), 40);
    let before = read_tree(&scratch.path("base"));
    assert!(before.iter().any(|kept| kept.path.as_key().len() > 7_000));
    let report = write_tree(&before, &scratch.path("target"), SinkOptions::default());
    assert_eq!(report.errors, [""; 0]);
    assert_eq!(read_tree(&scratch.path("target")), before);
}

#[test]
fn without_holes_all_is_allocated() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("base")).unwrap();
    fs::File::create(scratch.path("base/file")).unwrap().set_len(1 << 20).unwrap();
    let kept = read_tree(&scratch.path("base"));
    write_tree(&kept, &scratch.path("target"), SinkOptions { sparse: false, ..SinkOptions::default() });
    let meta = fs::metadata(scratch.path("target/file")).unwrap();
    assert_eq!((meta.len(), meta.blocks() >= 2048), (1 << 20, true));
}
