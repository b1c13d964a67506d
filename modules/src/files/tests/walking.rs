//! What a walk hands out, and what it leaves out.

use super::*;
use crate::files::walk::Walk;
use proptest::prelude::*;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::{Arc, Mutex};

#[test]
fn entries_come_in_byte_order_with_the_directories_above_the_roots() {
    let scratch = Scratch::new();
    for file in ["a/b/c", "a!", "a.b", "a/b!", "z/in", "z-", "other/no"] {
        scratch.file(file, b"");
    }
    let roots = [scratch.path("z"), scratch.path("a"), scratch.path("a/b"), scratch.path("a!")];
    assert_eq!(listing(&scratch.1, &roots, options()), ["a", "a/b", "a/b/c", "a/b!", "a!", "z", "z/in"]);
    let seen = walk(&FilesSource::new(&roots, options()).unwrap());
    let above: Vec<_> = scratch.1.ancestors().collect();
    for (expected, (path, seen)) in above.iter().rev().zip(&seen) {
        assert_eq!(path, expected);
        let Seen::Entry(stat) = seen else { panic!("{seen:?}") };
        assert_eq!(stat.ino, fs::metadata(path).unwrap().ino());
    }
}

#[test]
fn patterns_sizes_and_cache_tags_leave_out_but_never_a_root() {
    let scratch = Scratch::new();
    for file in
        ["a/x.o", "a/keep.o", "a/build/y", "a/build/root/in.o", "a/build/root/in", "a/big", "c/z", "c/r/q"]
    {
        scratch.file(file, b"");
    }
    scratch.file("a/big", &[1; 100]);
    scratch.file("c/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n");
    let mut options = options();
    options.excludes = excludes("*.o\n!keep.o\nbuild/\nroot");
    options.larger_than_bytes = Some(99);
    options.exclude_caches = true;
    let all = [scratch.1.clone()];
    assert_eq!(listing(&scratch.1, &all, options.clone()), ["a", "a/keep.o", "c", "c/CACHEDIR.TAG"]);
    let source = FilesSource::new(&all, options.clone()).unwrap();
    walk(&source);
    assert_eq!(source.excluded(), 3 + 2, "x.o, build, big; r, z");

    // Named roots are walked, wherever they lie; what leads to them is there, and nothing else of that.
    let roots = [scratch.1.clone(), scratch.path("a/build/root"), scratch.path("a/big"), scratch.path("c/r")];
    assert_eq!(
        listing(&scratch.1, &roots, options),
        [
            "a",
            "a/big",
            "a/build",
            "a/build/root",
            "a/build/root/in",
            "a/keep.o",
            "c",
            "c/CACHEDIR.TAG",
            "c/r",
            "c/r/q"
        ]
    );
}

#[test]
fn links_are_stored_and_never_followed() {
    let scratch = Scratch::new();
    scratch.file("real/file", b"");
    symlink("real", scratch.path("link")).unwrap();
    symlink(".", scratch.path("real/loop")).unwrap();
    let roots = [scratch.path("link"), scratch.path("real")];
    assert_eq!(listing(&scratch.1, &roots, options()), ["link", "real", "real/file", "real/loop"]);
    let through = [scratch.path("link/file")];
    assert_eq!(listing(&scratch.1, &through, options()), ["link", "link/file Unreadable"]);
}

#[test]
fn missing_roots_and_losses_are_told() {
    let scratch = Scratch::new();
    scratch.file("a/file", b"");
    let roots = ["a", "a/file/x", "b", "c/d/e", "c/f"].map(|root| scratch.path(root));
    assert_eq!(
        listing(&scratch.1, &roots, options()),
        ["a", "a/file", "a/file/x Unreadable", "b Absent", "c/d/e Absent", "c/f Absent"]
    );
}

#[test]
fn what_must_not_be_stored_is_known_by_its_inode() {
    let scratch = Scratch::new();
    scratch.file("repository/pack", b"");
    scratch.file("x", b"");
    symlink("repository", scratch.path("alias")).unwrap();
    let met = Arc::new(Mutex::new(Vec::new()));
    let mut options = options();
    options.skip = vec![scratch.path("alias"), scratch.path("missing")];
    let record = met.clone();
    options.on_skip = Some(Arc::new(move |path| record.lock().unwrap().push(path.name().to_vec())));
    assert_eq!(listing(&scratch.1, std::slice::from_ref(&scratch.1), options), ["alias", "x"]);
    assert_eq!(*met.lock().unwrap(), [b"repository"]);
}

#[test]
fn one_file_system_keeps_the_mount_point_only() {
    let mut options = options();
    options.one_file_system = true;
    let seen = listing(Path::new("/dev"), &["/dev".into()], options.clone());
    assert!(seen.iter().any(|path| path == "shm"), "this machine mounts nothing at /dev/shm");
    assert_ne!(fs::metadata("/dev").unwrap().dev(), fs::metadata("/dev/shm").unwrap().dev());
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let below = |seen: Vec<String>| seen.iter().filter(|path| path.starts_with("shm/")).count();
    assert_eq!(below(listing(Path::new("/dev"), &["/dev".into()], options.clone())), 0);
    // A root on the other file system was named.
    assert_eq!(below(listing(Path::new("/dev"), &["/dev".into(), scratch.path().into()], options)), 2);
}

#[test]
fn what_vanishes_or_turns_into_a_link_is_told_and_not_followed() {
    let scratch = Scratch::new();
    for file in ["a/1", "b/2", "c/3", "d/4"] {
        scratch.file(file, b"");
    }
    fs::create_dir(scratch.path("elsewhere")).unwrap();
    scratch.file("elsewhere/secret", b"");
    let source = FilesSource::new(std::slice::from_ref(&scratch.1), options()).unwrap();
    let mut seen = Vec::new();
    let mut handles = Vec::new();
    let mut visit = |found: Found<FileHandle>| {
        match found {
            Found::Entry { path, handle, .. } => {
                if path.name() == b"a" {
                    fs::remove_dir_all(scratch.path("b")).unwrap();
                }
                if path.name() == b"c" && !scratch.path("d").is_symlink() {
                    fs::rename(scratch.path("c"), scratch.path("elsewhere/c")).unwrap();
                    fs::remove_dir_all(scratch.path("d")).unwrap();
                    symlink("elsewhere", scratch.path("c")).unwrap();
                    symlink("elsewhere", scratch.path("d")).unwrap();
                }
                seen.push(String::from_utf8(path.name().to_vec()).unwrap());
                handles.push(handle);
            }
            Found::Problem { path, outcome, .. } => {
                seen.push(format!("{} {outcome:?}", path.name().escape_ascii()));
            }
        }
        Ok(())
    };
    source.walk(&mut visit).unwrap();
    let at = seen.iter().position(|name| name == "a").unwrap();
    // The directory was open before the link was put there, so its own file is still found; then `d` is a link.
    assert_eq!(seen[at..], ["a", "1", "b Vanished", "c", "3", "d", "elsewhere", "c", "3", "secret"]);
}

#[test]
fn directories_without_the_right_to_read_are_told() {
    // Root may read everything, so the walk runs without its rights, in a thread of its own.
    let scratch = Scratch::new();
    scratch.file("closed/file", b"");
    scratch.file("open/file", b"");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(scratch.path("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&scratch.1, fs::Permissions::from_mode(0o755)).unwrap();
    let base = scratch.1.clone();
    let seen = super::without_privilege(move || listing(&base, std::slice::from_ref(&base), options()));
    assert_eq!(seen, ["closed", "closed Unreadable", "open", "open/file"]);
}

#[test]
fn a_huge_directory_is_sorted_outside_of_memory() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("d")).unwrap();
    let mut expected: Vec<_> = (0..3000).map(|i| format!("{:x}-{i}", i * 7919 % 3001)).collect();
    expected.iter().for_each(|name| drop(scratch.file(&format!("d/{name}"), b"")));
    fs::remove_file(scratch.path(&format!("d/{}", expected[7]))).unwrap();
    scratch.file(&format!("d/{}/below", expected[7]), b"");
    let below = format!("{}/below", expected[7]);
    expected.push(below);
    expected.sort();
    let source = FilesSource::new(&[scratch.path("d")], options()).unwrap();
    let mut found = Vec::new();
    let mut visit = |entry: Found<FileHandle>| {
        let Found::Entry { path, .. } = entry else { panic!("{entry:?}") };
        found.push(String::from_utf8(path.to_slashes()).unwrap());
        Ok(())
    };
    Walk::with_limit(&source, &mut visit, 4096).run().unwrap();
    let prefix = format!("{}/d/", scratch.1.to_str().unwrap()[1..].to_owned());
    let found: Vec<_> = found.iter().filter_map(|path| path.strip_prefix(&prefix)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_receiver_can_stop() {
    let scratch = Scratch::new();
    scratch.file("a", b"");
    let source = FilesSource::new(std::slice::from_ref(&scratch.1), options()).unwrap();
    let mut calls = 0;
    let stopped = source.walk(&mut |_| {
        calls += 1;
        if calls == 2 { Err(dedup_engine::backup::source::Stop) } else { Ok(()) }
    });
    assert!(stopped.is_err());
    assert_eq!(calls, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_walk_finds_what_plain_calls_find(
        files in proptest::collection::vec("[a-c!/]{1,7}", 0..25),
        roots in proptest::collection::vec("[a-c]{1}(/[a-c!]{1}){0,2}", 1..4),
        limit_bytes in 40usize..400,
    ) {
        let scratch = Scratch::new();
        for file in &files {
            // Some names are taken by a file where a directory would be needed; those are left out.
            let path = scratch.path(file.trim_matches('/'));
            let _ = fs::create_dir_all(path.parent().unwrap());
            let _ = fs::write(path, b"");
        }
        let roots: Vec<_> = roots.iter().map(|root| scratch.path(root)).filter(|root| root.exists()).collect();
        let mut expected = std::collections::BTreeSet::new();
        let mut left = roots.clone();
        while let Some(path) = left.pop() {
            if let Ok(entries) = fs::read_dir(&path) {
                left.extend(entries.map(|entry| entry.unwrap().path()));
            }
            expected.extend(path.ancestors().map(Path::to_owned));
        }
        let source = FilesSource::new(&roots, options()).unwrap();
        let mut found = Vec::new();
        let mut visit = |entry: Found<FileHandle>| {
            let Found::Entry { path, .. } = entry else { panic!("{entry:?}") };
            found.push(path);
            Ok(())
        };
        Walk::with_limit(&source, &mut visit, limit_bytes).run().unwrap();
        prop_assert!(found.is_sorted_by(|a, b| a < b));
        let found: std::collections::BTreeSet<_> =
            found.iter().map(|path| Path::new("/").join(str::from_utf8(&path.to_slashes()).unwrap())).collect();
        prop_assert_eq!(found, expected);
    }
}
