//! Snapshots: what one run stored, module by module, and the truth about what it could not store.
//!
//! Normative text: `FORMAT.md` 12. A snapshot exists only once its session's end says `committed`.

mod codec;

pub use codec::{decode, encode};

use crate::id::{ObjectId, RepoId, SessionId};
use crate::listing::Time;
use crate::map::{Blob, Class, Root};

/// What one run stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Session that wrote it.
    pub session: SessionId,
    /// When the run began.
    pub time: Time,
    /// Offset of the writer's local time to UTC, in minutes.
    pub utc_offset_minutes: i16,
    /// Machine it is of.
    pub host: String,
    /// User who ran it.
    pub user: String,
    /// Program and version that wrote it.
    pub program: String,
    /// Labels, sorted, unique.
    pub tags: Vec<String>,
    /// Free text.
    pub comment: String,
    /// Snapshots that this one was compared with.
    pub parents: Vec<ObjectId>,
    /// One account per module, sorted by module; at least one.
    pub accounts: Vec<Account>,
    /// Sums over all accounts.
    pub totals: Totals,
    /// What it was made from, if no backup made it.
    pub provenance: Provenance,
}

#[cfg(any(test, feature = "testing"))]
impl Snapshot {
    /// Makes one of a host and a moment that says nothing else.
    pub(crate) fn bare(host: &str, secs: i64) -> Self {
        Self {
            session: SessionId::from_bytes([1; 16]),
            time: Time { secs, nanos: 0 },
            utc_offset_minutes: 0,
            host: host.into(),
            user: String::new(),
            program: String::new(),
            tags: Vec::new(),
            comment: String::new(),
            parents: Vec::new(),
            accounts: Vec::new(),
            totals: Totals::default(),
            provenance: Provenance::default(),
        }
    }
}

/// What a snapshot was made from: the word of whoever stored it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// It holds what that snapshot holds. Of a copy of a copy: the first one.
    pub copy_of: Option<Origin>,
    /// It holds what that snapshot holds, but for paths that were taken out of it.
    pub rewritten_from: Option<Origin>,
}

/// A snapshot of some repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The repository.
    pub repo: RepoId,
    /// The snapshot in it.
    pub snapshot: ObjectId,
}

/// What a run did for one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Name of the module: `files` for plain paths.
    pub module: String,
    /// Version of the module.
    pub version: String,
    /// How it ended.
    pub state: State,
    /// Why it is not complete; empty if it is.
    pub reason: String,
    /// Absolute paths as asked for, as bytes.
    pub sources: Vec<Vec<u8>>,
    /// The module's manifest, opaque here.
    pub manifest: Blob,
    /// Listings, at most one of each section, sorted by section.
    pub listings: Vec<Listing>,
    /// Declared items and what became of each.
    pub items: Vec<Item>,
    /// Dumps, sorted by name.
    pub dumps: Vec<Dump>,
    /// Modules that must be restored before this one.
    pub dependencies: Vec<String>,
    /// Figures.
    pub totals: Totals,
}

/// The files of one section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// What they are for.
    pub section: Section,
    /// Path → node; of the section's class.
    pub root: Root,
    /// Entries that are not stored, or not as they should be: listing key → outcome and text. Of the section's
    /// class as well, so that names of secret files are read by nobody else.
    pub problems: Root,
}

/// What a listing or dump is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Configuration.
    Config,
    /// Data.
    Data,
    /// Secrets: under keys and in packs of their own.
    Secrets,
}

/// One declared item and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name: section and path as declared (`data:/var/lib/app`), `source:` and a name, or a word such as
    /// `settings`.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, where there is something to say.
    pub message: String,
}

/// What one source gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// Its name, unique in the account.
    pub name: String,
    /// Section it belongs to.
    pub section: Section,
    /// Kind of the source that made it and takes it back.
    pub kind: String,
    /// How it is stored.
    pub form: Form,
    /// Its records, or its listing; of the section's class.
    pub root: Root,
    /// Length of its files, holes included; of records, that of all rows.
    pub bytes: u64,
    /// Schema of the records or what else the source keeps beside them, opaque here; of the section's class.
    pub schema: Blob,
}

/// How a dump is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// A map of key → row.
    Records,
    /// A listing. A stream is one with a single entry: a regular file right below the root.
    Listing,
}

/// How a module's part of a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Everything that was asked for is stored.
    Complete,
    /// Some entries could not be read, or changed while they were.
    Warned,
    /// A dump, a declared item or more failed.
    Partial,
    /// Nothing useful is stored.
    Failed,
    /// Left out, with the reason.
    Skipped,
}

/// What became of one entry or declared item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Stored as it was.
    Stored,
    /// There, but empty.
    Empty,
    /// Not there.
    Absent,
    /// Could not be read.
    Unreadable,
    /// Left out by a rule.
    Excluded,
    /// Left out by choice of the person.
    SkippedByChoice,
    /// Failed otherwise.
    Failed,
    /// Was there at first and then not.
    Vanished,
    /// Stored, but it changed while it was read.
    ChangedWhileRead,
    /// Has a name or form that cannot be stored.
    NotStorable,
    /// Stored as it was, but it was not sound where it came from.
    Damaged,
}

impl Outcome {
    /// Returns whether something that was asked for is missing or doubtful.
    pub fn is_gap(self) -> bool {
        matches!(
            self,
            Self::Absent
                | Self::Unreadable
                | Self::Failed
                | Self::ChangedWhileRead
                | Self::NotStorable
                | Self::Damaged
        )
    }
}

/// Figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries in the listings.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Directories among them.
    pub directories: u64,
    /// Length of all files, holes included.
    pub bytes: u64,
    /// Files that the parent did not have.
    pub files_new: u64,
    /// Files that differ from the parent's.
    pub files_changed: u64,
    /// Files that are as the parent has them, most of them taken from it without reading.
    pub files_unmodified: u64,
    /// Bytes read from files.
    pub bytes_read: u64,
    /// Chunks that the repository did not have.
    pub chunks_new: u64,
    /// Their plain bytes.
    pub bytes_new: u64,
    /// Bytes of the packs stored for them.
    pub bytes_stored: u64,
    /// Entries with a problem.
    pub problems: u64,
}

impl Totals {
    /// Adds another account's figures.
    pub fn add(&mut self, other: &Self) {
        let pairs: [(&mut u64, u64); 12] = [
            (&mut self.entries, other.entries),
            (&mut self.files, other.files),
            (&mut self.directories, other.directories),
            (&mut self.bytes, other.bytes),
            (&mut self.files_new, other.files_new),
            (&mut self.files_changed, other.files_changed),
            (&mut self.files_unmodified, other.files_unmodified),
            (&mut self.bytes_read, other.bytes_read),
            (&mut self.chunks_new, other.chunks_new),
            (&mut self.bytes_new, other.bytes_new),
            (&mut self.bytes_stored, other.bytes_stored),
            (&mut self.problems, other.problems),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Snapshot {
    /// Returns the account of a module.
    pub fn account(&self, module: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.module == module)
    }

    /// Returns what it is a copy of, or itself: equal for all that hold the same because of being copied.
    pub fn original(&self, repo: RepoId, id: ObjectId) -> Origin {
        self.provenance.copy_of.unwrap_or(Origin { repo, snapshot: id })
    }

    /// Returns the worst state of its modules.
    pub fn state(&self) -> State {
        self.accounts.iter().map(|account| account.state).max().unwrap_or(State::Failed)
    }

    /// Returns whether it counts as `latest` and for retention: complete, or with warnings only.
    pub fn is_good(&self) -> bool {
        self.state() <= State::Warned
    }
}

impl Section {
    /// Every section, in their order.
    pub const ALL: [Self; 3] = [Self::Config, Self::Data, Self::Secrets];

    /// Returns the class that all maps of the section have.
    pub fn class(self) -> Class {
        match self {
            Self::Config | Self::Data => Class::Open,
            Self::Secrets => Class::Secrets,
        }
    }

    /// Returns the section's word, as in manifests and names of items.
    pub fn word(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Data => "data",
            Self::Secrets => "secrets",
        }
    }
}

impl Account {
    /// Makes the account of a module for which nothing was stored yet.
    pub fn new(module: &str) -> Self {
        Self {
            module: module.to_owned(),
            version: String::new(),
            state: State::Complete,
            reason: String::new(),
            sources: Vec::new(),
            manifest: Blob::EMPTY,
            listings: Vec::new(),
            items: Vec::new(),
            dumps: Vec::new(),
            dependencies: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Returns the listing of a section.
    pub fn listing(&self, section: Section) -> Option<&Listing> {
        self.listings.iter().find(|listing| listing.section == section)
    }

    /// Returns the dump of that name.
    pub fn dump(&self, name: &str) -> Option<&Dump> {
        self.dumps.iter().find(|dump| dump.name == name)
    }
}

impl Dump {
    /// Returns whether its root is a listing.
    pub fn is_listing(&self) -> bool {
        self.form == Form::Listing
    }
}
