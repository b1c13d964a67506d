//! What a caller chooses about a walk.

use super::excludes::Excludes;
use super::roots::Rules;
use dedup_engine::listing::StoredPath;
use dedup_engine::snapshot::Section;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Told when the walk leaves out one of [`FilesOptions::skip`].
pub type SkipNotice = Arc<dyn Fn(&StoredPath) + Send + Sync>;

/// Told when the walk meets what belongs to another section of the module: its place, and that section.
pub type ElsewhereNotice = Arc<dyn Fn(&StoredPath, Section) + Send + Sync>;

/// What to leave out of a walk, and what to keep of entries.
///
/// A root itself is never left out by [`excludes`](Self::excludes), [`exclude_caches`](Self::exclude_caches),
/// [`larger_than_bytes`](Self::larger_than_bytes) or [`one_file_system`](Self::one_file_system), not even one
/// that lies below another root: it was named. These rules are for plain roots; the declared items of a
/// [`Layout`](super::Layout) bring their own.
#[derive(Clone)]
pub struct FilesOptions {
    /// Patterns of paths to leave out.
    pub excludes: Excludes,
    /// Of a directory with a valid `CACHEDIR.TAG`, keep only the directory and that file.
    pub exclude_caches: bool,
    /// Store mount points below a root, but nothing that is mounted there.
    pub one_file_system: bool,
    /// Leave out regular files with more bytes than this.
    pub larger_than_bytes: Option<u64>,
    /// What must not be stored whatever its name, such as the repository itself and its cache. Recognised
    /// by device and inode at the start of the walk; links are followed.
    pub skip: Vec<PathBuf>,
    /// Told of each of those that was met.
    pub on_skip: Option<SkipNotice>,
    /// Told of what belongs to another section.
    pub on_elsewhere: Option<ElsewhereNotice>,
    /// The directory that stands for `/`: the root of a filesystem snapshot. Stored paths are as if it were `/`. Of a
    /// [`Layout`](super::Layout), its own base counts instead.
    pub base: PathBuf,
    /// Keep access times.
    pub keep_atime: bool,
    /// Keep times of birth, where the file system knows them.
    pub keep_btime: bool,
    /// Where names of directories with more than 16 MiB of them are sorted, in a file without a name.
    pub scratch_dir: PathBuf,
}

impl FilesOptions {
    /// Leaves out nothing.
    pub fn new(scratch_dir: PathBuf) -> Self {
        Self {
            excludes: Excludes::default(),
            exclude_caches: false,
            one_file_system: false,
            larger_than_bytes: None,
            skip: Vec::new(),
            on_skip: None,
            on_elsewhere: None,
            base: PathBuf::from("/"),
            keep_atime: false,
            keep_btime: false,
            scratch_dir,
        }
    }

    /// The rules of plain roots; their patterns are anchored at `/`.
    pub(super) fn rules(&self) -> Rules {
        Rules {
            excludes: self.excludes.clone(),
            exclude_caches: self.exclude_caches,
            one_file_system: self.one_file_system,
            larger_than_bytes: self.larger_than_bytes,
            follow_links: false,
            skip_special: false,
        }
    }
}

impl fmt::Debug for FilesOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesOptions")
            .field("excludes", &self.excludes)
            .field("exclude_caches", &self.exclude_caches)
            .field("one_file_system", &self.one_file_system)
            .field("larger_than_bytes", &self.larger_than_bytes)
            .field("skip", &self.skip)
            .field("base", &self.base)
            .field("keep_atime", &self.keep_atime)
            .field("keep_btime", &self.keep_btime)
            .field("scratch_dir", &self.scratch_dir)
            .finish_non_exhaustive()
    }
}
