//! Files of others, files that others may write, links, pipes, and what changes meanwhile.

use super::{Trust, TrustError, Wrong};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A directory of its own to which no sticky directory leads; its real path.
struct Own(#[expect(dead_code, reason = "removes the directory")] tempfile::TempDir, PathBuf);

impl Own {
    fn new() -> Self {
        let home = std::env::var("HOME").expect("a home directory");
        let directory = tempfile::tempdir_in(home).unwrap();
        let path = fs::canonicalize(directory.path()).unwrap();
        Self(directory, path)
    }

    fn file(&self, below: &str, mode: u32) -> PathBuf {
        let path = self.1.join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, below).unwrap();
        set_mode(&path, mode);
        path
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Asserts that `path` is refused at `at`, and returns what is wrong and the hint.
#[track_caller]
fn refused(trust: Trust, path: &Path, at: &Path) -> (Wrong, String) {
    let error = trust.open(path).unwrap_err();
    let hint = error.hint().unwrap_or_default();
    match error {
        TrustError::Untrusted { at: found, wrong, .. } => {
            assert_eq!(found, at);
            (wrong, hint)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_ones_own_is_read() {
    let own = Own::new();
    let path = own.file("etc/a.toml", 0o600);
    let trust = Trust::of(me());
    assert_eq!(trust.read(&path, 100).unwrap(), b"etc/a.toml");
    assert_eq!(trust.read(&path, 4).unwrap(), b"etc/a", "one more than the limit");
    assert_eq!(trust.open_dir(&own.1.join("etc")).unwrap().path, own.1.join("etc"));
    let around = own.1.join("etc/../etc/./a.toml");
    assert_eq!(trust.open(&around).unwrap().path, path);
    assert!(trust.open(&own.1.join("none")).unwrap_err().is_missing());
    assert!(trust.open(&path.join("below")).unwrap_err().is_missing());
    assert!(matches!(trust.open(&own.1), Err(TrustError::Kind { .. })));
    assert!(matches!(trust.open_dir(&path), Err(TrustError::Kind { .. })));
    assert!(matches!(trust.open(Path::new("a.toml")), Err(TrustError::Path { .. })));
}

#[test]
fn what_others_may_write_is_refused_wherever_on_the_way_it_is() {
    let own = Own::new();
    let path = own.file("a/b/c.toml", 0o600);
    let trust = Trust::of(me());
    for at in [own.1.join("a"), own.1.join("a/b"), path.clone()] {
        let before = fs::metadata(&at).unwrap().permissions();
        set_mode(&at, 0o707);
        let (wrong, hint) = refused(trust, &path, &at);
        assert_eq!(wrong, Wrong::Writable { by_all: true, sticky: false });
        assert!(hint.contains("-w ") && hint.contains(&at.display().to_string()), "{hint}");
        fs::set_permissions(&at, before).unwrap();
    }
    trust.open(&path).unwrap();
    // By a group: only root minds.
    set_mode(&path, 0o660);
    assert_eq!(trust.open(&path).is_err(), trust.is_root());
}

#[test]
fn links_are_followed_step_by_step() {
    let own = Own::new();
    let target = own.file("real/x.toml", 0o600);
    let open = own.file("open/y.toml", 0o600);
    symlink("../real/x.toml", own.1.join("open/link.toml")).unwrap();
    symlink(own.1.join("open"), own.1.join("dir")).unwrap();
    let trust = Trust::of(me());
    assert_eq!(trust.open(&own.1.join("dir/link.toml")).unwrap().path, target);
    assert_eq!(trust.open_dir(&own.1.join("dir")).unwrap().path, own.1.join("open"));
    // Whoever writes the directory of a link decides where it leads, though its target is sound.
    set_mode(&own.1.join("open"), 0o777);
    refused(trust, &own.1.join("dir/link.toml"), &own.1.join("open"));
    set_mode(&own.1.join("open"), 0o755);
    // And a target that is not.
    set_mode(&own.1.join("real"), 0o777);
    refused(trust, &own.1.join("dir/link.toml"), &own.1.join("real"));
    trust.open(&open).unwrap();
    for (link, to) in [("a", "b"), ("b", "a")] {
        symlink(to, own.1.join(link)).unwrap();
    }
    assert!(matches!(trust.open(&own.1.join("a")), Err(TrustError::Io { .. })));
}

#[test]
fn nothing_but_a_regular_file_is_opened() {
    let own = Own::new();
    let pipe = own.1.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let trust = Trust::of(me());
    // Would wait for ever if it were opened.
    assert!(matches!(trust.open(&pipe), Err(TrustError::Kind { .. })));
    assert!(matches!(
        trust.open(Path::new("/dev/null")),
        Err(TrustError::Kind { .. } | TrustError::Untrusted { .. })
    ));
}

#[test]
fn a_directory_for_everybody_is_no_place_for_root() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let path = directory.path().join("a.toml");
    fs::write(&path, "").unwrap();
    set_mode(&path, 0o600);
    let error = Trust::of(0).open(&path).unwrap_err();
    assert!(error.to_string().contains("/tmp is a directory in which every user may make files"), "{error}");
    assert!(!error.hint().unwrap().contains("chmod"), "nobody should change /tmp: {:?}", error.hint());
    if me() != 0 {
        Trust::of(me()).open(&path).unwrap();
    }
}

#[test]
fn what_belongs_to_another_user_is_refused() {
    if me() != 0 {
        // An ordinary user: whatever is a third one's.
        let own = Own::new();
        let path = own.file("a.toml", 0o600);
        let error = Trust::of(me() + 1).open(&path).unwrap_err();
        assert!(error.to_string().contains("belongs to another user"), "{error}");
        return;
    }
    let own = Own::new();
    let path = own.file("a/b.toml", 0o644);
    symlink("b.toml", own.1.join("a/link")).unwrap();
    for at in [path.clone(), own.1.join("a")] {
        chown(&at, Some(1234), None).unwrap();
        let (wrong, hint) = refused(Trust::of(0), &path, &at);
        assert_eq!(wrong, Wrong::Owner(1234));
        assert!(hint.contains("chown root: "), "{hint}");
        assert_eq!(hint.contains("/etc/dedup"), at != path, "{hint}");
        chown(&at, Some(0), None).unwrap();
    }
    std::os::unix::fs::lchown(own.1.join("a/link"), Some(1234), None).unwrap();
    refused(Trust::of(0), &own.1.join("a/link"), &own.1.join("a/link"));
    // What is root's is good for everybody who gets there.
    chown(&own.1, Some(1234), None).unwrap();
    let asked = Trust::of(1234).open(&path).map(|_| ());
    assert!(!matches!(asked, Err(TrustError::Untrusted { wrong: Wrong::Owner(0), .. })));
}

/// A file that becomes another user's between two looks: what is read is what was asked, every time.
#[test]
fn what_is_read_is_what_was_asked() {
    let own = Own::new();
    let (good, bad) = (own.file("good", 0o600), own.file("bad", 0o606));
    let path = own.1.join("file");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let beside = own.1.join("beside");
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for of in [&good, &bad] {
                    fs::hard_link(of, &beside).unwrap();
                    fs::rename(&beside, &path).unwrap();
                    // Two names of one file: renaming leaves both.
                    let _ = fs::remove_file(&beside);
                }
            }
        });
        let (mut read, mut refused) = (0, 0);
        while read < 200 || refused < 200 {
            match Trust::of(me()).read(&path, 100) {
                Ok(bytes) => {
                    assert_eq!(bytes, b"good");
                    read += 1;
                }
                Err(TrustError::Untrusted { .. }) => refused += 1,
                Err(error) if error.is_missing() => {}
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn programs_are_found_and_checked() {
    let own = Own::new();
    let (first, second) = (own.file("first/data", 0o700), own.file("second/run", 0o755));
    let script = own.file("script", 0o600);
    let search = [PathBuf::from("relative"), own.1.join("none"), own.1.join("first"), own.1.join("second")];
    let trust = Trust::of(me());
    let argv = |words: &[&str]| words.iter().map(std::ffi::OsString::from).collect::<Vec<_>>();
    assert_eq!(trust.program("run".as_ref(), &search).unwrap(), second);
    assert!(matches!(trust.program("gone".as_ref(), &search), Err(TrustError::NoProgram { .. })));
    assert!(matches!(trust.program("".as_ref(), &search), Err(TrustError::NoProgram { .. })));
    assert!(matches!(trust.program("./run".as_ref(), &search), Err(TrustError::Path { .. })));
    assert!(matches!(trust.command(&[], &search), Err(TrustError::NoProgram { .. })));
    assert!(matches!(trust.program(script.as_os_str(), &[]), Err(TrustError::Kind { .. })), "not executable");
    let script = script.to_str().unwrap();
    let through = ["sh", "python3.11", "nice"].map(|name| {
        own.file(&format!("second/{name}"), 0o755);
        name
    });
    for name in through {
        trust.command(&argv(&[name, "-x", script]), &search).unwrap();
        set_mode(Path::new(script), 0o606);
        assert!(trust.command(&argv(&[name, "-x", script]), &search).is_err(), "{name}");
        trust.command(&argv(&["run", script]), &search).unwrap();
        set_mode(Path::new(script), 0o600);
    }
    set_mode(Path::new(script), 0o606);
    trust.command(&argv(&["sh", "-c", "cat $1", "sh", script]), &search).unwrap();
    // Found where others could have put it: refused, not passed over.
    fs::write(own.1.join("first/run"), "").unwrap();
    set_mode(&own.1.join("first/run"), 0o755);
    set_mode(&own.1.join("first"), 0o777);
    assert!(matches!(trust.program("run".as_ref(), &search), Err(TrustError::Untrusted { .. })));
    assert!(first.exists());
}
