//! Which files may decide what this process does: configuration, manifests, job files, programs.
//!
//! As root only what nobody but root could have written: the file, and every directory on the way to it, belong to
//! root and are writable neither by group nor by others. A directory such as `/tmp` is refused too: its sticky bit
//! keeps others from removing what is there, not from putting something there first. For an ordinary user: own or
//! root's, and not writable by others (directories such as `/tmp` are right for them, since whatever is in it is
//! asked for its owner as well). An access control list that lets somebody else write shows in the bits of the group.
//!
//! There is no moment between looking and reading. The path is walked from the root, link by link, each directory
//! opened in the one before it and asked when it is open; the file that is asked is the one that is read. Nobody but
//! the trusted can then change what the path means, so a program that passed may be started by its path.

mod programs;
#[cfg(test)]
mod tests;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// Most links on the way, as in Linux (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Most directories above one another; each is kept open while the path is walked.
const MAX_DEPTH: usize = 128;

/// Whom files must belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    uid: u32,
}

/// A file or directory that passed, open.
#[derive(Debug)]
pub struct Opened {
    /// It, for reading.
    pub file: File,
    /// Where it is, without links.
    pub path: PathBuf,
}

/// What is wrong with a step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It belongs to this user.
    Owner(u32),
    /// Users other than its owner may write it.
    Writable {
        /// Whether everybody may, and not only a group.
        by_all: bool,
        /// Whether it is one of those directories in which everybody may make files: `/tmp`.
        sticky: bool,
    },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(uid) => write!(f, "belongs to another user ({uid})"),
            Self::Writable { sticky: true, .. } => {
                f.write_str("is a directory in which every user may make files")
            }
            Self::Writable { by_all: true, .. } => f.write_str("may be written by every user"),
            Self::Writable { .. } => f.write_str("may be written by a group of users"),
        }
    }
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Somebody else could have written it, or have put it there.
    #[error("{} is not used: {} {wrong}", path.display(), if at == path { "it".into() } else { at.display().to_string() })]
    Untrusted {
        /// What was asked for.
        path: PathBuf,
        /// Which step of it is wrong.
        at: PathBuf,
        /// What is wrong there.
        wrong: Wrong,
        /// Who asked.
        uid: u32,
        /// Whether `at` is a directory.
        is_dir: bool,
    },
    /// It cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// What was asked for.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no {wanted}", path.display())]
    Kind {
        /// What was asked for.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// The path is not one that can be walked.
    #[error("{} is not used: {why}", path.display())]
    Path {
        /// What was asked for.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// There is no such program.
    #[error("there is no program {}", name.display())]
    NoProgram {
        /// What was asked for.
        name: PathBuf,
    },
}

impl TrustError {
    /// Returns whether there simply is no such file.
    pub fn is_missing(&self) -> bool {
        let gone = |kind| matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        matches!(self, Self::Io { source, .. } if gone(source.kind()))
    }

    /// Says what to do about it.
    pub fn hint(&self) -> Option<String> {
        let Self::Untrusted { path, at, wrong, uid, is_dir } = self else {
            return match self {
                Self::NoProgram { .. } => Some("name it by its whole path".into()),
                _ => None,
            };
        };
        let shown = quoted(at);
        let owner = if *uid == 0 { "root".to_owned() } else { uid.to_string() };
        let put_right = match wrong {
            Wrong::Owner(_) => format!("`chown {owner}: {shown}`"),
            Wrong::Writable { by_all, .. } => {
                let who = if *uid == 0 || !by_all { "go" } else { "o" };
                format!("`chmod {who}-w {shown}`")
            }
        };
        let elsewhere = if *uid == 0 { "/etc/dedup" } else { "your home directory" };
        Some(match wrong {
            Wrong::Writable { sticky: true, .. } => {
                format!("move it to a place where only {owner} may write, such as {elsewhere}")
            }
            _ if *is_dir && at != path => {
                format!(
                    "move it to a place where only {owner} may write, such as {elsewhere}, or {put_right}"
                )
            }
            _ => format!("if you know what is in it: {put_right}"),
        })
    }
}

/// Returns a path as a shell would take it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

impl Trust {
    /// Makes the rules for this user: the effective one of the process.
    pub fn of(uid: u32) -> Self {
        Self { uid }
    }

    /// Returns whether the rules are root's.
    pub fn is_root(self) -> bool {
        self.uid == 0
    }

    /// Opens a regular file for reading. `path` is absolute.
    pub fn open(self, path: &Path) -> Result<Opened, TrustError> {
        let found = self.file(path)?;
        // Not blocking: should a pipe be there now, nobody waits for its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            openat(&found.dir, &found.name, flags, Mode::empty()).map_err(|error| failed(path, error))?;
        // What is open now is asked once more: it is what will be read.
        let stat = fstat(&file).map_err(|error| failed(path, error))?;
        self.check(path, &found.path, &stat)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(TrustError::Kind { path: path.to_owned(), wanted: "regular file" });
        }
        Ok(Opened { file: file.into(), path: found.path })
    }

    /// Opens a directory. `path` is absolute.
    pub fn open_dir(self, path: &Path) -> Result<Opened, TrustError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = self.walk(path)?;
        if !found.name.is_empty() {
            return Err(TrustError::Kind { path: path.to_owned(), wanted: "directory" });
        }
        let file = openat(&found.dir, ".", flags, Mode::empty()).map_err(|error| failed(path, error))?;
        Ok(Opened { file: file.into(), path: found.path })
    }

    /// Reads a regular file, at most `limit_bytes` and one more, by which the caller sees that there is more.
    pub fn read(self, path: &Path, limit_bytes: usize) -> Result<Vec<u8>, TrustError> {
        let opened = self.open(path)?;
        let mut bytes = Vec::new();
        let most = (limit_bytes as u64).saturating_add(1);
        opened
            .file
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(|source| TrustError::Io { path: path.to_owned(), source })?;
        Ok(bytes)
    }

    /// Says what is wrong with a step of this owner and mode; `is_dir` for directories.
    fn wrong(self, stat: &Stat, is_dir: bool) -> Option<Wrong> {
        if stat.st_uid != 0 && stat.st_uid != self.uid {
            return Some(Wrong::Owner(stat.st_uid));
        }
        let mode = stat.st_mode;
        let sticky = is_dir && mode & 0o1000 != 0;
        let by_all = mode & 0o002 != 0;
        let refused = if self.is_root() { mode & 0o022 != 0 } else { by_all && !sticky };
        refused.then_some(Wrong::Writable { by_all, sticky: sticky && by_all })
    }

    fn check(self, asked: &Path, at: &Path, stat: &Stat) -> Result<(), TrustError> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_dir = kind == FileType::Directory;
        let wrong = match kind {
            // Whoever may write its directory decides what a link says; its own bits mean nothing.
            FileType::Symlink => {
                (stat.st_uid != 0 && stat.st_uid != self.uid).then_some(Wrong::Owner(stat.st_uid))
            }
            _ => self.wrong(stat, is_dir),
        };
        match wrong {
            None => Ok(()),
            Some(wrong) => Err(TrustError::Untrusted {
                path: asked.to_owned(),
                at: at.to_owned(),
                wrong,
                uid: self.uid,
                is_dir,
            }),
        }
    }

    /// Finds a regular file.
    fn file(self, path: &Path) -> Result<Found, TrustError> {
        let found = self.walk(path)?;
        if found.name.is_empty() || FileType::from_raw_mode(found.stat.st_mode) != FileType::RegularFile {
            return Err(TrustError::Kind { path: path.to_owned(), wanted: "regular file" });
        }
        Ok(found)
    }

    fn walk(self, asked: &Path) -> Result<Found, TrustError> {
        let io = |error: Errno| failed(asked, error);
        let path = |why| TrustError::Path { path: asked.to_owned(), why };
        if !asked.is_absolute() {
            return Err(path("its path is not absolute"));
        }
        let mut left = VecDeque::new();
        put_before(&mut left, asked);
        let mut links = 0;
        let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = openat(CWD, "/", look | OFlags::DIRECTORY, Mode::empty()).map_err(io)?;
        let root_stat = fstat(&root).map_err(io)?;
        self.check(asked, Path::new("/"), &root_stat)?;
        // The directories from the root down to where the walk is, so that `..` is what was walked.
        let mut above = Vec::new();
        let mut here = (root, PathBuf::from("/"), root_stat);
        while let Some(step) = left.pop_front() {
            let name = match step {
                Step::Root => {
                    here = above.drain(..).next().unwrap_or(here);
                    continue;
                }
                Step::Up => {
                    here = above.pop().unwrap_or(here);
                    continue;
                }
                Step::Name(name) => name,
            };
            let at = here.1.join(&name);
            let found = openat(&here.0, &name, look, Mode::empty()).map_err(io)?;
            let stat = fstat(&found).map_err(io)?;
            self.check(asked, &at, &stat)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(io(Errno::LOOP));
                    }
                    let target = readlinkat(&found, "", Vec::new()).map_err(io)?.into_bytes();
                    put_before(&mut left, Path::new(&OsString::from_vec(target)));
                }
                FileType::Directory if above.len() >= MAX_DEPTH => return Err(path("it lies too deep")),
                FileType::Directory => above.push(std::mem::replace(&mut here, (found, at, stat))),
                _ if left.is_empty() => return Ok(Found { dir: here.0, name, path: at, stat }),
                _ => return Err(io(Errno::NOTDIR)),
            }
        }
        Ok(Found { dir: here.0, name: OsString::new(), path: here.1, stat: here.2 })
    }
}

/// Where a path leads.
struct Found {
    /// The directory it is in; itself if it is one.
    dir: OwnedFd,
    /// Its name there; empty if it is a directory.
    name: OsString,
    /// Its path without links.
    path: PathBuf,
    /// What it was when it was looked at.
    stat: Stat,
}

fn failed(path: &Path, error: Errno) -> TrustError {
    TrustError::Io { path: path.to_owned(), source: error.into() }
}

/// A step of a path.
enum Step {
    Root,
    Up,
    Name(OsString),
}

/// Puts the steps of a path before those that are left. A path of the system has 4,095 bytes at most, and links are
/// counted: there are never many.
fn put_before(left: &mut VecDeque<Step>, path: &Path) {
    for component in path.components().rev() {
        left.push_front(match component {
            Component::RootDir | Component::Prefix(_) => Step::Root,
            Component::ParentDir => Step::Up,
            Component::CurDir => continue,
            Component::Normal(name) => Step::Name(name.to_owned()),
        });
    }
}
