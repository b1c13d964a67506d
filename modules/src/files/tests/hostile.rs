//! Somebody else works in the target while it is restored to; nothing may happen outside of it.

use super::copy::{read_tree, write_to, write_tree};
use super::*;
use crate::files::{FilesSink, SinkOptions};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn make_source(scratch: &Scratch, directories: usize) {
    for directory in 0..directories {
        for file in 0..3 {
            scratch.file(&format!("base/d{directory}/e/file{file}"), b"restored");
        }
    }
}

#[test]
fn links_in_the_target_are_replaced_and_never_followed() {
    let scratch = Scratch::new();
    make_source(&scratch, 1);
    let kept = read_tree(&scratch.path("base"));
    scratch.file("outside/file0", b"canary");
    fs::create_dir_all(scratch.path("t/d0")).unwrap();
    symlink(scratch.path("outside"), scratch.path("t/d0/e")).unwrap();
    assert_eq!(write_tree(&kept, &scratch.path("t"), SinkOptions::default()).errors, [""; 0]);
    assert!(scratch.path("t/d0/e").symlink_metadata().unwrap().is_dir());

    fs::remove_file(scratch.path("t/d0/e/file0")).unwrap();
    symlink(scratch.path("outside/file0"), scratch.path("t/d0/e/file0")).unwrap();
    assert_eq!(write_tree(&kept, &scratch.path("t"), SinkOptions::default()).changed, ["d0/e/file0"]);
    assert_eq!(fs::read(scratch.path("outside/file0")).unwrap(), b"canary");
    assert_eq!(read_tree(&scratch.path("t"))[1..], kept[1..]);

    // Below a link that is in the way of a directory of which only the content is restored.
    fs::remove_dir_all(scratch.path("t/d0")).unwrap();
    symlink(scratch.path("outside"), scratch.path("t/d0")).unwrap();
    let only_files: Vec<_> = kept.iter().filter(|kept| !kept.node.is_directory()).cloned().collect();
    let report = write_tree(&only_files, &scratch.path("t"), SinkOptions::default());
    assert_eq!(report.errors.len(), 3);
    assert!(report.errors[0].contains("symbolic link"), "{report:?}");
    assert_eq!(fs::read_dir(scratch.path("outside")).unwrap().count(), 1);
}

#[test]
fn an_inode_with_a_name_outside_is_left_alone() {
    let scratch = Scratch::new();
    let file = scratch.file("base/file", b"same");
    chown(&file, Some(1234), Some(1234)).unwrap();
    let kept = read_tree(&scratch.path("base"));
    // The same content, the victim's owner: bringing it into line would give the victim's file away.
    let victim = scratch.file("victim", b"same");
    fs::create_dir(scratch.path("t")).unwrap();
    fs::hard_link(&victim, scratch.path("t/file")).unwrap();
    assert_eq!(write_tree(&kept, &scratch.path("t"), SinkOptions::default()).changed, ["file"]);
    assert_eq!(fs::metadata(&victim).unwrap().uid(), 0);
    assert_eq!(read_tree(&scratch.path("t"))[1..], kept[1..]);
}

#[test]
fn a_thread_that_swaps_directories_and_links_gains_nothing() {
    let scratch = Scratch::new();
    make_source(&scratch, 60);
    let kept = read_tree(&scratch.path("base"));
    fs::create_dir(scratch.path("outside")).unwrap();
    scratch.file("outside/e/file0", b"canary");
    fs::set_permissions(scratch.path("outside/e"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::create_dir(scratch.path("swaps")).unwrap();
    let outside_before = read_tree(&scratch.path("outside"));
    let stop = AtomicBool::new(false);
    let (mut rounds, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let link = scratch.path("swaps/link");
            for turn in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                // Every second place lies one level deeper, where no link of its own leads the thread itself astray.
                let i = turn % 60;
                let (outside, place) = match i % 2 {
                    0 => (scratch.path("outside"), scratch.path(&format!("t/d{i}"))),
                    _ => (scratch.path("outside/e"), scratch.path(&format!("t/d{i}/e"))),
                };
                symlink(outside, &link).unwrap();
                let swap = || renameat_with(CWD, &link, CWD, &place, RenameFlags::EXCHANGE);
                if swap().is_ok() && turn % 3 == 0 {
                    let _ = swap();
                }
                fs::rename(&link, scratch.path(&format!("swaps/{turn}"))).unwrap();
            }
        });
        // Until the two have met, however busy the machine is.
        let end = Instant::now() + Duration::from_secs(60);
        while (rounds < 5 || refused == 0) && Instant::now() < end {
            let sink = FilesSink::new(&scratch.path("t"), SinkOptions::default()).unwrap();
            refused += write_to(&kept, &sink).errors.len();
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(refused > 0, "the thread met nothing: {rounds} rounds, {refused} refusals");
    assert_eq!(read_tree(&scratch.path("outside")), outside_before);
}
