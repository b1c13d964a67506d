//! Sorted runs of names in one unlinked file, used as a stack: what was written last is freed first.
//!
//! A record is `length u8 | name`. Only this process reads it, and only while it walks.

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, ftruncate, openat, unlinkat};
use rustix::io::{Errno, pread, pwrite};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::{Path, PathBuf};

/// How many runs are merged at once.
const FAN_IN: usize = 64;
/// How much is read or written at once.
const BUFFER_BYTES: usize = 16 << 10;

/// The file, created when it is first needed.
#[derive(Debug)]
pub(super) struct Spill {
    directory: PathBuf,
    file: Option<OwnedFd>,
    end: u64,
}

/// A sorted run of names, read from front to back.
#[derive(Debug)]
pub(super) struct Run {
    next: u64,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl Spill {
    /// Names the directory that will hold the file.
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), file: None, end: 0 }
    }

    /// Returns where the next record goes; what is given to [`Self::truncate`] later.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Forgets everything written since the end was `end`.
    pub(super) fn truncate(&mut self, end: u64) {
        if end >= self.end {
            return;
        }
        self.end = end;
        if let Some(file) = &self.file {
            // Room that is not given back is written over later, or freed with the file.
            let _ = ftruncate(file, end);
        }
    }

    /// Writes a run of names that come in order.
    pub(super) fn write<'a>(&mut self, names: impl Iterator<Item = &'a [u8]>) -> io::Result<Run> {
        let start = self.end;
        let mut buffer = Vec::with_capacity(BUFFER_BYTES + 256);
        for name in names {
            self.push(&mut buffer, name)?;
        }
        self.flush(&mut buffer)?;
        Ok(Run { next: start, end: self.end, buffer: Vec::new(), used: 0 })
    }

    /// Merges runs to one, in passes that keep at most 64 of them in hand.
    pub(super) fn merge(&mut self, mut runs: Vec<Run>) -> io::Result<Option<Run>> {
        while runs.len() > 1 {
            let mut merged = Vec::with_capacity(runs.len().div_ceil(FAN_IN));
            for group in runs.chunks_mut(FAN_IN) {
                merged.push(self.merge_group(group)?);
            }
            runs = merged;
        }
        Ok(runs.pop())
    }

    fn merge_group(&mut self, runs: &mut [Run]) -> io::Result<Run> {
        let start = self.end;
        let mut heap = BinaryHeap::with_capacity(runs.len());
        let mut name = Vec::new();
        for (index, run) in runs.iter_mut().enumerate() {
            if run.next(self, &mut name)? {
                heap.push(Reverse((std::mem::take(&mut name), index)));
            }
        }
        let mut buffer = Vec::with_capacity(BUFFER_BYTES + 256);
        while let Some(Reverse((mut name, index))) = heap.pop() {
            self.push(&mut buffer, &name)?;
            if runs[index].next(self, &mut name)? {
                heap.push(Reverse((name, index)));
            }
        }
        self.flush(&mut buffer)?;
        Ok(Run { next: start, end: self.end, buffer: Vec::new(), used: 0 })
    }

    fn push(&mut self, buffer: &mut Vec<u8>, name: &[u8]) -> io::Result<()> {
        let len = u8::try_from(name.len()).map_err(|_| io::Error::other("a name of more than 255 bytes"))?;
        buffer.push(len);
        buffer.extend_from_slice(name);
        if buffer.len() >= BUFFER_BYTES { self.flush(buffer) } else { Ok(()) }
    }

    fn flush(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(unlinked_file(&self.directory)?),
        };
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            let written = pwrite(file, rest, self.end)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[written..];
            self.end += written as u64;
        }
        buffer.clear();
        Ok(())
    }
}

impl Run {
    /// Puts the next name into `name`; `false` at the end.
    pub(super) fn next(&mut self, spill: &Spill, name: &mut Vec<u8>) -> io::Result<bool> {
        name.clear();
        if self.remaining() == 0 {
            return Ok(false);
        }
        self.fill(spill, 1)?;
        let len = usize::from(self.buffer[self.used]);
        self.fill(spill, 1 + len)?;
        name.extend_from_slice(&self.buffer[self.used + 1..self.used + 1 + len]);
        self.used += 1 + len;
        Ok(true)
    }

    /// Frees the buffer; reading goes on where it was.
    pub(super) fn park(&mut self) {
        self.next -= (self.buffer.len() - self.used) as u64;
        self.buffer = Vec::new();
        self.used = 0;
    }

    fn remaining(&self) -> u64 {
        self.end - self.next + (self.buffer.len() - self.used) as u64
    }

    /// Sees to it that `len` unread bytes are in the buffer.
    fn fill(&mut self, spill: &Spill, len: usize) -> io::Result<()> {
        if self.buffer.len() - self.used >= len {
            return Ok(());
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let file = spill.file.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?;
        while self.buffer.len() < len {
            let old = self.buffer.len();
            let want = (BUFFER_BYTES as u64).min(self.end - self.next) as usize;
            self.buffer.resize(old + want, 0);
            let read = pread(file, &mut self.buffer[old..], self.next)?;
            self.buffer.truncate(old + read);
            self.next += read as u64;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// Makes a file that has no name, so that nothing is left behind however the process ends.
pub(crate) fn unlinked_file(directory: &Path) -> io::Result<OwnedFd> {
    let mode = Mode::RUSR | Mode::WUSR;
    match openat(CWD, directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
        // What the kernel answers where the file system cannot do that.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {}
        result => return Ok(result?),
    }
    let path = directory.join(format!(".dedup-names-{}", super::temporary::random_hex()));
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(CWD, &path, flags, mode)?;
    unlinkat(CWD, &path, rustix::fs::AtFlags::empty())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn merged_runs_hold_the_same_names_in_order(
            runs in proptest::collection::vec(proptest::collection::vec("[a-d]{1,255}", 0..40), 0..150),
            park in 1usize..9,
        ) {
            let scratch = tempfile::tempdir().unwrap();
            let mut spill = Spill::new(scratch.path());
            let before = spill.end();
            let mut expected = Vec::new();
            let mut written = Vec::new();
            for mut run in runs {
                run.sort();
                written.push(spill.write(run.iter().map(|name| name.as_bytes())).unwrap());
                expected.extend(run);
            }
            expected.sort();
            let mut found = Vec::new();
            if let Some(mut run) = spill.merge(written).unwrap() {
                let mut name = Vec::new();
                while run.next(&spill, &mut name).unwrap() {
                    found.push(String::from_utf8(name.clone()).unwrap());
                    if found.len() % park == 0 {
                        run.park();
                    }
                }
            }
            prop_assert_eq!(found, expected);
            spill.truncate(before);
            prop_assert_eq!(spill.end(), before);
            prop_assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        }
    }
}
