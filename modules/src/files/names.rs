//! The names in one directory, in byte order, without duplicates, in bounded memory.
//!
//! Names are gathered in memory up to [`MAX_GATHERED_BYTES`]; a larger directory goes through an external
//! sort in the walk's [`Spill`]. All directories between the root and the current one together keep at
//! most [`MAX_HELD_BYTES`] of names in memory; beyond that their rest lies in the spill as well.

use super::spill::{Run, Spill};
use rustix::fd::AsFd;
use rustix::fs::RawDir;
use std::io;
use std::mem::MaybeUninit;

/// Names of one directory that are sorted in memory: 16 MiB, their index included.
pub(super) const MAX_GATHERED_BYTES: usize = 16 << 20;
/// Names of all directories on the way down that stay in memory.
pub(super) const MAX_HELD_BYTES: usize = 32 << 20;
/// How much is asked of the system at once.
const LIST_BYTES: usize = 128 << 10;

/// Names in order, handed out one by one.
#[derive(Debug)]
pub(super) struct Names {
    place: Place,
    last: Vec<u8>,
}

#[derive(Debug)]
enum Place {
    Memory { gathered: Gathered, next: usize },
    Spilled { run: Run, start: u64 },
}

/// Names in memory: their bytes, and for each `offset << 8 | length` into them.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    spans: Vec<u32>,
}

/// Reads directories; owns what is reused from one to the next.
#[derive(Debug)]
pub(super) struct Lister {
    spill: Spill,
    limit_bytes: usize,
    held_bytes: usize,
    buffer: Vec<u8>,
    spare: Gathered,
}

/// What listing a directory gave.
#[derive(Debug)]
pub(super) struct Listed {
    /// The names that can be stored.
    pub(super) names: Names,
    /// Number of names, before those that stand twice are left out.
    pub(super) count: u64,
    /// There is a `CACHEDIR.TAG`.
    pub(super) tagged: bool,
    /// How many names are too long to be stored, and one of them.
    pub(super) too_long: Option<(u64, Vec<u8>)>,
    /// Why the names may be incomplete.
    pub(super) error: Option<io::Error>,
}

/// Name of the file that marks a cache directory.
pub(super) const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";

impl Lister {
    /// Starts with nothing in hand; directories above `limit_bytes` of names go to `spill`.
    pub(super) fn new(spill: Spill, limit_bytes: usize) -> Self {
        let limit_bytes = limit_bytes.min(MAX_GATHERED_BYTES);
        let buffer = Vec::with_capacity(LIST_BYTES);
        Self { spill, limit_bytes, held_bytes: 0, buffer, spare: Gathered::default() }
    }

    /// Lists a directory and adds the names of `also`. Names longer than `max_name` bytes are only counted.
    pub(super) fn list<'a>(
        &mut self,
        directory: impl AsFd,
        max_name: usize,
        also: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<Listed> {
        let start = self.spill.end();
        let gathered = std::mem::take(&mut self.spare);
        let mut gather = Gather { gathered, runs: Vec::new(), start, limit_bytes: self.limit_bytes };
        let (mut count, mut tagged, mut too_long, mut error) = (0, false, None, None);
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut entries = RawDir::new(directory, spare_of(&mut buffer));
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => {
                    error = Some(errno.into());
                    break;
                }
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            count += 1;
            if name.is_empty() || name.len() > max_name {
                too_long.get_or_insert_with(|| (0, name.to_vec())).0 += 1;
                continue;
            }
            tagged |= name == CACHE_TAG;
            if let Err(failed) = gather.push(&mut self.spill, name) {
                error = Some(failed);
                break;
            }
        }
        self.buffer = buffer;
        for name in also {
            if let Err(failed) = gather.push(&mut self.spill, name) {
                error = Some(failed);
            }
        }
        let room_bytes = MAX_HELD_BYTES.saturating_sub(self.held_bytes);
        let names = gather.finish(&mut self.spill, room_bytes).inspect_err(|_| self.spill.truncate(start))?;
        self.held_bytes += names.held_bytes();
        Ok(Listed { names, count, tagged, too_long, error })
    }

    /// Takes names that are few and known already.
    pub(super) fn known<'a>(&mut self, names: impl Iterator<Item = &'a [u8]>) -> io::Result<Names> {
        let start = self.spill.end();
        let gathered = Gathered::default();
        let mut gather = Gather { gathered, runs: Vec::new(), start, limit_bytes: self.limit_bytes };
        for name in names {
            gather.push(&mut self.spill, name)?;
        }
        let names = gather.finish(&mut self.spill, MAX_HELD_BYTES)?;
        self.held_bytes += names.held_bytes();
        Ok(names)
    }

    /// Puts the next name into `name`, or returns `false`.
    pub(super) fn next(&self, names: &mut Names, name: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            match &mut names.place {
                Place::Memory { gathered, next } => {
                    let Some(span) = gathered.spans.get(*next) else { return Ok(false) };
                    *next += 1;
                    name.clear();
                    name.extend_from_slice(gathered.name(*span));
                }
                Place::Spilled { run, .. } => {
                    if !run.next(&self.spill, name)? {
                        return Ok(false);
                    }
                }
            }
            // A directory that changes while it is listed may show a name twice.
            if *name != names.last {
                names.last.clone_from(name);
                return Ok(true);
            }
        }
    }

    /// Frees what the rest of `names` need not hold while the walk is below one of them.
    pub(super) fn park(names: &mut Names) {
        if let Place::Spilled { run, .. } = &mut names.place {
            run.park();
        }
    }

    /// Takes back what `names` held. Names are given back in the reverse order of their listing.
    pub(super) fn done(&mut self, names: Names) {
        self.held_bytes -= names.held_bytes();
        match names.place {
            Place::Memory { mut gathered, .. } => {
                if gathered.bytes.capacity() <= 1 << 20 {
                    gathered.clear();
                    self.spare = gathered;
                }
            }
            Place::Spilled { start, .. } => self.spill.truncate(start),
        }
    }
}

/// The part of the buffer that nothing is in: all of it.
fn spare_of(buffer: &mut Vec<u8>) -> &mut [MaybeUninit<u8>] {
    buffer.clear();
    buffer.spare_capacity_mut()
}

struct Gather {
    gathered: Gathered,
    runs: Vec<Run>,
    start: u64,
    limit_bytes: usize,
}

impl Gather {
    fn push(&mut self, spill: &mut Spill, name: &[u8]) -> io::Result<()> {
        if self.gathered.size_bytes() + name.len() + size_of::<u32>() > self.limit_bytes {
            self.flush(spill)?;
        }
        self.gathered.push(name)
    }

    fn flush(&mut self, spill: &mut Spill) -> io::Result<()> {
        self.gathered.sort();
        self.runs.push(spill.write(self.gathered.names())?);
        self.gathered.clear();
        Ok(())
    }

    fn finish(mut self, spill: &mut Spill, room_bytes: usize) -> io::Result<Names> {
        if self.runs.is_empty() && self.gathered.size_bytes() <= room_bytes {
            self.gathered.sort();
            return Ok(Names { place: Place::Memory { gathered: self.gathered, next: 0 }, last: Vec::new() });
        }
        self.flush(spill)?;
        drop(self.gathered);
        let run = spill.merge(self.runs)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Names { place: Place::Spilled { run, start: self.start }, last: Vec::new() })
    }
}

impl Gathered {
    fn push(&mut self, name: &[u8]) -> io::Result<()> {
        let offset = u32::try_from(self.bytes.len()).ok().filter(|offset| *offset < 1 << 24);
        let len = u8::try_from(name.len()).ok();
        let (Some(offset), Some(len)) = (offset, len) else {
            return Err(io::Error::other("names too long to be gathered"));
        };
        self.spans.push(offset << 8 | u32::from(len));
        self.bytes.extend_from_slice(name);
        Ok(())
    }

    fn name(&self, span: u32) -> &[u8] {
        let start = (span >> 8) as usize;
        &self.bytes[start..start + (span & 255) as usize]
    }

    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.spans.iter().map(|span| self.name(*span))
    }

    fn sort(&mut self) {
        let mut spans = std::mem::take(&mut self.spans);
        spans.sort_unstable_by(|a, b| self.name(*a).cmp(self.name(*b)));
        self.spans = spans;
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    fn size_bytes(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<u32>()
    }
}

impl Names {
    fn held_bytes(&self) -> usize {
        match &self.place {
            Place::Memory { gathered, .. } => gathered.size_bytes(),
            Place::Spilled { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(lister: &Lister, names: &mut Names) -> Vec<Vec<u8>> {
        let (mut found, mut name) = (Vec::new(), Vec::new());
        while lister.next(names, &mut name).unwrap() {
            found.push(name.clone());
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn names_come_sorted_and_once_in_memory_and_spilled(
            names in proptest::collection::vec(proptest::collection::vec(1u8..255, 1..6), 0..80),
            limit_bytes in 300usize..900,
        ) {
            let scratch = tempfile::tempdir().unwrap();
            let mut lister = Lister::new(Spill::new(scratch.path()), limit_bytes);
            let mut gathered = lister.known(names.iter().map(|name| &name[..])).unwrap();
            let mut expected = names.clone();
            expected.sort();
            expected.dedup();
            prop_assert_eq!(all(&lister, &mut gathered), expected);
            lister.done(gathered);
            prop_assert_eq!((lister.held_bytes, lister.spill.end()), (0, 0));
        }
    }

    #[test]
    fn a_listing_counts_what_is_too_long_and_sees_the_tag() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["CACHEDIR.TAG", "b", "a", &"long".repeat(10)] {
            std::fs::write(scratch.path().join(name), "").unwrap();
        }
        let mut lister = Lister::new(Spill::new(scratch.path()), MAX_GATHERED_BYTES);
        let directory = std::fs::File::open(scratch.path()).unwrap();
        let mut listed = lister.list(&directory, 12, [&b"aa"[..], b"b"].into_iter()).unwrap();
        assert!(listed.tagged && listed.error.is_none());
        assert_eq!(listed.count, 4);
        assert_eq!(listed.too_long, Some((1, b"long".repeat(10))));
        assert_eq!(all(&lister, &mut listed.names), [&b"CACHEDIR.TAG"[..], b"a", b"aa", b"b"]);
    }
}
