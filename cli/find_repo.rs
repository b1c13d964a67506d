//! Which repository is meant, and where this user's own files lie.
//!
//! Order: `-r/--repo`, `DEDUP_REPO`, the configuration file, the default that `dedup init` remembered
//! (one path in `dedup/default-repository` of the state directory).

use crate::config::Config;
use crate::failure::Failure;
use dedup_engine::error::Kind;
use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A repository's place and who named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its directory.
    pub path: PathBuf,
    /// Who named it, for messages: `--repo`, `DEDUP_REPO`, a file.
    pub named_by: String,
}

/// Finds the place of the repository.
pub fn find(argument: Option<&OsStr>, config: &Config) -> Result<Place, Failure> {
    match named(argument, config)? {
        Some(place) => Ok(place),
        None => match remembered()? {
            Some(path) => place(&path.into_os_string(), "the default that `dedup init` remembered".into()),
            None => Err(Failure::new(Kind::NoRepository, "no repository is named")
                .hint("create one with `dedup init PATH`, or name one with -r PATH or DEDUP_REPO")),
        },
    }
}

/// Finds the place that arguments, environment or configuration name.
pub fn named(argument: Option<&OsStr>, config: &Config) -> Result<Option<Place>, Failure> {
    if let Some(path) = argument {
        return place(path, "--repo".into()).map(Some);
    }
    if let Some(path) = std::env::var_os("DEDUP_REPO").filter(|path| !path.is_empty()) {
        return place(&path, "DEDUP_REPO".into()).map(Some);
    }
    match (&config.repository, &config.file) {
        (Some(path), Some(file)) => place(path.as_os_str(), file.display().to_string()).map(Some),
        _ => Ok(None),
    }
}

/// Takes an address as somebody named it; so far every repository is a directory.
pub fn place(address: &OsStr, named_by: String) -> Result<Place, Failure> {
    if address.as_bytes().windows(3).any(|three| three == b"://") {
        let message = format!("{} is no directory", address.display());
        return Err(Failure::refused(message).hint("this version keeps repositories in directories only"));
    }
    let path = std::path::absolute(address)
        .map_err(|error| Failure::io(format!("{} is no usable path", address.display()), &error))?;
    Ok(Place { path, named_by })
}

/// Returns a directory of the XDG Base Directory Specification (0.8): the variable, which must be
/// absolute to count, or a directory below the home directory.
pub fn base_dir(variable: &str, below_home: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    given.or_else(|| home().map(|home| home.join(below_home)))
}

/// Returns the home directory; services often run without `HOME`, so the system is asked as well.
fn home() -> Option<PathBuf> {
    let given = std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    given.or_else(|| nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir))
}

fn memory_file() -> Option<PathBuf> {
    base_dir("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("dedup/default-repository"))
}

/// Returns the remembered default.
pub fn remembered() -> Result<Option<PathBuf>, Failure> {
    let Some(file) = memory_file() else { return Ok(None) };
    match std::fs::read(&file) {
        Ok(bytes) => Ok(remembered_path(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Failure::io(format!("cannot read {}", file.display()), &error)),
    }
}

/// The file holds one path and a line end; anything that is no absolute path was not written by us.
fn remembered_path(mut bytes: Vec<u8>) -> Option<PathBuf> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Some(PathBuf::from(OsString::from_vec(bytes))).filter(|path| path.is_absolute())
}

/// Remembers `path` as the default. Without a home directory there is nowhere to do so: `false`.
pub fn remember(path: &Path) -> Result<bool, Failure> {
    let Some(file) = memory_file() else { return Ok(false) };
    let failed = |error| Failure::io(format!("cannot write {}", file.display()), &error);
    if let Some(dir) = file.parent() {
        create_private_dir(dir)?;
    }
    // Written beside and renamed, so that no reader ever finds half a path.
    let beside = file.with_extension(format!("{}.new", std::process::id()));
    let mut bytes = path.as_os_str().as_bytes().to_vec();
    bytes.push(b'\n');
    let write = || {
        let mut new = std::fs::File::create(&beside)?;
        new.write_all(&bytes)?;
        new.sync_all()?;
        std::fs::rename(&beside, &file)
    };
    write().map_err(|error| {
        // What was begun is of no use to anybody; failing to remove it changes nothing.
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })?;
    Ok(true)
}

/// Creates a directory for this user alone, and its parents; one that is there is left as it is.
pub fn create_private_dir(dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| Failure::io(format!("cannot create the directory {}", dir.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_win_over_the_configuration() {
        let config = Config {
            repository: Some("/from/file".into()),
            file: Some("/etc/dedup/dedup.toml".into()),
            ..Config::default()
        };
        let place = named(Some("/given".as_ref()), &config).unwrap().unwrap();
        assert_eq!((place.path, place.named_by), ("/given".into(), "--repo".into()));
        let relative = named(Some("given".as_ref()), &config).unwrap().unwrap();
        assert!(relative.path.is_absolute());
    }

    #[test]
    fn only_directories_so_far() {
        assert!(place("s3://bucket/x".as_ref(), "--repo".into()).is_err());
        assert!(place("".as_ref(), "--repo".into()).is_err());
    }

    #[test]
    fn the_memory_holds_one_absolute_path_of_any_bytes() {
        assert_eq!(
            remembered_path(b"/a\xff b\n".to_vec()),
            Some(OsString::from_vec(b"/a\xff b".to_vec()).into())
        );
        assert_eq!(remembered_path(b"/a\n\n".to_vec()), Some("/a\n".into()));
        assert_eq!(remembered_path(b"relative\n".to_vec()), None);
        assert_eq!(remembered_path(Vec::new()), None);
    }
}
