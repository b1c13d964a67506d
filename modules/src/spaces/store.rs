//! The directory of the store: names, locks, and the order in which things are written.
//!
//! An object is written and synced under a temporary name, then gets its own, then the directory is synced; only then
//! does the index name it, which is written beside, synced, renamed and its directory synced. So whatever an index
//! names is there, whenever the machine stops; what no index names is rubbish that the next [`Store::clean`] removes.

use super::SpaceError;
use super::index::{Index, SpaceObject};
use super::seal::{SealReader, SealWriter};
use crate::planted::{Bug, planted};
use dedup_engine::crypto::{Secret, random};
use dedup_engine::error::Corrupt;
use dedup_engine::id::to_hex;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// Longest index: what 65,536 objects with long paths need.
const MAX_INDEX: u64 = 256 << 20;

/// The calls that change the store: behind a trait, so that a test can stop the world at any of them.
pub(super) trait Disk: Debug + Send + Sync {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    }
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

#[derive(Debug)]
struct Real;
impl Disk for Real {}

/// The store.
#[derive(Clone)]
pub(super) struct Store {
    dir: PathBuf,
    key: Secret,
    names: Secret,
    disk: Arc<dyn Disk>,
}

impl Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A value that is read.
pub struct SpaceReader(SealReader<BufReader<File>>);

impl Read for SpaceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> SpaceError + 'a {
    move |source| SpaceError::Io { doing, path: path.to_owned(), source }
}

impl Store {
    pub(super) fn open(dir: &Path) -> Result<Self, SpaceError> {
        Self::open_on(dir, Arc::new(Real))
    }

    pub(super) fn open_on(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, SpaceError> {
        if let Some(parent) = dir.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed("create", parent))?;
        }
        match disk.make_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result.map_err(failed("create", dir))?,
        }
        let stat = fs::symlink_metadata(dir).map_err(failed("examine", dir))?;
        if !stat.is_dir() || stat.uid() != rustix::process::geteuid().as_raw() || stat.mode() & 0o077 != 0 {
            let wrong =
                "the store of spaces must be a directory of your own that nobody else may enter (mode 0700)";
            return Err(SpaceError::BadPath { path: dir.to_owned(), wrong: wrong.into() });
        }
        let key = read_key(dir, &*disk)?;
        let names =
            Zeroizing::new(blake3::derive_key("dedup 2026-11-21 spaces 1 names of objects", &key[..]));
        Ok(Self { dir: dir.to_owned(), key, names, disk })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn home(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// Holds a space against changes; readers share it.
    fn lock(&self, id: &str, is_alone: bool) -> Result<File, SpaceError> {
        let path = self.home(id).join("lock");
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SpaceError::NoSpace(id.to_owned()));
            }
            result => result.map_err(failed("open", &path))?,
        };
        let locked = if is_alone { file.lock() } else { file.lock_shared() };
        locked.map_err(failed("lock", &path))?;
        Ok(file)
    }

    /// Makes a space, or makes it persistent, or leaves it as it is.
    pub(super) fn make(&self, id: &str, persistent: bool) -> Result<(), SpaceError> {
        let home = self.home(id);
        match self.disk.make_dir(&home) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result.map_err(failed("create", &home))?,
        }
        let path = home.join("lock");
        match self.disk.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => drop(result.map_err(failed("create", &path))?),
        }
        let _lock = self.lock(id, true)?;
        match self.load(id) {
            Err(SpaceError::NoSpace(_)) => {
                self.save(id, &Index::new(id, persistent))?;
                self.disk.sync_dir(&self.dir).map_err(failed("write to disk", &self.dir))?;
            }
            Ok(mut index) if persistent && !index.persistent => {
                index.persistent = true;
                self.save(id, &index)?;
            }
            result => drop(result?),
        }
        self.sweep(id)
    }

    pub(super) fn read(&self, id: &str) -> Result<Index, SpaceError> {
        let _lock = self.lock(id, false)?;
        self.load(id)
    }

    /// Changes the index, or leaves it as it is if `change` fails.
    pub(super) fn change<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Index) -> Result<T, SpaceError>,
    ) -> Result<T, SpaceError> {
        let _lock = self.lock(id, true)?;
        let mut index = self.load(id)?;
        let done = change(&mut index)?;
        self.save(id, &index)?;
        Ok(done)
    }

    /// Writes an object, then names it in the index. Several may be written at once.
    pub(super) fn put(
        &self,
        id: &str,
        mut object: SpaceObject,
        write: impl FnOnce(&mut SpaceObject, &mut dyn Write) -> Result<(), SpaceError>,
    ) -> Result<(), SpaceError> {
        let home = self.home(id);
        let path = home.join(self.new_name()?);
        let file = {
            // Under the lock, so that nobody takes it for rubbish before it is held.
            let _lock = self.lock(id, false)?;
            let file = self.disk.create(&path).map_err(failed("create", &path))?;
            file.lock().map_err(failed("lock", &path))?;
            file
        };
        let written = self.write_object(id, &path, &file, &mut object, write);
        if written.is_err() {
            // What failed first is what is told; the next one sweeps.
            let _ = self.disk.remove(&path);
        }
        written
    }

    fn write_object(
        &self,
        id: &str,
        path: &Path,
        file: &File,
        object: &mut SpaceObject,
        write: impl FnOnce(&mut SpaceObject, &mut dyn Write) -> Result<(), SpaceError>,
    ) -> Result<(), SpaceError> {
        let home = self.home(id);
        let mut sealed = SealWriter::new(&self.key, &self.names, file).map_err(failed("write", path))?;
        write(object, &mut sealed)?;
        let (_, hash, bytes) = sealed.finish().map_err(failed("write", path))?;
        self.disk.sync(file).map_err(failed("write to disk", path))?;
        object.address = hash.to_hex().to_string();
        object.bytes = bytes;
        let _lock = self.lock(id, !planted(Bug::SpacesWithoutLock))?;
        let mut index = self.load(id)?;
        index.check_free(object)?;
        if planted(Bug::IndexBeforeObject) {
            index.objects.push(object.clone());
            self.save(id, &index)?;
            return self.disk.rename(path, &home.join(&object.address)).map_err(failed("name", path));
        }
        // Equal content has an equal name, so what has it already may be replaced.
        self.disk.rename(path, &home.join(&object.address)).map_err(failed("name", path))?;
        self.disk.sync_dir(&home).map_err(failed("write to disk", &home))?;
        index.objects.push(object.clone());
        self.save(id, &index)
    }

    /// Opens an object.
    pub(super) fn reader(&self, id: &str, object: &SpaceObject) -> Result<SpaceReader, SpaceError> {
        let path = self.home(id).join(&object.address);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Corrupt::new(path.display().to_string(), "the object is missing").into());
            }
            result => result.map_err(failed("open", &path))?,
        };
        let reader = BufReader::with_capacity(128 << 10, file);
        Ok(SpaceReader(SealReader::new(&self.key, reader).map_err(|error| self.unreadable(id, error))?))
    }

    /// Sorts an error of reading an object or index.
    pub(super) fn unreadable(&self, id: &str, error: io::Error) -> SpaceError {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Corrupt::new(format!("space {id}"), error.to_string()).into()
            }
            _ => SpaceError::Io { doing: "read", path: self.home(id), source: error },
        }
    }

    fn load(&self, id: &str) -> Result<Index, SpaceError> {
        let path = self.home(id).join("index");
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SpaceError::NoSpace(id.to_owned()));
            }
            result => result.map_err(failed("open", &path))?,
        };
        let wrong = |wrong: &str| SpaceError::from(Corrupt::new(path.display().to_string(), wrong));
        let sealed =
            SealReader::new(&self.key, BufReader::new(file)).map_err(|error| self.unreadable(id, error))?;
        let mut text = Vec::new();
        sealed.take(MAX_INDEX).read_to_end(&mut text).map_err(|error| self.unreadable(id, error))?;
        let index: Index = serde_json::from_slice(&text).map_err(|error| wrong(&error.to_string()))?;
        if index.version != 1 || index.id != id {
            return Err(wrong("it is another space's, or of a later version"));
        }
        let is_name =
            |address: &str| address.len() == 64 && address.bytes().all(|byte| byte.is_ascii_hexdigit());
        match index.objects.iter().all(|object| is_name(&object.address)) {
            true => Ok(index),
            false => Err(wrong("an object lies where none can")),
        }
    }

    fn save(&self, id: &str, index: &Index) -> Result<(), SpaceError> {
        let home = self.home(id);
        let (path, beside) = (home.join("index"), home.join(self.new_name()?));
        let text =
            serde_json::to_vec(index).map_err(|error| failed("write", &path)(io::Error::other(error)))?;
        let write = || {
            let file = self.disk.create(&beside)?;
            file.lock()?;
            let mut sealed = SealWriter::new(&self.key, &self.names, &file)?;
            sealed.write_all(&text)?;
            sealed.finish()?;
            self.disk.sync(&file)?;
            self.disk.rename(&beside, &path)?;
            self.disk.sync_dir(&home)
        };
        write().map_err(|error| {
            let _ = self.disk.remove(&beside);
            failed("write", &path)(error)
        })
    }

    fn new_name(&self) -> Result<String, SpaceError> {
        let number =
            random::<8>().map_err(|error| failed("find a name in", &self.dir)(io::Error::other(error)))?;
        Ok(format!("{}.new", to_hex(&number)))
    }

    /// Removes what nobody writes and no index names.
    pub(super) fn clean(&self, id: &str) -> Result<(), SpaceError> {
        let _lock = self.lock(id, true)?;
        self.sweep(id)
    }

    fn sweep(&self, id: &str) -> Result<(), SpaceError> {
        let home = self.home(id);
        let index = self.load(id)?;
        for entry in fs::read_dir(&home).map_err(failed("list", &home))? {
            let path = entry.map_err(failed("list", &home))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_rubbish = match name {
                "lock" | "index" => false,
                name if name.ends_with(".new") => File::open(&path).is_ok_and(|file| file.try_lock().is_ok()),
                name => index.objects.iter().all(|object| object.address != name),
            };
            if is_rubbish {
                self.disk.remove(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Removes a space: first it is none any more, then its room is given back.
    pub(super) fn remove(&self, id: &str) -> Result<(), SpaceError> {
        let home = self.home(id);
        {
            let _lock = self.lock(id, true)?;
            let index = home.join("index");
            self.disk.remove(&index).map_err(failed("remove", &index))?;
            self.disk.sync_dir(&home).map_err(failed("write to disk", &home))?;
        }
        self.disk.remove_tree(&home).map_err(failed("remove", &home))
    }

    /// Lists the ids of spaces; a directory without an index is none.
    pub(super) fn ids(&self) -> Result<Vec<String>, SpaceError> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed("list", &self.dir))? {
            let path = entry.map_err(failed("list", &self.dir))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if path.join("index").exists() {
                ids.extend(name.map(ToOwned::to_owned));
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Returns when the index was last written.
    pub(super) fn changed(&self, id: &str) -> Option<SystemTime> {
        fs::metadata(self.home(id).join("index")).ok()?.modified().ok()
    }
}

/// Reads the key, which is made if there is none: written beside and given its name only if that is free, so that of
/// two who begin at once both use the same.
fn read_key(dir: &Path, disk: &dyn Disk) -> Result<Secret, SpaceError> {
    let path = dir.join("key");
    if !path.exists() {
        let key = random::<32>().map_err(|error| failed("make", &path)(io::Error::other(error)))?;
        let name = random::<8>().map_err(|error| failed("make", &path)(io::Error::other(error)))?;
        let beside = dir.join(format!("{}.key", to_hex(&name)));
        let key = Zeroizing::new(key);
        let make = || {
            let mut file = disk.create(&beside)?;
            file.write_all(&key[..])?;
            file.write_all(blake3::hash(&key[..]).as_bytes())?;
            disk.sync(&file)?;
            match fs::hard_link(&beside, &path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => disk.remove(&beside)?,
            }
            disk.sync_dir(dir)
        };
        make().map_err(|error| {
            let _ = disk.remove(&beside);
            failed("make", &path)(error)
        })?;
    }
    let bytes = Zeroizing::new(fs::read(&path).map_err(failed("read", &path))?);
    let mut key = Zeroizing::new([0; 32]);
    match bytes.split_at_checked(32) {
        Some((secret, sum)) if blake3::hash(secret).as_bytes()[..] == *sum => key.copy_from_slice(secret),
        _ => {
            let wrong = "it is no key; what is in the spaces cannot be read without it";
            return Err(Corrupt::new(path.display().to_string(), wrong).into());
        }
    }
    Ok(key)
}
