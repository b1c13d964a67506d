//! A sink in memory: what a restore would write, without a file system. For tests that restore thousands
//! of times.

use dedup_engine::listing::{Body, StoredPath};
use dedup_engine::restore::sink::{Item, Prepared, Sink, SinkError};
use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

/// Everything that was restored: files by path, anything else as a word.
#[derive(Default)]
pub struct MemorySink {
    files: Mutex<BTreeMap<StoredPath, Vec<u8>>>,
}

/// A file that is being written.
pub struct NewFile(Mutex<Vec<u8>>);

impl MemorySink {
    /// Returns what came under a final name.
    pub fn into_files(self) -> BTreeMap<StoredPath, Vec<u8>> {
        self.files.into_inner().unwrap()
    }
}

impl Sink for MemorySink {
    type File = NewFile;
    type Existing = ();

    fn prepare(&self, entry: &Item<'_>) -> Result<Prepared<()>, SinkError> {
        let word = match &entry.node.body {
            Body::File { .. } => return Ok(Prepared::Write),
            Body::Directory => return Ok(Prepared::Directory),
            Body::Symlink(target) => [b"link to ", &target[..]].concat(),
            other => format!("{other:?}").into_bytes(),
        };
        self.files.lock().unwrap().insert(entry.path.clone(), word);
        Ok(Prepared::Done { changed: true })
    }

    fn read_existing(&self, (): &(), _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn keep(&self, (): (), _: &Item<'_>) -> Result<bool, SinkError> {
        Ok(false)
    }

    fn create(&self, _: &Item<'_>, size: u64) -> Result<NewFile, SinkError> {
        Ok(NewFile(Mutex::new(vec![0; usize::try_from(size).unwrap()])))
    }

    fn write_at(&self, file: &NewFile, bytes: &[u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        file.0.lock().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn finish(&self, file: NewFile, entry: &Item<'_>) -> Result<(), SinkError> {
        self.files.lock().unwrap().insert(entry.path.clone(), file.0.into_inner().unwrap());
        Ok(())
    }

    fn abandon(&self, _: NewFile, _: &Item<'_>) {}

    fn link(&self, _: &StoredPath, _: &Item<'_>) -> Result<bool, SinkError> {
        Ok(false)
    }

    fn finish_directory(&self, entry: &Item<'_>) -> Result<(), SinkError> {
        self.files.lock().unwrap().insert(entry.path.clone(), b"directory".to_vec());
        Ok(())
    }
}
