//! The file in which a machine remembers what it saw of a repository's logs.
//!
//! ```text
//! <path>        what is remembered, replaced as a whole
//! <path>.lock   held (flock) while it is read and replaced; never removed
//! <path>.new    the next one, being written
//! ```

use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest file that is read: more is none of ours.
const MAX_LEN: u64 = 1 << 32;

/// What is remembered could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {call} {}: {source}", .path.display())]
pub struct MemoryError {
    /// What was tried, as a verb.
    pub call: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Where it stands.
#[derive(Clone, Debug)]
pub struct MemoryFile {
    path: PathBuf,
}

/// Keeps others from replacing it.
pub(crate) struct Held<'f> {
    file: &'f MemoryFile,
    _lock: File,
}

impl MemoryFile {
    /// Names the file; neither it nor its directory need be there.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(ending);
        name.into()
    }

    fn failed(&self, call: &'static str) -> impl FnOnce(io::Error) -> MemoryError + '_ {
        move |source| MemoryError { call, path: self.path.clone(), source }
    }

    /// Reads it: nothing if there is none.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, MemoryError> {
        let len = match fs::metadata(&self.path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("read")(error)),
        };
        if len > MAX_LEN {
            return Err(self.failed("read")(io::Error::other("it is too long")));
        }
        match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(self.failed("read")),
        }
    }

    /// Waits until nobody else holds it; makes its directory, for this user alone.
    pub(crate) fn hold(&self) -> Result<Held<'_>, MemoryError> {
        if let Some(dir) = self.path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(self.failed("make the directory of"))?;
        }
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(self.beside(".lock"));
        let lock = lock.map_err(self.failed("lock"))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| self.failed("lock")(error.into()))?;
        Ok(Held { file: self, _lock: lock })
    }
}

impl Held<'_> {
    /// Replaces it, durably.
    pub fn write(&self, bytes: &[u8]) -> Result<(), MemoryError> {
        let (path, new) = (&self.file.path, self.file.beside(".new"));
        let write = || {
            // What a run left that was cut off.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        };
        write().map_err(self.file.failed("write"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_replaced_as_a_whole_and_for_this_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = MemoryFile::new(dir.path().join("heads/ab"));
        assert_eq!(file.read().unwrap(), None);
        file.hold().unwrap().write(b"one").unwrap();
        fs::write(dir.path().join("heads/ab.new"), b"of a run that was cut off").unwrap();
        file.hold().unwrap().write(b"two").unwrap();
        assert_eq!(file.read().unwrap().unwrap(), b"two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir.path().join("heads")), mode(file.path())), (0o700, 0o600));
        let blocked = MemoryFile::new(file.path().join("below a file"));
        assert!(blocked.hold().is_err() && blocked.read().is_err());
    }
}
