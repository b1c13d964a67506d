//! A copy instead of a snapshot: for file systems that know none, where somebody asked for it.
//!
//! It is not of one moment, but made as fast as the disk goes, and by sharing blocks where the file system can. It needs as much room as what
//! is copied, if it cannot.

use super::program::output;
use super::{
    Coverage, FsSnapshotRef, FsnapError, PREFIX, Plan, SnapshotProvider, check_reference, check_run, io_error,
};
use crate::child::Surroundings;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Copies by the program `cp` of GNU coreutils to a directory that somebody configured.
#[derive(Clone, Debug)]
pub struct DirectoryCopy {
    /// Where copies are made; best on the file system of what is copied.
    pub directory: PathBuf,
    /// The environment of the program.
    pub env: Vec<(OsString, OsString)>,
}

/// The name of the provider.
const NAME: &str = "copy";

impl DirectoryCopy {
    /// Returns the provider that runs its program in these surroundings.
    pub fn of(around: &Surroundings, directory: &Path) -> Self {
        Self { directory: directory.to_owned(), env: around.env.clone() }
    }
}

/// Returns the provider that made a copy; nothing if it is none.
pub(super) fn of(around: &Surroundings, snapshot: &FsSnapshotRef) -> Option<DirectoryCopy> {
    let directory = snapshot.place.parent()?;
    (snapshot.provider == NAME).then(|| DirectoryCopy::of(around, directory))
}

impl SnapshotProvider for DirectoryCopy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn plan(&self, paths: &[PathBuf], run: &str) -> Result<Plan, FsnapError> {
        check_run(run)?;
        let directory = fs::canonicalize(&self.directory).map_err(io_error("use", &self.directory))?;
        // What holds the copy itself cannot be copied there.
        let covered: Vec<PathBuf> =
            paths.iter().filter(|path| !directory.starts_with(path)).cloned().collect();
        if covered.is_empty() {
            return Ok(Plan { coverage: Coverage::None, reference: None });
        }
        let coverage = match covered.len() == paths.len() {
            true => Coverage::All,
            false => Coverage::Some(covered.clone()),
        };
        let place = directory.join(format!("{PREFIX}{run}"));
        let (provider, base) = (self.name().to_owned(), place.join("root"));
        let reference = FsSnapshotRef { provider, run: run.to_owned(), place, base, parts: covered };
        Ok(Plan { coverage, reference: Some(reference) })
    }

    fn take(&self, snapshot: &FsSnapshotRef) -> Result<(), FsnapError> {
        check_reference(snapshot, self.name())?;
        // What is secret in the original must not be open to others here.
        let mut private = fs::DirBuilder::new();
        private.mode(0o700);
        for at in [&snapshot.place, &snapshot.base] {
            private.create(at).map_err(io_error("make", at))?;
        }
        let there = snapshot.parts.iter().filter(|path| fs::symlink_metadata(path).is_ok());
        for path in there {
            let words = ["--archive", "--reflink=auto", "--sparse=auto", "--parents", "--"].map(OsStr::new);
            // From `/` on, as `--parents` has it.
            let path = path.strip_prefix("/").unwrap_or(path);
            output(&self.env, "cp", words.into_iter().chain([path.as_os_str(), snapshot.base.as_os_str()]))?;
        }
        Ok(())
    }

    fn delete(&self, snapshot: &FsSnapshotRef) -> Result<(), FsnapError> {
        check_reference(snapshot, self.name())?;
        match fs::remove_dir_all(&snapshot.place) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io_error("remove", &snapshot.place)(error))
            }
            _ => Ok(()),
        }
    }

    fn leftovers(&self) -> Result<Vec<FsSnapshotRef>, FsnapError> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.map_err(io_error("list", &self.directory))?,
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(run) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
            if check_run(run).is_ok() && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let place = entry.path();
                let (provider, base) = (self.name().to_owned(), place.join("root"));
                found.push(FsSnapshotRef { provider, run: run.to_owned(), place, base, parts: Vec::new() });
            }
        }
        found.sort_by(|a, b| a.place.cmp(&b.place));
        Ok(found)
    }
}
