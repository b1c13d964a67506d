//! Whole trees: walked, and copied from a source to a sink.

mod aside;
mod copy;
mod declared;
mod deep;
mod fidelity;
mod hostile;
mod killed;
mod restoring;
mod walking;

use super::source::{FileHandle, FilesSource};
use super::{Excludes, FilesOptions};
use dedup_engine::backup::source::{Found, Source, Stat};
use dedup_engine::snapshot::Outcome;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory of its own on a file system that knows attributes and holes, by its real path.
struct Scratch(#[expect(dead_code, reason = "removes the directory")] tempfile::TempDir, PathBuf);

impl Scratch {
    fn new() -> Self {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = fs::canonicalize(directory.path()).unwrap();
        Self(directory, path)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.1.join(below)
    }

    fn file(&self, below: &str, content: &[u8]) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

/// What a walk found, as `(path below base, what)`; what is above `base` is left out.
#[derive(Debug, PartialEq)]
enum Seen {
    Entry(Stat),
    Problem(Outcome, String),
}

fn options() -> FilesOptions {
    FilesOptions::new("/var/tmp".into())
}

fn walk(source: &FilesSource) -> Vec<(PathBuf, Seen)> {
    let mut seen = Vec::new();
    let mut last = None;
    let mut record = |found: Found<FileHandle>| {
        let (path, what) = match found {
            Found::Entry { path, stat, .. } => {
                assert!(last.as_ref() < Some(&path), "{path:?} after {last:?}");
                (path, Seen::Entry(stat))
            }
            Found::Problem { path, outcome, message } => {
                assert!(last.as_ref() <= Some(&path), "{path:?} after {last:?}");
                (path, Seen::Problem(outcome, message))
            }
        };
        last = Some(path.clone());
        use std::os::unix::ffi::OsStringExt;
        let shown = std::ffi::OsString::from_vec([b"/", &path.to_slashes()[..]].concat());
        seen.push((PathBuf::from(shown), what));
        Ok(())
    };
    source.walk(&mut record).unwrap();
    seen
}

/// Walks roots below `base`; returns the paths below it, problems marked with their outcome.
fn listing(base: &Path, roots: &[PathBuf], options: FilesOptions) -> Vec<String> {
    let source = FilesSource::new(roots, options).unwrap();
    let shown = walk(&source).into_iter().filter_map(|(path, seen)| {
        let below = path.strip_prefix(base).ok().filter(|below| *below != Path::new(""))?.to_str().unwrap();
        Some(match seen {
            Seen::Entry(_) => below.to_owned(),
            Seen::Problem(outcome, _) => format!("{below} {outcome:?}"),
        })
    });
    shown.collect()
}

fn excludes(text: &str) -> Excludes {
    Excludes::parse([("test", text)]).unwrap()
}

/// Runs `work` in a thread that is nobody, without any of root's rights.
fn without_privilege<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(move || {
        let nobody = 65_534;
        // These change the calling thread only, being bare system calls.
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(nobody)).unwrap();
        rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(nobody)).unwrap();
        work()
    })
    .join()
    .unwrap()
}
