//! Somebody who edits a tree while it is backed up, and writes down every state that each path ever had.

use crate::support::random::Random;
use crate::support::trees::set_mtime;
use rustix::fs::{CWD, FallocateFlags, FileType, Mode, RenameFlags, fallocate, mknodat, renameat_with};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What a path was at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Absent,
    File {
        content: u64,
        len: u64,
        /// Mode, time and attribute; left out where a writer works at the same time.
        metadata: Option<(u32, i64, i64, Vec<u8>)>,
    },
    Directory,
    Link(PathBuf),
    Other,
}

/// Files of the tree, by their size in bytes; every third in a directory.
const SIZES: [usize; 14] =
    [0, 1, 100, 3000, 4096, 5000, 20_000, 40_000, 70_000, 100_000, 150_000, 200_000, 300_000, 12_288];

/// The editor, the tree and its history.
pub struct Editor {
    pub root: PathBuf,
    random: Random,
    history: BTreeMap<PathBuf, Vec<State>>,
    /// Paths that were edited since the last [`Editor::forget`].
    edited: BTreeSet<PathBuf>,
    /// Paths whose file went to another path, where it was edited as well while it was open under the first.
    exchanged: BTreeSet<PathBuf>,
    pub edits: u64,
    version: u64,
    /// Whether states hold metadata.
    exact: bool,
}

/// Ways to change what is at a path.
const EDITS: u64 = 18;

impl Editor {
    /// Builds a tree in an empty directory.
    pub fn new(root: &Path, seed: u64, exact: bool) -> Self {
        let (history, edited, exchanged) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let random = Random::new(seed);
        let mut editor =
            Self { root: root.to_owned(), random, history, edited, exchanged, edits: 0, version: 0, exact };
        for name in ["d0", "d1", "d2"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        editor.mend();
        editor
    }

    /// Returns the paths of the files.
    pub fn paths() -> Vec<PathBuf> {
        let path = |number: usize| match number % 3 {
            0 => PathBuf::from(format!("f{number:02}")),
            _ => PathBuf::from(format!("d{}/f{number:02}", number % 4 % 3)),
        };
        (0..SIZES.len()).map(path).collect()
    }

    /// Makes a file again of everything that is none any more.
    pub fn mend(&mut self) {
        for (number, path) in Self::paths().into_iter().enumerate() {
            let at = self.root.join(&path);
            if !fs::symlink_metadata(&at).is_ok_and(|metadata| metadata.is_file()) {
                remove(&at);
                let bytes = self.content(SIZES[number]);
                fs::write(&at, bytes).unwrap();
                set_mtime(&at, 1_500_000_000 + number as i64, 5);
            }
        }
        self.forget();
    }

    /// Begins a new history with what is there now.
    pub fn forget(&mut self) {
        self.history.clear();
        for path in Self::paths() {
            self.note(&path);
        }
        self.edited.clear();
        self.exchanged.clear();
    }

    /// Returns bytes that no version before had.
    fn content(&mut self, len: usize) -> Vec<u8> {
        self.version += 1;
        let tag = self.version.to_le_bytes();
        let mut bytes = Random::new(self.version).text(len);
        bytes.chunks_mut(64).for_each(|block| {
            let len = block.len().min(8);
            block[..len].copy_from_slice(&tag[..len]);
        });
        bytes
    }

    /// Returns what one write writes. Beside a reader at the same time it is so little that it is there or not:
    /// the system sets a file's times before it copies, so nobody could tell of a write that is half done.
    fn piece(&mut self, most: u64) -> Vec<u8> {
        let len = if self.exact { self.random.below(most) + 1 } else { 64 };
        self.content(len as usize)
    }

    fn note(&mut self, path: &Path) {
        let state = state_of(&self.root.join(path), self.exact);
        let states = self.history.entry(path.to_owned()).or_default();
        if states.last() != Some(&state) {
            states.push(state);
        }
        self.edited.insert(path.to_owned());
    }

    /// Does something to `path`, or to any file if there is none.
    pub fn edit(&mut self, path: Option<&Path>) {
        let paths = Self::paths();
        let any = paths[self.random.below(paths.len() as u64) as usize].clone();
        let path = path.filter(|path| paths.iter().any(|known| known == path)).map_or(any, Path::to_owned);
        self.edits += 1;
        let kind = self.random.below(EDITS);
        self.edit_as(&path, kind);
    }

    fn edit_as(&mut self, path: &Path, kind: u64) {
        let at = self.root.join(path);
        let Ok(metadata) = fs::symlink_metadata(&at) else { return self.replace(path, &at) };
        if !metadata.is_file() {
            remove(&at);
            self.note(path);
            return self.replace(path, &at);
        }
        let file = || File::options().read(true).write(true).open(&at).unwrap();
        let len = metadata.len();
        match kind {
            0 => {
                let bytes = self.piece(9000);
                file().write_all_at(&bytes, len).unwrap();
            }
            1 => file().set_len(self.random.below(len + 1)).unwrap(),
            2 => file().set_len(len + self.random.below(1 << 20)).unwrap(),
            3 | 4 => {
                let bytes = self.piece(4000);
                file().write_all_at(&bytes, self.random.below(len + 1) / 64 * 64).unwrap();
            }
            5 | 6 => self.replace(path, &at),
            7 => fs::remove_file(&at).unwrap(),
            8 => {
                fs::remove_file(&at).unwrap();
                self.note(path);
                fs::create_dir(&at).unwrap();
                fs::write(at.join("inside"), b"x").unwrap();
            }
            9 => {
                fs::remove_file(&at).unwrap();
                self.note(path);
                symlink("/etc/passwd", &at).unwrap();
            }
            10 => {
                fs::remove_file(&at).unwrap();
                self.note(path);
                mknodat(CWD, &at, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
            }
            // The same length and the same times as before: only the time of change tells.
            11 | 12 => {
                let bytes = self.piece(len.max(1));
                file().write_all_at(&bytes[..bytes.len().min(len as usize)], 0).unwrap();
                self.note(path);
                set_mtime(&at, metadata.mtime(), metadata.mtime_nsec());
            }
            // The same by another inode, which may get the number of the old one.
            13 => {
                let bytes = self.content(len as usize);
                fs::remove_file(&at).unwrap();
                self.note(path);
                // Whole at once, as far as anybody can see.
                self.write_new(&at, &bytes, Some((metadata.mtime(), metadata.mtime_nsec())));
            }
            14 => {
                let other = Self::paths()[self.random.below(SIZES.len() as u64) as usize].clone();
                let (_, to) = (self.note(&other), self.root.join(&other));
                if fs::symlink_metadata(&to).is_ok() && to != at {
                    renameat_with(CWD, &at, CWD, &to, RenameFlags::EXCHANGE).unwrap();
                    self.note(&other);
                    self.exchanged.extend([other, path.to_owned()]);
                }
            }
            15 => {
                fs::set_permissions(&at, fs::Permissions::from_mode(0o600 + self.random.below(64) as u32))
                    .unwrap();
            }
            16 => {
                let value = self.version.to_le_bytes();
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::lsetxattr(&at, "user.version", &value, flags).unwrap();
            }
            _ => {
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                // Where the file system has no holes to punch, nothing happens.
                let _ = fallocate(file(), hole, self.random.below(len + 1), 8192);
            }
        }
        self.note(path);
    }

    /// Puts a new file there by renaming, as careful programs do.
    fn replace(&mut self, path: &Path, at: &Path) {
        let len = self.random.below(60_000) as usize;
        let bytes = self.content(len);
        self.write_new(at, &bytes, None);
        self.note(path);
    }

    fn write_new(&mut self, at: &Path, bytes: &[u8], mtime: Option<(i64, i64)>) {
        let beside = self.root.with_extension("new");
        fs::write(&beside, bytes).unwrap();
        if let Some((secs, nanos)) = mtime {
            set_mtime(&beside, secs, nanos);
        }
        fs::rename(&beside, at).unwrap();
    }

    /// Returns whether a state is one that the path had.
    pub fn had(&self, path: &Path, state: &State) -> bool {
        let moved = self.exchanged.contains(path);
        self.history.iter().any(|(other, states)| (moved || other == path) && states.contains(state))
    }

    /// Returns whether anything was done to a path since the history began.
    pub fn was_edited(&self, path: &Path) -> bool {
        self.edited.contains(path)
    }

    /// Returns the states of a path, for messages.
    pub fn states(&self, path: &Path) -> &[State] {
        self.history.get(path).map_or(&[], Vec::as_slice)
    }
}

fn remove(at: &Path) {
    match fs::symlink_metadata(at) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(at).unwrap(),
        Ok(_) => fs::remove_file(at).unwrap(),
        Err(_) => {}
    }
}

/// Returns what is at a path.
pub fn state_of(at: &Path, exact: bool) -> State {
    let Ok(metadata) = fs::symlink_metadata(at) else { return State::Absent };
    if metadata.is_dir() {
        return State::Directory;
    }
    if metadata.is_symlink() {
        return State::Link(fs::read_link(at).unwrap());
    }
    if !metadata.is_file() {
        return State::Other;
    }
    let bytes = fs::read(at).unwrap();
    let mut hasher = DefaultHasher::new();
    (at.file_name().map(|_| ()), &bytes).hash(&mut hasher);
    let mut value = vec![0; 64];
    let attribute = rustix::fs::lgetxattr(at, "user.version", &mut value[..]);
    value.truncate(attribute.unwrap_or(0));
    let metadata = exact.then(|| (metadata.mode() & 0o7777, metadata.mtime(), metadata.mtime_nsec(), value));
    debug_assert!(!at.as_os_str().as_bytes().is_empty());
    State::File { content: hasher.finish(), len: bytes.len() as u64, metadata }
}
