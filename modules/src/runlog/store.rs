//! The directory of logs: `RUN.log` for each run.
//!
//! The file of a run is locked as long as its process lives (`flock`), so a log without an end tells whether the run
//! still goes on or has died. Of logs the newest [`KEEP_COUNT`] are kept, and none longer than [`KEEP_FOR`].

use super::read::{Line, Reader, parse};
use super::{End, Head, MAX_LINE_BYTES, RunId};
use crate::planted::{Bug, planted};
use jiff::{SignedDuration, Timestamp};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// How many logs are kept.
pub const KEEP_COUNT: usize = 100;
/// How long a log is kept: 90 days.
pub const KEEP_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Most names of a directory that are looked at.
const MAX_NAMES: usize = 100_000;

/// How a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It came to its end.
    Ended(End),
    /// It goes on.
    Running,
    /// It died before its end.
    Died,
}

/// A log that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The run.
    pub run: RunId,
    /// The file.
    pub path: PathBuf,
    /// What its first line says; `None` if that is broken.
    pub head: Option<Head>,
    /// How the run stands.
    pub outcome: Outcome,
}

/// Creates the log of a run, for its user alone and locked; `owner` (user and group) is given the file. The directory is
/// made if it is not there.
pub fn create(dir: &Path, run: &RunId, owner: Option<(u32, u32)>) -> io::Result<File> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    // For appending: whoever may write the file may not make us write elsewhere in it.
    let file = File::options().append(true).create_new(true).mode(0o600).open(path_of(dir, run))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    if let Some((user, group)) = owner {
        fchown(&file, Some(user), Some(group))?;
    }
    Ok(file)
}

/// Returns where the log of a run is.
pub fn path_of(dir: &Path, run: &RunId) -> PathBuf {
    dir.join(format!("{run}.log"))
}

/// Opens the log of a run.
pub fn open(path: &Path) -> io::Result<Reader<BufReader<File>>> {
    Ok(Reader::new(BufReader::new(open_file(path)?)))
}

/// Opens what is a regular file and no link: others may own a log, and what they put in its place is not followed.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

/// Returns the logs of a directory, the newest first; none if it is not there. What cannot be read is left out.
pub fn list(dir: &Path) -> io::Result<Vec<Kept>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut logs = Vec::new();
    for entry in entries.take(MAX_NAMES) {
        let name = entry?.file_name();
        let run = name.to_str().and_then(|name| name.strip_suffix(".log")).map(RunId::parse);
        if let Some(Ok(run)) = run
            && let Ok(kept) = look(dir, run)
        {
            logs.push(kept);
        }
    }
    // A broken one is old; of one moment the greater name is the newer run.
    let time = |kept: &Kept| kept.head.as_ref().map(|head| head.time);
    logs.sort_by(|a, b| (time(b), &b.run).cmp(&(time(a), &a.run)));
    Ok(logs)
}

/// Looks at one log: its first and its last line.
fn look(dir: &Path, run: RunId) -> io::Result<Kept> {
    let path = path_of(dir, &run);
    let mut file = open_file(&path)?;
    let head = match Reader::new(BufReader::new(&file)).next().transpose()? {
        Some(Line::Head(head)) => Some(head),
        _ => None,
    };
    let length = file.metadata()?.len();
    let from = length.saturating_sub(MAX_LINE_BYTES as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    (&file).take(MAX_LINE_BYTES as u64).read_to_end(&mut tail)?;
    // A line without its end is torn, whatever it seems to say.
    let whole = tail.strip_suffix(b"\n");
    let last = whole.map(|tail| parse(tail.rsplit(|byte| *byte == b'\n').next().unwrap_or_default()));
    let outcome = match last {
        Some(Line::End(end)) => Outcome::Ended(end),
        _ if is_locked(&file)? => Outcome::Running,
        _ => Outcome::Died,
    };
    Ok(Kept { run, path, head, outcome })
}

fn is_locked(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            flock(file, FlockOperation::Unlock)?;
            Ok(false)
        }
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Removes what is older than [`KEEP_FOR`], and beyond the newest [`KEEP_COUNT`]; never the newest, nor one of a run that
/// goes on. Returns how many were removed.
pub fn rotate(dir: &Path, now: Timestamp) -> io::Result<usize> {
    let mut removed = 0;
    for (n, kept) in list(dir)?.into_iter().enumerate().skip(1) {
        let is_old =
            planted(Bug::EmptyLogs) || kept.head.is_none_or(|head| now.duration_since(head.time) > KEEP_FOR);
        if kept.outcome == Outcome::Running || (n < KEEP_COUNT && !is_old) {
            continue;
        }
        match fs::remove_file(&kept.path) {
            Ok(()) => removed += 1,
            // Another run was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}
