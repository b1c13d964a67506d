//! The real walker with a hand at every moment: before and after each thing that a backup asks of its source.

use super::editor::Editor;
use crate::support::random::Random;
use crate::support::world::files;
use dedup_engine::backup::source::{Details, Found, OpenFile, Source, Stat, Stop, Visit};
use dedup_modules::files::FilesSource;
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The walker's source, edited at the moments that a seed chooses.
pub struct Edited {
    inner: FilesSource,
    root: PathBuf,
    editor: Arc<Mutex<Editor>>,
    random: Arc<Mutex<Random>>,
    /// One moment in so many is used.
    one_in: u64,
}

/// An entry and where it is.
pub struct Handle<H> {
    path: PathBuf,
    inner: H,
}

struct EditedFile {
    inner: Box<dyn OpenFile>,
    path: PathBuf,
    editor: Arc<Mutex<Editor>>,
    random: Arc<Mutex<Random>>,
    one_in: u64,
}

fn moment(editor: &Mutex<Editor>, random: &Mutex<Random>, one_in: u64, path: &Path) {
    let (now, here) = {
        let mut random = random.lock().unwrap();
        (random.below(one_in) == 0, random.below(4) > 0)
    };
    if now {
        // Mostly what is looked at; sometimes what was, or will be.
        editor.lock().unwrap().edit(here.then_some(path));
    }
}

impl Edited {
    pub fn new(root: &Path, editor: Arc<Mutex<Editor>>, seed: u64, one_in: u64) -> Self {
        let random = Arc::new(Mutex::new(Random::new(seed)));
        Self { inner: files(root), root: root.to_owned(), editor, random, one_in }
    }

    fn moment(&self, path: &Path) {
        moment(&self.editor, &self.random, self.one_in, path);
    }

    fn below(&self, slashes: &[u8]) -> PathBuf {
        let path = Path::new("/").join(OsStr::from_bytes(slashes));
        path.strip_prefix(&self.root).unwrap_or(Path::new("")).to_owned()
    }
}

impl Source for Edited {
    type Handle = Handle<<FilesSource as Source>::Handle>;

    fn walk(&self, visit: &mut Visit<'_, Self::Handle>) -> Result<(), Stop> {
        self.inner.walk(&mut |found| {
            let (path, found) = match found {
                Found::Entry { path, stat, handle } => {
                    let below = self.below(&path.to_slashes());
                    let handle = Handle { path: below.clone(), inner: handle };
                    (below, Found::Entry { path, stat, handle })
                }
                Found::Problem { path, outcome, message } => {
                    (self.below(&path.to_slashes()), Found::Problem { path, outcome, message })
                }
            };
            let result = visit(found);
            self.moment(&path);
            result
        })
    }

    fn details(&self, handle: &Self::Handle, stat: &Stat) -> io::Result<Details> {
        self.moment(&handle.path);
        let details = self.inner.details(&handle.inner, stat);
        self.moment(&handle.path);
        details
    }

    fn open(&self, handle: &Self::Handle) -> io::Result<Box<dyn OpenFile>> {
        self.moment(&handle.path);
        let inner = self.inner.open(&handle.inner)?;
        self.moment(&handle.path);
        let (editor, random) = (self.editor.clone(), self.random.clone());
        Ok(Box::new(EditedFile { inner, path: handle.path.clone(), editor, random, one_in: self.one_in }))
    }
}

impl EditedFile {
    fn moment(&self) {
        moment(&self.editor, &self.random, self.one_in, &self.path);
    }
}

impl OpenFile for EditedFile {
    fn stat(&self) -> io::Result<Stat> {
        self.moment();
        let stat = self.inner.stat();
        self.moment();
        stat
    }

    fn details(&self, stat: &Stat) -> io::Result<Option<Details>> {
        self.moment();
        self.inner.details(stat)
    }

    fn data_ranges(&self, size: u64) -> io::Result<Vec<Range<u64>>> {
        let ranges = self.inner.data_ranges(size);
        self.moment();
        ranges
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // Short reads, so that there are moments within a file.
        let len = buffer.len().min(32 << 10);
        let read = self.inner.read_at(&mut buffer[..len], offset);
        self.moment();
        read
    }
}
