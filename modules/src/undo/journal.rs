//! The journal: one line for each thing that must be undone, on disk before the thing is done.
//!
//! ```text
//! <run>.undo   header line, then: {"n":1,"act":…}   before the act
//!                                 {"n":1,"done":true} after it was undone, or needs no undoing any more
//!                                 {"stands":{"gone":[1,2],"kept":[3]}} they all stay; what was kept for undoing
//!                                                                     those of `gone` is to be removed
//! ```
//!
//! That all acts of a restore stay is one line: were it a line for each, a run killed between two of them would leave the
//! files of a module restored and its database put back.
//!
//! A line is 16 hex digits of the BLAKE3 of its text, a blank, the text (JSON), a line end. A torn last line was written
//! for an act that was never begun, as the line is made durable first. A damaged line in the middle is told and the
//! others count. Whoever writes holds the file's lock, so that nobody undoes what a living run still needs.

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What the names of journals end with.
const EXTENSION: &str = "undo";
/// Longest line that is read; a service with all its containers takes a few hundred bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// What a journal is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Id of the run; the file is named for it.
    pub run: String,
    /// `backup` or `restore`.
    pub operation: String,
    /// When it began, for people.
    pub begun: String,
}

/// Names one entry of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A journal that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The system said no.
    #[error("the undo journal {}: cannot {call}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        call: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Lines that say nothing sensible; the others were taken.
    #[error("the undo journal {} is damaged in {lines} lines; what they stood for is not known", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How many.
        lines: usize,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Line<A> {
    #[serde(rename = "begin")]
    Begin(Header),
    #[serde(rename = "do")]
    Do { n: u64, act: A },
    #[serde(rename = "done")]
    Done { n: u64 },
    #[serde(rename = "stands")]
    Stands { gone: Vec<u64>, kept: Vec<u64> },
}

/// What a run must undo, on disk.
#[derive(Debug)]
pub struct Journal<A> {
    header: Header,
    path: PathBuf,
    file: File,
    next: u64,
    open: Vec<(Ticket, A)>,
    /// Those of them that stay.
    stands: Vec<Ticket>,
}

impl<A: Serialize + DeserializeOwned> Journal<A> {
    /// Begins a journal in `dir`, which is created for this user alone if it is not there.
    ///
    /// # Errors
    /// `AlreadyExists` if a run of this id has one.
    pub fn create(dir: &Path, header: Header) -> Result<Self, JournalError> {
        let path = path_of(dir, &header.run);
        let failed = |call| at(&path, call);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("make its directory"))?;
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("create it"))?;
        lock(&file).map_err(failed("lock it"))?;
        let mut journal =
            Self { header: header.clone(), path, file, next: 1, open: Vec::new(), stands: Vec::new() };
        journal.write(&Line::Begin(header))?;
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(at(&journal.path, "make it durable"))?;
        Ok(journal)
    }

    /// Takes over the journal of a run that died; `None` if the run lives, or the journal is gone.
    ///
    /// The second value tells of damage.
    pub fn take_over(path: &Path) -> Result<Option<(Self, Option<JournalError>)>, JournalError> {
        let failed = |call| at(path, call);
        let file = match OpenOptions::new().read(true).append(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed("open it"))?,
        };
        match lock(&file) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            locked => locked.map_err(failed("lock it"))?,
        }
        // Who held the lock until now may have been the run itself, which removes its journal at its end.
        if !path.try_exists().map_err(failed("look at it"))? {
            return Ok(None);
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let header = Header { run: name, operation: String::new(), begun: String::new() };
        let mut journal =
            Self { header, path: path.to_owned(), file, next: 1, open: Vec::new(), stands: Vec::new() };
        let damaged = journal.read()?;
        let damage = (damaged > 0).then(|| JournalError::Damaged { path: path.to_owned(), lines: damaged });
        Ok(Some((journal, damage)))
    }

    /// Returns what it is about.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Notes an act that must be undone, durably; only then may it be done.
    pub fn push(&mut self, act: A) -> Result<Ticket, JournalError> {
        let n = self.next;
        let line = Line::Do { n, act };
        self.write(&line)?;
        self.next += 1;
        if let Line::Do { act, .. } = line {
            self.open.push((Ticket(n), act));
        }
        Ok(Ticket(n))
    }

    /// Notes that an act is undone, or needs no undoing any more.
    pub fn done(&mut self, ticket: Ticket) -> Result<(), JournalError> {
        self.open.retain(|(open, _)| *open != ticket);
        self.write(&Line::<A>::Done { n: ticket.0 })
    }

    /// Notes that these acts stay, all of them or none whatever happens. Those of `gone` are on the list until what was kept for
    /// them is removed, and are not undone any more; those of `kept` are off the list.
    ///
    /// # Errors
    /// They are off the list then, and what was kept must not be removed: after this process, another one may undo them.
    pub fn stand(&mut self, gone: &[Ticket], kept: &[Ticket]) -> Result<(), JournalError> {
        let numbers = |tickets: &[Ticket]| tickets.iter().map(|ticket| ticket.0).collect();
        let written = self.write(&Line::<A>::Stands { gone: numbers(gone), kept: numbers(kept) });
        self.open.retain(|(open, _)| !kept.contains(open));
        match written {
            Ok(()) => self.stands.extend(gone),
            Err(_) => self.open.retain(|(open, _)| !gone.contains(open)),
        }
        written
    }

    /// Returns whether an act stays.
    pub fn stands(&self, ticket: Ticket) -> bool {
        self.stands.contains(&ticket)
    }

    /// Returns what is still to be undone, or to be let go of, the first act first.
    pub fn open(&self) -> &[(Ticket, A)] {
        &self.open
    }

    /// Ends the journal: it is removed if nothing is left to undo; `false` if something is.
    pub fn close(self) -> Result<bool, JournalError> {
        if !self.open.is_empty() {
            return Ok(false);
        }
        std::fs::remove_file(&self.path).map_err(at(&self.path, "remove it"))?;
        Ok(true)
    }

    fn write(&mut self, line: &Line<A>) -> Result<(), JournalError> {
        let text = serde_json::to_string(line)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
            .map_err(at(&self.path, "put it into words"))?;
        let line = format!("{} {text}\n", checksum(text.as_bytes()));
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(at(&self.path, "write to it"))
    }

    /// Reads all lines; returns how many were damaged.
    fn read(&mut self) -> Result<usize, JournalError> {
        let lines = Lines::read(&self.file).map_err(at(&self.path, "read it"))?;
        self.header = lines.header.unwrap_or_else(|| self.header.clone());
        (self.next, self.open, self.stands) = (lines.next, lines.open, lines.stands);
        // So that what is written from here on begins on a line of its own.
        self.file.set_len(lines.whole_bytes).map_err(at(&self.path, "cut its torn end off"))?;
        Ok(lines.damaged)
    }
}

/// What a journal is about, if its first line is whole; what is still to be undone; its damage.
pub type Seen<A> = (Option<Header>, Vec<A>, Option<JournalError>);

/// Looks into a journal without taking it over.
pub fn look<A: DeserializeOwned>(path: &Path) -> Result<Seen<A>, JournalError> {
    let file = File::open(path).map_err(at(path, "open it"))?;
    let lines = Lines::<A>::read(&file).map_err(at(path, "read it"))?;
    let damage =
        (lines.damaged > 0).then(|| JournalError::Damaged { path: path.to_owned(), lines: lines.damaged });
    Ok((lines.header, lines.open.into_iter().map(|(_, act)| act).collect(), damage))
}

/// What the lines of a journal say.
struct Lines<A> {
    header: Option<Header>,
    open: Vec<(Ticket, A)>,
    stands: Vec<Ticket>,
    next: u64,
    damaged: usize,
    /// Where the last whole line ends.
    whole_bytes: u64,
}

impl<A: DeserializeOwned> Lines<A> {
    fn read(file: &File) -> io::Result<Self> {
        let (open, stands) = Default::default();
        let mut all = Self { header: None, open, stands, next: 1, damaged: 0, whole_bytes: 0 };
        let mut lines = BufReader::new(file);
        loop {
            let mut bytes = Vec::new();
            if lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(all);
            }
            let torn = bytes.last() != Some(&b'\n') && (bytes.len() as u64) < MAX_LINE_BYTES;
            if torn {
                return Ok(all);
            }
            all.whole_bytes += bytes.len() as u64;
            match parse::<A>(&bytes) {
                Some(Line::Begin(header)) => all.header = Some(header),
                Some(Line::Do { n, act }) => {
                    all.next = all.next.max(n.saturating_add(1));
                    all.open.push((Ticket(n), act));
                }
                Some(Line::Done { n }) => all.open.retain(|(open, _)| open.0 != n),
                Some(Line::Stands { gone, kept }) => {
                    all.open.retain(|(open, _)| !kept.contains(&open.0));
                    all.stands.extend(gone.into_iter().map(Ticket));
                }
                None => all.damaged += 1,
            }
        }
    }
}

/// Returns the journals in a directory, sorted; none if the directory is not there.
pub fn journals(dir: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let failed = |call| at(dir, call);
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("list its directory"))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed("list its directory"))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the place of the journal of a run.
pub fn path_of(dir: &Path, run: &str) -> PathBuf {
    dir.join(format!("{run}.{EXTENSION}"))
}

fn at<'a>(path: &'a Path, call: &'static str) -> impl FnOnce(io::Error) -> JournalError + 'a {
    move |source| JournalError::Io { path: path.to_owned(), call, source }
}

fn lock(file: &File) -> io::Result<()> {
    flock(file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from)
}

fn checksum(text: &[u8]) -> String {
    blake3::hash(text).to_hex()[..16].to_owned()
}

fn parse<A: DeserializeOwned>(line: &[u8]) -> Option<Line<A>> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (sum, text) = line.split_once(' ')?;
    (checksum(text.as_bytes()) == sum).then(|| serde_json::from_str(text).ok()).flatten()
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
