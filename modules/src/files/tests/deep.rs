//! Trees that are deeper than paths may be long and files may be open.

use super::*;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

/// Makes `depth` directories below one another, each with a file beside its child; returns the deepest.
pub(super) fn make_chain(base: &Path, name: &str, depth: usize) {
    let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, base, open, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&at, name, Mode::from_raw_mode(0o755)).unwrap();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let file = openat(&at, "~file", flags, Mode::from_raw_mode(0o644)).unwrap();
        rustix::io::write(file, b"content").unwrap();
        at = openat(&at, name, open, Mode::empty()).unwrap();
    }
}

#[test]
fn depth_far_beyond_path_max_and_open_files_is_walked_and_read() {
    let scratch = Scratch::new();
    let depth = 3000;
    make_chain(&scratch.1, "d", depth);
    let source = FilesSource::new(std::slice::from_ref(&scratch.1), options()).unwrap();
    let (mut directories, mut files, mut handles) = (0, 0, Vec::new());
    let mut visit = |found: Found<FileHandle>| {
        match found {
            Found::Entry { path, handle, .. } if path.name() == b"~file" => {
                files += 1;
                if files % 100 == 0 {
                    handles.push(handle);
                }
            }
            Found::Entry { path, .. } => directories += usize::from(path.name() == b"d"),
            problem => panic!("{problem:?}"),
        }
        Ok(())
    };
    source.walk(&mut visit).unwrap();
    assert_eq!((directories, files), (depth, depth));
    for handle in &handles {
        let mut buffer = [0; 16];
        assert_eq!(source.open(handle).unwrap().read_at(&mut buffer, 0).unwrap(), 7);
    }
}

#[test]
fn a_path_too_long_for_a_listing_is_told() {
    let scratch = Scratch::new();
    let name = "n".repeat(255);
    make_chain(&scratch.1, &name, 260);
    let seen = walk(&FilesSource::new(std::slice::from_ref(&scratch.1), options()).unwrap());
    let (path, last) = seen.iter().find(|(_, seen)| matches!(seen, Seen::Problem(..))).unwrap();
    let Seen::Problem(outcome, message) = last else { panic!() };
    assert_eq!(*outcome, Outcome::NotStorable);
    assert!(message.starts_with("1 names") && path.as_os_str().len() > 65_000, "{message}");
    assert_eq!(seen.iter().filter(|(_, seen)| matches!(seen, Seen::Problem(..))).count(), 1);
}
