//! Reads the directories.

use super::{Dir, Entry, Fault, Rank, Shelf, Wrong};
use crate::id::ModuleId;
use crate::manifest::job::Job;
use crate::manifest::platform::Platform;
use crate::manifest::{MAX_FILE_BYTES, Manifest, Problems, claimed_id, looks_like_job};
use crate::trust::{Trust, TrustError};
use rustix::fs::Dir as Listing;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Most manifests, or jobs, of one directory.
pub const MAX_FILES: usize = 4096;

/// What is declared by files of a directory.
pub trait Declared: Sized {
    /// The table of the file that holds the id.
    const TABLE: &'static str;
    /// What such a file is called, and the directory it belongs into.
    const NAMES: (&'static str, &'static str);

    /// Reads a file; `name` is its name for messages.
    fn parse(name: &str, bytes: &[u8]) -> Result<Self, Problems>;

    /// Returns its id.
    fn id(&self) -> &ModuleId;
}

impl Declared for Manifest {
    const TABLE: &'static str = "module";
    const NAMES: (&'static str, &'static str) = ("manifest", "modules.d");

    fn parse(name: &str, bytes: &[u8]) -> Result<Self, Problems> {
        Self::parse(name, bytes)
    }

    fn id(&self) -> &ModuleId {
        &self.module.id
    }
}

impl Declared for Job {
    const TABLE: &'static str = "job";
    const NAMES: (&'static str, &'static str) = ("job file", "jobs.d");

    fn parse(name: &str, bytes: &[u8]) -> Result<Self, Problems> {
        Self::parse(name, bytes)
    }

    fn id(&self) -> &ModuleId {
        &self.id
    }
}

impl Declared for Platform {
    const TABLE: &'static str = "platform";
    const NAMES: (&'static str, &'static str) = ("description of a platform", "platforms.d");

    fn parse(name: &str, bytes: &[u8]) -> Result<Self, Problems> {
        Self::parse(name, bytes)
    }

    fn id(&self) -> &ModuleId {
        &self.id
    }
}

/// Reads directories, the lowest first: of the same id the later one decides.
///
/// Files are those whose name ends in `.toml` and does not begin with a dot. What was found is the same whatever order
/// the file system lists it in.
pub fn load<T: Declared>(trust: Trust, dirs: &[Dir]) -> Shelf<T> {
    let mut shelf = Shelf::default();
    for dir in dirs {
        for entry in read_dir(trust, dir, &mut shelf) {
            put(trust, &mut shelf, entry);
        }
    }
    shelf
}

/// Puts an entry in its place.
fn put<T>(trust: Trust, shelf: &mut Shelf<T>, mut entry: Entry<T>) {
    if let Some(before) = shelf.entries.remove(&entry.id) {
        if trust.is_root() && entry.rank == Rank::User && before.rank == Rank::System {
            let wrong = Wrong::OverSystem { id: entry.id, system: before.file.clone() };
            shelf.faults.push(Fault { path: entry.file, wrong });
            shelf.entries.insert(before.id.clone(), before);
            return;
        }
        entry.replaces = before.replaces;
        entry.replaces.push(before.file);
    }
    shelf.entries.insert(entry.id.clone(), entry);
}

/// Reads one directory; what has no id goes to the faults.
fn read_dir<T: Declared>(trust: Trust, dir: &Dir, shelf: &mut Shelf<T>) -> Vec<Entry<T>> {
    // Most users have none: then nothing is asked of where it would be.
    let gone =
        |error: io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    if dir.rank != Rank::Given && dir.path.symlink_metadata().is_err_and(gone) {
        return Vec::new();
    }
    let names = match names(trust, &dir.path) {
        Ok((names, all)) => {
            if !all {
                shelf.faults.push(Fault { path: dir.path.clone(), wrong: Wrong::TooMany });
            }
            names
        }
        Err(error) if error.is_missing() && dir.rank != Rank::Given => return Vec::new(),
        Err(error) if is_hidden(trust, dir, &error) => {
            shelf.hidden.push(dir.path.clone());
            return Vec::new();
        }
        Err(error) => {
            shelf.faults.push(Fault { path: dir.path.clone(), wrong: error.into() });
            return Vec::new();
        }
    };
    let mut by_id: BTreeMap<ModuleId, Vec<Found<T>>> = BTreeMap::new();
    for name in names {
        let path = dir.path.join(&name);
        match read_file(trust, &path) {
            // Removed since the directory was listed.
            (_, Err(Wrong::Trust(error)), _) if error.is_missing() && path.symlink_metadata().is_err() => {}
            (_, Err(Wrong::Trust(error)), _) if is_hidden(trust, dir, &error) => shelf.hidden.push(path),
            (Some(id), what, text) => by_id.entry(id).or_default().push((path, what, text)),
            (None, Err(wrong), _) => shelf.faults.push(Fault { path, wrong }),
            (None, Ok(_), _) => {}
        }
    }
    let entry = |(id, mut found): (ModuleId, Vec<Found<T>>)| {
        if found.len() > 1 {
            let of: Vec<PathBuf> = found.iter().map(|(path, _, _)| path.clone()).collect();
            let file = of.first()?.clone();
            let what = Err(Wrong::Twice { id: id.clone(), of });
            return Some(Entry { id, file, rank: dir.rank, what, text: Vec::new(), replaces: Vec::new() });
        }
        let (file, what, text) = found.pop()?;
        Some(Entry { id, file, rank: dir.rank, what, text, replaces: Vec::new() })
    };
    by_id.into_iter().filter_map(entry).collect()
}

/// Returns whether this is what the system keeps from ordinary users.
fn is_hidden(trust: Trust, dir: &Dir, error: &TrustError) -> bool {
    let denied =
        matches!(error, TrustError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied);
    denied && !trust.is_root() && dir.rank == Rank::System
}

/// Returns the names of the files of a directory, sorted, and whether these are all.
fn names(trust: Trust, path: &Path) -> Result<(Vec<OsString>, bool), TrustError> {
    let failed = |error: rustix::io::Errno| TrustError::Io { path: path.to_owned(), source: error.into() };
    let opened = trust.open_dir(path)?;
    let mut names = Vec::new();
    let mut all = true;
    for entry in Listing::read_from(&opened.file).map_err(failed)? {
        let name = OsString::from_vec(entry.map_err(failed)?.file_name().to_bytes().to_vec());
        let bytes = name.as_bytes();
        if !bytes.ends_with(b".toml") || bytes.starts_with(b".") {
            continue;
        }
        if names.len() >= MAX_FILES {
            all = false;
            break;
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok((names, all))
}

/// A file with what it says and its text.
type Found<T> = (PathBuf, Result<T, Wrong>, Vec<u8>);

/// Reads one file: its id, as far as one can be told, what it says, and its text.
fn read_file<T: Declared>(trust: Trust, path: &Path) -> (Option<ModuleId>, Result<T, Wrong>, Vec<u8>) {
    let by_name = || ModuleId::parse(&path.file_stem()?.to_string_lossy()).ok();
    let bytes = match trust.read(path, MAX_FILE_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => return (by_name(), Err(error.into()), Vec::new()),
    };
    match T::parse(&path.display().to_string(), &bytes) {
        Ok(what) => (Some(what.id().clone()), Ok(what), bytes),
        Err(problems) => {
            if let Some(misplaced) = misplaced::<T>(&bytes) {
                return (None, Err(misplaced), bytes);
            }
            let id = claimed_id(&bytes, T::TABLE).or_else(by_name);
            (id, Err(Wrong::Problems(problems)), bytes)
        }
    }
}

/// Says if a file is of the other kind.
fn misplaced<T: Declared>(bytes: &[u8]) -> Option<Wrong> {
    let is_job = looks_like_job(bytes);
    let claims = |table| claimed_id(bytes, table).is_some();
    let other = if T::TABLE == Job::TABLE {
        (!is_job && claims(Manifest::TABLE)).then_some(Manifest::NAMES)
    } else {
        is_job.then_some(Job::NAMES)
    };
    other.map(|(is, into)| Wrong::Misplaced { is, into })
}
