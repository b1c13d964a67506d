//! What a restore may and may not do, by its options and the rights of who runs it.

use super::copy::{read_tree, write_to, write_tree};
use super::*;
use crate::files::{FilesSink, OwnerChoice, SinkOptions, XattrChoice};
use dedup_engine::listing::StoredPath;
use dedup_engine::restore::sink::{Prepared, Sink};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_part_goes_where_the_target_stands_for_it() {
    let scratch = Scratch::new();
    scratch.file("base/a/b/file", b"x");
    let kept = read_tree(&scratch.path("base"));
    let strip = StoredPath::from_slashes(b"a/b").unwrap();
    let part: Vec<_> = kept.iter().filter(|kept| kept.path.is_within(&strip)).cloned().collect();
    let options = SinkOptions { strip, ..SinkOptions::default() };
    assert_eq!(write_tree(&part, &scratch.path("t"), options.clone()).changed, ["a/b/file"]);
    assert_eq!(fs::read(scratch.path("t/file")).unwrap(), b"x");
    let outside = write_tree(&kept[1..2], &scratch.path("t"), options);
    assert!(outside.errors[0].contains("not below"), "{outside:?}");
}

#[test]
fn directories_that_the_restore_leaves_out_are_made_private() {
    let scratch = Scratch::new();
    scratch.file("base/a/b/file", b"x");
    let kept = read_tree(&scratch.path("base"));
    assert_eq!(write_tree(&kept[3..], &scratch.path("t"), SinkOptions::default()).errors, [""; 0]);
    assert_eq!((mode(&scratch.path("t/a/b")), mode(&scratch.path("t/a/b/file"))), (0o700, 0o644));
}

#[test]
fn a_target_that_was_there_keeps_its_metadata_unless_asked() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("base")).unwrap();
    fs::set_permissions(scratch.path("base"), fs::Permissions::from_mode(0o711)).unwrap();
    let kept = read_tree(&scratch.path("base"));
    write_tree(&kept, &scratch.path("new"), SinkOptions::default());
    assert_eq!(mode(&scratch.path("new")), 0o711);
    fs::create_dir(scratch.path("old")).unwrap();
    fs::set_permissions(scratch.path("old"), fs::Permissions::from_mode(0o1777)).unwrap();
    write_tree(&kept, &scratch.path("old"), SinkOptions::default());
    assert_eq!(mode(&scratch.path("old")), 0o1777);
    write_tree(&kept, &scratch.path("old"), SinkOptions { root_metadata: true, ..SinkOptions::default() });
    assert_eq!(mode(&scratch.path("old")), 0o711);
}

#[test]
fn a_directory_with_content_is_not_removed_for_a_file() {
    let scratch = Scratch::new();
    scratch.file("base/x", b"file");
    scratch.file("base/y", b"file");
    let kept = read_tree(&scratch.path("base"));
    scratch.file("t/x/precious", b"");
    fs::create_dir(scratch.path("t/y")).unwrap();
    let report = write_tree(&kept, &scratch.path("t"), SinkOptions::default());
    assert_eq!(report.errors.len(), 1);
    assert!(report.errors[0].starts_with("x: a directory that is not empty"), "{report:?}");
    assert!(scratch.path("t/x/precious").exists() && scratch.path("t/y").is_file());
}

#[test]
fn leftovers_of_an_interrupted_restore_go_and_nothing_else() {
    let scratch = Scratch::new();
    scratch.file("base/d/file", b"x");
    let kept = read_tree(&scratch.path("base"));
    for name in [".dedup-0123456789abcdef.tmp", "d/.dedup-fedcba9876543210.tmp", "d/.dedup-mine.tmp"] {
        scratch.file(&format!("t/{name}"), b"");
    }
    write_tree(&kept, &scratch.path("t"), SinkOptions::default());
    let left: Vec<_> = read_tree(&scratch.path("t")).iter().map(|kept| format!("{:?}", kept.path)).collect();
    assert_eq!(left, ["/", "/d", "/d/.dedup-mine.tmp", "/d/file"]);
}

#[test]
fn devices_are_made_only_when_asked_for() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("base")).unwrap();
    let kind = rustix::fs::FileType::CharacterDevice;
    let device = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(rustix::fs::CWD, scratch.path("base/null"), kind, rustix::fs::Mode::RUSR, device)
        .unwrap();
    let report = write_tree(&read_tree(&scratch.path("base")), &scratch.path("t"), SinkOptions::default());
    assert!(report.errors[0].starts_with("null: device nodes are not restored"), "{report:?}");
    assert!(!scratch.path("t/null").exists());
}

#[test]
fn owners_and_attributes_follow_the_choice() {
    let scratch = Scratch::new();
    let file = scratch.file("base/file", b"x");
    chown(&file, Some(1234), Some(5678)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o6755)).unwrap();
    setxattr(&file, "user.x", b"1", XattrFlags::empty()).unwrap();
    setxattr(&file, "trusted.x", b"1", XattrFlags::empty()).unwrap();
    let kept = read_tree(&scratch.path("base"));
    let options =
        SinkOptions { owner: OwnerChoice::Keep, xattrs: XattrChoice::UserOnly, ..SinkOptions::default() };
    let report = write_tree(&kept, &scratch.path("t"), options);
    let path = scratch.path("t/file");
    let owner = fs::metadata(&path).unwrap();
    assert_eq!((owner.uid(), owner.gid(), mode(&path)), (0, 0, 0o755));
    assert_eq!(report.errors.len(), 1);
    assert!(report.errors[0].contains("setuid") && report.errors[0].contains("setgid"), "{report:?}");
    let mut buffer = [0; 9];
    assert_eq!(getxattr(&path, "user.x", &mut buffer[..]), Ok(1));
    assert!(getxattr(&path, "trusted.x", &mut buffer[..]).is_err());
}

#[test]
fn names_of_owners_win_over_numbers_unless_told_otherwise() {
    let scratch = Scratch::new();
    chown(scratch.file("base/file", b"x"), Some(1234), Some(5678)).unwrap();
    let mut kept = read_tree(&scratch.path("base"));
    kept[1].node.names = Some(("daemon".to_owned(), "no such group".to_owned()));
    let daemon = nix::unistd::User::from_name("daemon").unwrap().unwrap().uid.as_raw();
    for (numeric_owner, expected) in [(false, (daemon, 5678)), (true, (1234, 5678))] {
        write_tree(&kept, &scratch.path("t"), SinkOptions { numeric_owner, ..SinkOptions::default() });
        let owner = fs::metadata(scratch.path("t/file")).unwrap();
        assert_eq!((owner.uid(), owner.gid()), expected);
    }
}

#[test]
fn without_rights_owners_stay_and_closed_directories_can_be_restored_twice() {
    let scratch = Scratch::new();
    let file = scratch.file("base/closed/plain", b"x");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    setxattr(&file, "user.x", b"1", XattrFlags::empty()).unwrap();
    let setuid = scratch.file("base/closed/setuid", b"x");
    fs::set_permissions(&setuid, fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(scratch.path("base/closed"), fs::Permissions::from_mode(0o555)).unwrap();
    let kept = read_tree(&scratch.path("base"));
    fs::create_dir(scratch.path("t")).unwrap();
    chown(scratch.path("t"), Some(65_534), Some(65_534)).unwrap();
    fs::set_permissions(&scratch.1, fs::Permissions::from_mode(0o755)).unwrap();
    let target = scratch.path("t");
    let reports = super::without_privilege(move || {
        [(); 2].map(|()| {
            let report = write_tree(&kept, &target, SinkOptions::default());
            fs::write(target.join("closed/new"), "").unwrap_err();
            report
        })
    });
    for report in &reports {
        assert_eq!(report.errors.len(), 1, "{report:?}");
        assert!(report.errors[0].starts_with("closed/setuid: could not set setuid"), "{report:?}");
    }
    assert_eq!(reports[0].changed, ["closed/plain"]);
    assert_eq!(reports[1].changed, [""; 0]);
    assert_eq!(mode(&scratch.path("t/closed/setuid")), 0o755);
    assert_eq!(mode(&scratch.path("t/closed/plain")), 0o444);
    assert_eq!(mode(&scratch.path("t/closed")), 0o555);
    assert_eq!(fs::metadata(scratch.path("t/closed/plain")).unwrap().uid(), 65_534);
}

#[test]
fn what_the_system_protects_is_named() {
    let scratch = Scratch::new();
    scratch.file("base/file", b"new");
    let kept = read_tree(&scratch.path("base"));
    let path = scratch.file("t/file", b"older");
    let file = fs::File::open(&path).unwrap();
    let flags = rustix::fs::ioctl_getflags(&file).unwrap();
    rustix::fs::ioctl_setflags(&file, flags | rustix::fs::IFlags::IMMUTABLE).unwrap();
    let report = write_tree(&kept, &scratch.path("t"), SinkOptions::default());
    rustix::fs::ioctl_setflags(&file, flags).unwrap();
    assert!(report.errors[0].contains("chattr -ia"), "{report:?}");
    assert_eq!(fs::read(&path).unwrap(), b"older");
    assert_eq!(fs::read_dir(scratch.path("t")).unwrap().count(), 1, "a temporary file was left");
}

#[test]
fn hard_links_beyond_reach_are_not_made() {
    let scratch = Scratch::new();
    scratch.file("base/one", b"content");
    fs::hard_link(scratch.path("base/one"), scratch.path("base/two")).unwrap();
    let kept = read_tree(&scratch.path("base"));
    // Only the second name is restored; what happens to stand under the first one is not ours.
    scratch.file("t/one", b"foreign");
    let sink = FilesSink::new(&scratch.path("t"), SinkOptions::default()).unwrap();
    assert_eq!(write_to(&kept[2..], &sink).changed, ["two"]);
    assert_eq!(fs::read(scratch.path("t/two")).unwrap(), b"content");
    assert_eq!(fs::metadata(scratch.path("t/two")).unwrap().nlink(), 1);
    // A link there is not followed either.
    fs::remove_file(scratch.path("t/one")).unwrap();
    symlink("two", scratch.path("t/one")).unwrap();
    assert_eq!(write_to(&kept[2..], &sink).changed, [""; 0]);
    assert_eq!(fs::metadata(scratch.path("t/two")).unwrap().nlink(), 1);
}

/// Whoever looks meanwhile, or after a crash, sees what was there before or all of the new file.
#[test]
fn a_name_never_shows_a_part_of_a_file() {
    let scratch = Scratch::new();
    scratch.file("base/new", b"the whole content");
    scratch.file("base/old", b"the whole content, longer");
    let kept = read_tree(&scratch.path("base"));
    scratch.file("t/old", b"before");
    let sink = FilesSink::new(&scratch.path("t"), SinkOptions::default()).unwrap();
    let seen = |name: &str| fs::read(scratch.path(&format!("t/{name}"))).ok();
    for (kept, name, before) in [(&kept[1], "new", None), (&kept[2], "old", Some(b"before".to_vec()))] {
        for complete in [false, true] {
            assert!(matches!(sink.prepare(&kept.item()).unwrap(), Prepared::Write));
            let file = sink.create(&kept.item(), kept.node.size()).unwrap();
            sink.write_at(&file, &kept.data[0].1[..5], 0).unwrap();
            assert_eq!(seen(name), before, "{name}: half of it shows");
            if complete {
                sink.write_at(&file, &kept.data[0].1[5..], 5).unwrap();
                sink.finish(file, &kept.item()).unwrap();
                assert_eq!(seen(name).as_ref(), Some(&kept.data[0].1));
            } else {
                sink.abandon(file, &kept.item());
                assert_eq!(seen(name), before, "{name}: given up");
            }
        }
    }
    assert_eq!(fs::read_dir(scratch.path("t")).unwrap().count(), 2, "something is left over");
}
