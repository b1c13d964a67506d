//! A sink in memory.

use super::super::sink::{Item, Prepared, SinkError};
use super::*;
use std::io;

/// Whether a call for a path fails, and how.
pub(in super::super) type Trouble = Box<dyn Fn(&str, &str) -> Option<io::ErrorKind> + Send + Sync>;

/// Files by their paths with slashes.
pub(in super::super) type Files = BTreeMap<String, Vec<u8>>;

pub(in super::super) struct Shelf {
    /// Files that are there before; of one of the right size the content is compared.
    pub before: Files,
    /// Whether it knows where old files have nothing but zeros.
    pub knows_zeros: bool,
    /// Whether it makes links.
    pub links: bool,
    /// Whether keeping a file changes anything.
    pub keeping_changes: bool,
    pub trouble: Trouble,
    pub seen: Seen,
}

/// What was asked for, and what came of it.
#[derive(Default)]
pub(in super::super) struct Seen {
    calls: Mutex<Vec<String>>,
    files: Mutex<Files>,
    attributes: Mutex<BTreeMap<String, Vec<usize>>>,
    /// Files that are open now, and the most there were.
    open: Mutex<(usize, usize)>,
}

/// A file that is being written.
pub(in super::super) struct New(Mutex<Vec<u8>>);

/// A file that was there.
pub(in super::super) struct Old {
    bytes: Vec<u8>,
    reads: Mutex<u64>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            before: Files::new(),
            knows_zeros: false,
            links: true,
            keeping_changes: false,
            trouble: Box::new(|_, _| None),
            seen: Seen::default(),
        }
    }
}

fn slashes(path: &StoredPath) -> String {
    String::from_utf8(path.to_slashes()).unwrap()
}

impl Shelf {
    /// One on which this file is there before.
    pub fn with(at: &str, bytes: &[u8]) -> Self {
        Self { before: [(at.to_owned(), bytes.to_vec())].into(), ..Self::default() }
    }

    /// One on which a call for a path fails.
    pub fn failing(call: &'static str, at: &'static str, kind: io::ErrorKind) -> Self {
        let trouble = move |this: &str, path: &str| (this == call && path == at).then_some(kind);
        Self { trouble: Box::new(trouble), ..Self::default() }
    }

    /// Returns what was asked for, in order: a word and a path.
    pub fn calls(&self) -> Vec<String> {
        self.seen.calls.lock().unwrap().clone()
    }

    /// Returns the paths that one kind of call was for.
    pub fn calls_of(&self, word: &str) -> Vec<String> {
        let calls = self.calls();
        calls.iter().filter_map(|call| Some(call.strip_prefix(word)?.strip_prefix(' ')?.to_owned())).collect()
    }

    /// Returns what came under a final name.
    pub fn files(&self) -> Files {
        self.seen.files.lock().unwrap().clone()
    }

    /// Returns the lengths of the attributes that entries had, where there are any.
    pub fn attributes(&self) -> BTreeMap<String, Vec<usize>> {
        self.seen.attributes.lock().unwrap().clone()
    }

    /// Returns how many files were open at once.
    pub fn most_open(&self) -> usize {
        let (now, most) = *self.seen.open.lock().unwrap();
        assert_eq!(now, 0, "each file is finished or abandoned");
        most
    }

    fn asked(&self, call: &'static str, path: &StoredPath) -> io::Result<()> {
        let path = slashes(path);
        self.seen.calls.lock().unwrap().push(format!("{call} {path}"));
        (self.trouble)(call, &path).map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn tried(&self, call: &'static str, entry: &Item<'_>) -> Result<(), SinkError> {
        if ["prepare", "leave"].contains(&call) && !entry.xattrs.is_empty() {
            let lens = entry.xattrs.iter().map(|(_, value)| value.len()).collect();
            self.seen.attributes.lock().unwrap().insert(slashes(entry.path), lens);
        }
        self.asked(call, entry.path).map_err(|source| SinkError::Io { call, source })
    }
}

impl Sink for Shelf {
    type File = (New, StoredPath);
    type Existing = Old;

    fn prepare(&self, entry: &Item<'_>) -> Result<Prepared<Old>, SinkError> {
        self.tried("prepare", entry)?;
        let there = self.before.get(&slashes(entry.path));
        Ok(match &entry.node.body {
            Body::File { size, .. } => match there.filter(|bytes| bytes.len() as u64 == *size) {
                Some(bytes) => Prepared::Compare(Old { bytes: bytes.clone(), reads: Mutex::default() }),
                None => Prepared::Write,
            },
            Body::Directory => Prepared::Directory,
            _ => Prepared::Done { changed: there.is_none() },
        })
    }

    /// Reads at most 5,000 bytes at once, and is interrupted before every other read.
    fn read_existing(&self, file: &Old, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut reads = file.reads.lock().unwrap();
        *reads += 1;
        if *reads % 2 == 1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if let Some(kind) = (self.trouble)("read", "") {
            return Err(kind.into());
        }
        let there = file.bytes.get(offset as usize..).unwrap_or_default();
        let len = there.len().min(buffer.len()).min(5000);
        buffer[..len].copy_from_slice(&there[..len]);
        Ok(len)
    }

    fn next_data(&self, file: &Old, offset: u64) -> Option<u64> {
        if !self.knows_zeros {
            return Some(offset);
        }
        let after = file.bytes.get(offset as usize..)?.iter().position(|byte| *byte != 0)?;
        Some(offset + after as u64)
    }

    fn keep(&self, _: Old, entry: &Item<'_>) -> Result<bool, SinkError> {
        self.tried("keep", entry).map(|()| self.keeping_changes)
    }

    fn create(&self, entry: &Item<'_>, size: u64) -> Result<Self::File, SinkError> {
        self.tried("create", entry)?;
        let mut open = self.seen.open.lock().unwrap();
        *open = (open.0 + 1, open.1.max(open.0 + 1));
        Ok((New(Mutex::new(vec![0; size as usize])), entry.path.clone()))
    }

    fn write_at(&self, (file, path): &Self::File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(kind) = (self.trouble)("write", &slashes(path)) {
            return Err(kind.into());
        }
        let at = offset as usize;
        file.0.lock().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn finish(&self, (file, path): Self::File, entry: &Item<'_>) -> Result<(), SinkError> {
        assert_eq!(path, *entry.path);
        self.seen.open.lock().unwrap().0 -= 1;
        self.tried("finish", entry)?;
        let twice = self.seen.files.lock().unwrap().insert(slashes(&path), file.0.into_inner().unwrap());
        assert!(twice.is_none(), "{path:?} is finished twice");
        Ok(())
    }

    fn abandon(&self, (_, path): Self::File, entry: &Item<'_>) {
        assert_eq!(path, *entry.path);
        self.seen.open.lock().unwrap().0 -= 1;
        self.asked("abandon", entry.path).unwrap();
    }

    fn link(&self, first: &StoredPath, entry: &Item<'_>) -> Result<bool, SinkError> {
        self.tried("link", entry)?;
        let mut files = self.seen.files.lock().unwrap();
        let there = files.get(&slashes(first)).cloned();
        if let Some(bytes) = there.clone().filter(|_| self.links) {
            files.insert(slashes(entry.path), bytes);
        }
        Ok(self.links && (there.is_some() || self.before.contains_key(&slashes(first))))
    }

    fn finish_directory(&self, entry: &Item<'_>) -> Result<(), SinkError> {
        self.tried("leave", entry)
    }
}
