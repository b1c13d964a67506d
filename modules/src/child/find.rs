//! The file that a name means.

use super::{ChildError, shown, shown_path};
use rustix::fs::{Access, access};
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Returns the file of a program: as `execvp` would find it, but never in a directory that is named relatively.
pub(super) fn find(name: &OsStr, cwd: Option<&Path>, path: Option<&OsStr>) -> Result<PathBuf, ChildError> {
    if name.is_empty() {
        return Err(ChildError::Empty);
    }
    if name.as_bytes().contains(&b'/') {
        let file = match cwd {
            _ if Path::new(name).is_absolute() => PathBuf::from(name),
            Some(cwd) => cwd.join(name),
            None => return Err(ChildError::Relative { path: shown(name) }),
        };
        return check(&file).map(|()| file);
    }
    let path = path.unwrap_or_default();
    let mut worse = None;
    for directory in
        path.as_bytes().split(|byte| *byte == b':').map(|bytes| Path::new(OsStr::from_bytes(bytes)))
    {
        if !directory.is_absolute() {
            continue;
        }
        let file = directory.join(name);
        match check(&file) {
            Ok(()) => return Ok(file),
            Err(ChildError::Missing { .. }) => {}
            Err(error) => worse = worse.or(Some(error)),
        }
    }
    Err(worse.unwrap_or_else(|| ChildError::NotInPath { name: shown(name), path: shown(path) }))
}

/// Checks that a file is there and can be run.
fn check(file: &Path) -> Result<(), ChildError> {
    match fs::metadata(file) {
        Ok(meta) if meta.is_file() && access(file, Access::EXEC_OK).is_ok() => Ok(()),
        Ok(_) => Err(ChildError::NotExecutable { path: shown_path(file) }),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(ChildError::Missing { path: shown_path(file) })
        }
        Err(source) => Err(ChildError::Start { program: shown_path(file), source }),
    }
}
