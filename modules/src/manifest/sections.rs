//! What lies in files: the three sections, what is left out of them, and which section an entry belongs to.

use super::form::{Flag, List, NAME, Parsed, Sub, Word, list, tables};
use super::paths::{EXCLUDE, ManifestPath, PathForm, PatternForm};
use super::reader::Table;
use super::words::words;
use crate::units;

words! {
    /// A section of a module.
    pub enum SectionKind {
        /// Configuration.
        Config = "config",
        /// What the module is for.
        Data = "data",
        /// Stored under a key of its own.
        Secrets = "secrets",
    }
}

words! {
    /// What an entry is.
    pub enum EntryKind {
        /// A single file.
        File = "file",
        /// A directory.
        Directory = "dir",
    }
}

words! {
    /// How much of a directory is stored.
    pub enum Recurse {
        /// The directory and everything below it.
        All = "all",
        /// Only the directory itself.
        EntryOnly = "entry-only",
    }
}

words! {
    /// What happens to what is neither file, directory nor link.
    pub enum Special {
        /// Recorded with its metadata; never opened.
        Record = "record",
        /// Left out.
        Skip = "skip",
    }
}

/// The long form of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: ManifestPath,
    /// What it is; a label of the module's own otherwise, which importers are given.
    pub kind: Option<String>,
    /// The variable it moves with.
    pub base: Option<String>,
    /// Whether its absence is not worth a warning.
    pub optional: bool,
    /// Whether it is a directory, of which `recurse` says how much.
    pub is_directory: bool,
    /// Only the directory itself.
    pub entry_only: bool,
    /// Patterns of what is left out below it.
    pub exclude: Vec<String>,
    /// Not across mount points.
    pub one_filesystem: bool,
    /// The target instead of a link.
    pub follow_symlinks: bool,
}

/// One of `[config]`, `[data]`, `[secrets]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Directories with everything below.
    pub directories: Vec<ManifestPath>,
    /// Single files.
    pub files: Vec<ManifestPath>,
    /// Entries in the long form.
    pub entries: Vec<Entry>,
    /// Patterns that are expanded when the backup runs.
    pub glob: Vec<ManifestPath>,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// Paths or patterns whose absence is not worth a warning.
    pub optional: Vec<ManifestPath>,
}

/// `[exclude]`: what is left out of every section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcludeAll {
    /// Patterns.
    pub patterns: Vec<String>,
    /// Patterns that are added if `use_defaults`.
    pub defaults: Vec<String>,
    /// Whether `defaults` count.
    pub use_defaults: bool,
    /// Whether directories with a `CACHEDIR.TAG` are left out.
    pub cachedir_tag: bool,
    /// Files with more bytes are left out.
    pub larger_than_bytes: Option<u64>,
    /// Whether the usual directories of caches are left out.
    pub caches: bool,
    /// What happens to devices, sockets and pipes.
    pub special: Special,
}

/// The defaults of `[exclude] defaults`, as FreePBX leaves them out.
const DEFAULTS: [&str; 4] = ["node_modules", ".git", "*.tgz", "*.gpg"];

impl Default for ExcludeAll {
    fn default() -> Self {
        Self {
            patterns: Vec::new(),
            defaults: DEFAULTS.map(ToOwned::to_owned).to_vec(),
            use_defaults: false,
            cachedir_tag: true,
            larger_than_bytes: None,
            caches: false,
            special: Special::Record,
        }
    }
}

impl ExcludeAll {
    /// Returns every pattern that counts, those of the manifest last, so that they win.
    pub fn effective(&self) -> impl Iterator<Item = &str> {
        let defaults = if self.use_defaults { &self.defaults[..] } else { &[] };
        defaults.iter().chain(&self.patterns).map(String::as_str)
    }
}

/// A size with its unit.
pub const SIZE: Parsed<u64> = Parsed {
    what: "a size with its unit, such as 100M",
    pattern: "^\\s*[0-9]+\\s*[A-Za-z]+\\s*$",
    read: units::size,
    show: |bytes| units::show_size(*bytes),
};

const EXCLUDES: List<Parsed<String>> = list(EXCLUDE);

/// Reads a section.
pub fn read_section(t: &mut Table<'_, '_>) -> Section {
    Section {
        directories: t.or("directories", list(PathForm), vec![], "Directories, stored with everything below them."),
        files: t.or("files", list(PathForm), vec![], "Single files."),
        entries: t.or("entries", tables(Sub(read_entry)), vec![], "The long form, for entries with properties of their own."),
        glob: t.or("glob", list(PatternForm), vec![], "Patterns that are expanded at backup time; what matched is recorded."),
        exclude: t.or("exclude", EXCLUDES, vec![], "Patterns of what is left out, as in .gitignore; a leading slash anchors at the section's directory, `!` brings back."),
        optional: t.or("optional", list(PatternForm), vec![], "Paths or patterns whose absence is not worth a warning."),
    }
}

fn read_entry(t: &mut Table<'_, '_>) -> Entry {
    let path = t.required("path", PathForm, "Where it is.").unwrap_or_default();
    let kind = t.optional(
        "kind",
        NAME,
        "`file` (default) or `dir`; any other word is a label for the importer and means a file.",
    );
    let recurse = t.optional(
        "recurse",
        Word::<Recurse>::new(),
        "How much of a directory: all (default) or entry-only.",
    );
    let is_directory =
        recurse.is_some() || kind.as_deref() == Some(EntryKind::Directory.to_string().as_str());
    if recurse.is_some() && kind.as_deref() == Some("file") {
        t.wrong("recurse", "a file has nothing below it", "write kind = \"dir\", or leave `recurse` out");
    }
    let base = t.optional(
        "base",
        NAME,
        "The variable of [paths] it moves with; without it, the one its path begins with.",
    );
    if let Some(name) = base.as_deref()
        && !t.reader.variables(|names| names.contains(name))
    {
        t.wrong(
            "base",
            format!("there is no path variable {name:?}"),
            "`base` names a variable of [paths], without ${}",
        );
    }
    Entry {
        path,
        kind,
        base,
        is_directory,
        entry_only: recurse == Some(Recurse::EntryOnly),
        optional: t.or("optional", Flag, false, "Its absence is not worth a warning."),
        exclude: t.or("exclude", EXCLUDES, vec![], "Patterns of what is left out below it."),
        one_filesystem: t.or("one_filesystem", Flag, true, "Do not store what is mounted below it."),
        follow_symlinks: t.or(
            "follow_symlinks",
            Flag,
            false,
            "Store what a link leads to in place of the link.",
        ),
    }
}

/// Reads `[exclude]`.
pub fn read_exclude_all(t: &mut Table<'_, '_>) -> ExcludeAll {
    let usual = ExcludeAll::default();
    ExcludeAll {
        patterns: t.or(
            "patterns",
            EXCLUDES,
            usual.patterns,
            "Patterns of what is left out of every section.",
        ),
        defaults: t.or(
            "defaults",
            EXCLUDES,
            usual.defaults,
            "Patterns that are added where use_defaults = true.",
        ),
        use_defaults: t.or("use_defaults", Flag, false, "Add the patterns of `defaults`."),
        cachedir_tag: t.or("cachedir_tag", Flag, true, "Leave out what lies beside a CACHEDIR.TAG."),
        larger_than_bytes: t.optional("larger_than", SIZE, "Leave out files larger than this."),
        caches: t.or(
            "caches",
            Flag,
            false,
            "Leave out directories that are named for caches (.cache, Cache, __pycache__).",
        ),
        special: t.or(
            "special",
            Word::new(),
            Special::Record,
            "Devices, sockets and pipes: record (default) or skip; they are never opened.",
        ),
    }
}
