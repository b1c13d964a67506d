//! The way back of a restore in place: whatever happened, everything is as before.

use super::copy::{Kept, read_tree, write_to};
use super::*;
use crate::files::{FilesSink, OnConflict, Safety, SinkOptions, settle, take_back};
use dedup_engine::listing::StoredPath;
use rustix::fs::{XattrFlags, setxattr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

pub(super) fn stored(path: &str) -> StoredPath {
    StoredPath::from_slashes(path.as_bytes()).unwrap()
}

fn dated(path: &Path, secs: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec { tv_sec: secs, tv_nsec: 123 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Dates everything below a directory, so that every change of a time shows.
fn date_all(path: &Path) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            date_all(&path);
        }
        dated(&path, 1_000_000_000);
    }
    dated(path, 1_000_000_000);
}

/// What is to be restored, and a target in which each kind of thing stands in the way of each other.
pub(super) fn prepared(scratch: &Scratch) -> Vec<Kept> {
    for (file, content) in [
        ("base/same", "same"),
        ("base/differs", "restored"),
        ("base/longer", "restored and longer"),
        ("base/file-for-dir", "restored"),
        ("base/dir-for-file/in", "restored"),
        ("base/dir-for-link/in", "restored"),
        ("base/new/deep/file", "restored"),
        ("base/old/deep/file", "restored"),
        ("base/linked-1", "restored twice"),
        ("base/cleared/a", "restored"),
    ] {
        scratch.file(file, content.as_bytes());
    }
    fs::hard_link(scratch.path("base/linked-1"), scratch.path("base/linked-2")).unwrap();
    symlink("restored", scratch.path("base/link")).unwrap();
    symlink("restored", scratch.path("base/link-for-dir")).unwrap();
    chown(scratch.path("base/same"), Some(1234), Some(1234)).unwrap();
    fs::set_permissions(scratch.path("base/old"), fs::Permissions::from_mode(0o711)).unwrap();
    let kept = read_tree(&scratch.path("base"));
    for (file, content) in [
        ("t/same", "same"),
        ("t/differs", "before.."),
        ("t/longer", "before"),
        ("t/file-for-dir/precious/file", "before"),
        ("t/dir-for-file", "before"),
        ("t/elsewhere/file", "before"),
        ("t/link", "before"),
        ("t/link-for-dir/x", "before"),
        ("t/old/deep/file", "before"),
        ("t/old/extra", "before"),
        ("t/linked-1", "before"),
        ("t/cleared/a", "before"),
        ("t/cleared/b/c", "before"),
        ("t/deleted", "before"),
    ] {
        scratch.file(file, content.as_bytes());
    }
    fs::hard_link(scratch.path("t/linked-1"), scratch.path("t/other-name")).unwrap();
    symlink("elsewhere", scratch.path("t/dir-for-link")).unwrap();
    chown(scratch.path("t/differs"), Some(77), Some(78)).unwrap();
    for path in ["t/differs", "t/same", "t/old", "t/cleared/b"] {
        setxattr(scratch.path(path), "user.before", b"1", XattrFlags::empty()).unwrap();
    }
    fs::set_permissions(scratch.path("t/differs"), fs::Permissions::from_mode(0o4750)).unwrap();
    date_all(&scratch.path("t"));
    kept
}

fn safety(scratch: &Scratch) -> Safety {
    Safety { run: "r1".into(), log: scratch.path("log") }
}

/// A whole restore, with what goes away before it.
fn restore(scratch: &Scratch, kept: &[Kept]) -> FilesSink {
    let options = SinkOptions { root_metadata: true, ..SinkOptions::default() };
    let sink = FilesSink::with_safety(&scratch.path("t"), options, &safety(scratch)).unwrap();
    assert!(sink.set_aside(&stored("deleted")).unwrap());
    assert!(sink.set_aside(&stored("cleared")).unwrap());
    assert!(!sink.set_aside(&stored("missing/too")).unwrap());
    let report = write_to(kept, &sink);
    assert_eq!(report.errors, [""; 0]);
    sink
}

#[test]
fn everything_is_replaced_and_comes_back() {
    let scratch = Scratch::new();
    let kept = prepared(&scratch);
    let before = read_tree(&scratch.path("t"));
    for _ in 0..2 {
        restore(&scratch, &kept).sync().unwrap();
        assert_eq!(fs::read(scratch.path("t/old/deep/file")).unwrap(), b"restored");
        assert_eq!(fs::read_link(scratch.path("t/link-for-dir")).unwrap(), Path::new("restored"));
        assert!(!scratch.path("t/deleted").exists() && !scratch.path("t/cleared/b").exists());
        assert_eq!(fs::read(scratch.path("t/other-name")).unwrap(), b"before");
        assert_eq!(fs::metadata(scratch.path("t/same")).unwrap().uid(), 1234);
        assert!(scratch.path("t/.dedup-aside-r1/tree/differs").exists());

        let done = take_back(&scratch.path("t"), &scratch.path("log")).unwrap();
        assert_eq!((&done.left[..], done.more), (&[][..], 0));
        assert_eq!(read_tree(&scratch.path("t")), before);
        let again = take_back(&scratch.path("t"), &scratch.path("log")).unwrap();
        assert_eq!((again.undone, again.left), (0, vec![]));
        fs::remove_file(scratch.path("log")).unwrap();
    }
}

#[test]
fn a_restore_that_is_good_leaves_nothing_aside() {
    let scratch = Scratch::new();
    let kept = prepared(&scratch);
    // Deeper than may be open at once, in what goes away.
    let deep = (0..600).fold(scratch.path("t/cleared/deep"), |path, _| path.join("d"));
    fs::create_dir_all(deep).unwrap();
    restore(&scratch, &kept).sync().unwrap();
    let seen = read_tree(&scratch.path("t"));
    let is_aside =
        |kept: &&Kept| kept.path.components().next().is_some_and(|name| name.starts_with(b".dedup-aside"));
    let expected: Vec<_> = seen.iter().filter(|kept| !is_aside(kept)).cloned().collect();
    settle(&scratch.path("t"), &scratch.path("log")).unwrap();
    assert!(!scratch.path("log").exists());
    let left = read_tree(&scratch.path("t"));
    let shown = |kept: &[Kept]| -> Vec<String> {
        kept.iter().map(|kept| format!("{:?} {:?} {:?}", kept.path, kept.node.mtime, kept.data)).collect()
    };
    assert_eq!(shown(&left), shown(&expected));
    settle(&scratch.path("t"), &scratch.path("log")).unwrap();
}

#[test]
fn what_others_did_meanwhile_is_never_removed() {
    let scratch = Scratch::new();
    let kept = prepared(&scratch);
    restore(&scratch, &kept).sync().unwrap();
    // A new file in a new directory, a new one where one was replaced, and where one was made.
    scratch.file("t/new/deep/foreign", b"foreign");
    for name in ["t/differs", "t/new/deep/file"] {
        fs::remove_file(scratch.path(name)).unwrap();
        scratch.file(name, b"foreign content");
    }
    let done = take_back(&scratch.path("t"), &scratch.path("log")).unwrap();
    assert_eq!(fs::read(scratch.path("t/differs")).unwrap(), b"before..");
    assert_eq!(fs::read(scratch.path("t/.dedup-aside-r1/found-1")).unwrap(), b"foreign content");
    assert_eq!(fs::read(scratch.path("t/new/deep/foreign")).unwrap(), b"foreign");
    assert_eq!(fs::read(scratch.path("t/new/deep/file")).unwrap(), b"foreign content");
    let told = done.left.join("\n");
    for path in [
        "/differs: it is back; what others had put there is now at /.dedup-aside-r1/found-1",
        "/new/deep/file: ",
        "/new/deep: ",
    ] {
        assert!(told.contains(path), "{told}");
    }
    assert_eq!(done.left.len(), 5, "{told}");
}

#[test]
fn without_the_end_of_the_log_the_place_itself_tells() {
    let scratch = Scratch::new();
    let kept = prepared(&scratch);
    restore(&scratch, &kept).sync().unwrap();
    // All that is on disk for sure: the records up to the aside directory.
    let log = fs::read(scratch.path("log")).unwrap();
    let end = log.windows(14).position(|bytes| bytes == b".dedup-aside-r").unwrap() + 40;
    let whole = (end..log.len()).find(|end| {
        fs::write(scratch.path("log"), &log[..*end]).unwrap();
        String::from_utf8_lossy(&log[..*end]).contains("aside-r1")
    });
    assert!(whole.is_some());
    take_back(&scratch.path("t"), &scratch.path("log")).unwrap();
    for name in [
        "t/longer",
        "t/file-for-dir/precious/file",
        "t/link",
        "t/link-for-dir/x",
        "t/old/deep/file",
        "t/linked-1",
        "t/cleared/b/c",
        "t/deleted",
    ] {
        assert_eq!(fs::read(scratch.path(name)).unwrap(), b"before", "{name}");
    }
}

#[test]
fn conflicts_are_decided_as_asked_for() {
    let modified = |choice| {
        let scratch = Scratch::new();
        for file in ["base/a", "base/b", "base/same", "base/d/new"] {
            scratch.file(file, b"restored");
            dated(&scratch.path(file), 1000);
        }
        symlink("restored", scratch.path("base/l")).unwrap();
        dated(&scratch.path("base/l"), 1000);
        let kept = read_tree(&scratch.path("base"));
        for (file, content, time) in
            [("t/a", "newer", 2000), ("t/b", "older", 500), ("t/same", "restored", 3000)]
        {
            scratch.file(file, content.as_bytes());
            dated(&scratch.path(file), time);
        }
        symlink("before", scratch.path("t/l")).unwrap();
        dated(&scratch.path("t/l"), 2000);
        let options = SinkOptions { on_conflict: choice, ..SinkOptions::default() };
        let sink = FilesSink::with_safety(&scratch.path("t"), options, &safety(&scratch)).unwrap();
        assert_eq!(write_to(&kept, &sink).errors, [""; 0]);
        sink.sync().unwrap();
        let mut names: Vec<_> = fs::read_dir(scratch.path("t"))
            .unwrap()
            .map(|at| at.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let read = |name: &str| fs::read_to_string(scratch.path("t").join(name)).unwrap();
        let state = format!(
            "{} {} {} {} {} {}",
            names.join(" "),
            read("a"),
            read("b"),
            fs::read_link(scratch.path("t/l")).unwrap().display(),
            fs::metadata(scratch.path("t/same")).unwrap().mtime(),
            sink.conflicts()
        );
        drop(sink);
        let done = take_back(&scratch.path("t"), &scratch.path("log")).unwrap();
        assert_eq!(done.left, [""; 0]);
        assert_eq!((read("a"), read("b")), ("newer".into(), "older".into()));
        state
    };
    assert_eq!(
        modified(OnConflict::Replace),
        ".dedup-aside-r1 a b d l same restored restored restored 1000 0"
    );
    assert_eq!(modified(OnConflict::KeepExisting), "a b d l same newer older before 3000 4");
    assert_eq!(modified(OnConflict::KeepNewer), ".dedup-aside-r1 a b d l same newer restored before 3000 3");
    let beside = "a a.restored b b.restored d l l.restored same newer older before 3000 3";
    assert_eq!(modified(OnConflict::Rename), beside);
}

#[test]
fn places_move_with_their_variable_and_the_way_there_is_made_only_where_needed() {
    let scratch = Scratch::new();
    scratch.file("base/var/lib/app/data/f", b"x");
    scratch.file("base/etc/app/c", b"x");
    for (path, mode) in [("base/var", 0o711), ("base/etc", 0o751), ("base/var/lib/app", 0o770)] {
        fs::set_permissions(scratch.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let kept = read_tree(&scratch.path("base"));
    fs::create_dir_all(scratch.path("t/etc")).unwrap();
    let options = SinkOptions {
        moved: vec![
            (stored("var/lib/app"), stored("srv/new")),
            (stored("var/lib/app/data"), stored("mnt/d")),
        ],
        within: vec![stored("var/lib/app"), stored("etc/app")],
        ..SinkOptions::default()
    };
    let sink = FilesSink::with_safety(&scratch.path("t"), options, &safety(&scratch)).unwrap();
    assert_eq!(write_to(&kept, &sink).errors, [""; 0]);
    let found: Vec<_> = read_tree(&scratch.path("t"))
        .iter()
        .map(|kept| format!("{:?} {:o}", kept.path, kept.node.mode))
        .collect();
    let expected = [
        "/ 755",
        "/etc 755",
        "/etc/app 755",
        "/etc/app/c 644",
        "/mnt 700",
        "/mnt/d 755",
        "/mnt/d/f 644",
        "/srv 700",
        "/srv/new 770",
    ];
    assert_eq!(found, expected);
    drop(sink);
    take_back(&scratch.path("t"), &scratch.path("log")).unwrap();
    assert_eq!(read_tree(&scratch.path("t")).len(), 2);
}

#[test]
fn modes_times_and_lists_are_left_where_not_wanted() {
    let scratch = Scratch::new();
    for file in ["base/old", "base/new"] {
        dated(&scratch.file(file, b"restored"), 1000);
        fs::set_permissions(scratch.path(file), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let kept = read_tree(&scratch.path("base"));
    scratch.file("t/old", b"x");
    fs::set_permissions(scratch.path("t/old"), fs::Permissions::from_mode(0o640)).unwrap();
    let options = SinkOptions { modes: false, times: false, acls: false, ..SinkOptions::default() };
    assert_eq!(super::copy::write_tree(&kept, &scratch.path("t"), options).errors, [""; 0]);
    for (name, mode) in [("t/old", 0o640), ("t/new", 0o600)] {
        let at = fs::metadata(scratch.path(name)).unwrap();
        assert_eq!(at.mode() & 0o7777, mode);
        assert!(at.mtime() > 1_000_000);
    }
}

/// A file of a listing, with this many bytes and this time.
fn listed(bytes: u64, secs: i64) -> dedup_engine::listing::Node {
    let scratch = Scratch::new();
    scratch.file("base/file", b"");
    let mut node =
        read_tree(&scratch.path("base")).into_iter().find(|kept| !kept.node.is_directory()).unwrap().node;
    node.mtime = dedup_engine::listing::Time { secs, nanos: 0 };
    if let dedup_engine::listing::Body::File { size, .. } = &mut node.body {
        *size = bytes;
    }
    node
}

#[test]
fn room_is_added_up_by_file_system() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("t")).unwrap();
    symlink("/dev/shm", scratch.path("t/link")).unwrap();
    let options = SinkOptions { strip: stored("srv"), ..SinkOptions::default() };
    let sink = FilesSink::looking(&scratch.path("t"), options.clone()).unwrap();
    let mut room = sink.room(true);
    for (path, bytes) in [("srv/a", 0), ("srv/new/b", 4097), ("srv/link/c", 4096)] {
        room.add(&stored(path), &listed(bytes, 1)).unwrap();
    }
    assert!(room.add(&stored("etc/a"), &listed(1, 1)).is_err());
    let rooms = room.rooms();
    assert_eq!((rooms.len(), rooms[0].needed_bytes), (1, 4 * 4096), "links lead nowhere");
    assert!(rooms[0].free_bytes > 0 && rooms[0].place == StoredPath::root());

    // What looks right needs nothing; what is replaced for good gives its room back, but only when the new one is there.
    scratch.file("t/right", &[1; 9000]);
    scratch.file("t/other", &[1; 9000]);
    fs::File::open(scratch.path("t/right"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(7))
        .unwrap();
    for (keeps, expected) in [(true, 3 * 4096), (false, 3 * 4096)] {
        let mut room = sink.room(keeps);
        for path in ["srv/right", "srv/other"] {
            room.add(&stored(path), &listed(9000, 7)).unwrap();
        }
        assert_eq!(room.rooms()[0].needed_bytes, expected, "{keeps}");
    }

    let sink = FilesSink::looking(Path::new("/"), SinkOptions::default()).unwrap();
    let mut room = sink.room(true);
    ["dev/shm/a", "dev/shm/not/there", "a"]
        .into_iter()
        .try_for_each(|path| room.add(&stored(path), &listed(1, 1)))
        .unwrap();
    let rooms: Vec<_> = room.rooms().into_iter().map(|room| (room.place, room.needed_bytes)).collect();
    assert_eq!(rooms, [(stored("dev/shm"), 8192), (StoredPath::root(), 4096)]);
}
