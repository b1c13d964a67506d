//! Job files: which modules, when, where to, kept how long.

use super::form::{Flag, NAME, Parsed, Sub, TEXT, Word, list, tables};
use super::hooks::{JobHooks, read_job_hooks};
use super::legacy::ID;
use super::notify::read_notify;
pub use super::notify::{Notify, NotifyLog, NotifyOn};
use super::paths::{EXCLUDE, ManifestPath, PathForm};
use super::problem::Problems;
use super::programs::{Severity, read_log};
use super::reader::{Reader, Table};
pub use super::retain::Retain;
use super::retain::read_retain;
use super::schedule::{Schedule, read_schedule};
use super::sections::{EntryKind, SIZE};
use super::shape::Shape;
use super::sources::LIMIT;
use super::words::words;
use crate::id::{MAX_ID, ModuleId};
use std::collections::BTreeSet;
use std::time::Duration;

/// Which modules a job is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Modules {
    /// All that are declared and ready, new ones too.
    #[default]
    All,
    /// These.
    Named(Vec<ModuleId>),
}

words! {
    /// Whether a filesystem snapshot is what a backup reads.
    pub enum UseSnapshot {
        /// If there is a provider for all paths.
        Auto = "auto",
        /// Without one the run fails.
        Require = "require",
        /// No.
        Off = "off",
    }
}

words! {
    /// What is read again after a backup.
    pub enum VerifyAfter {
        /// Nothing.
        Off = "off",
        /// A sample of what was written.
        Sample = "sample",
        /// All of what was written.
        All = "all",
    }
}

/// A place where the repository's objects go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStorage {
    /// Its address.
    pub address: String,
    /// Whether a run without it is partial; else the upload is owed.
    pub require: bool,
    /// Key file that opens it; without one it is opened as the repository of the run is.
    pub key_file: Option<String>,
    /// File with its passphrase.
    pub passphrase_file: Option<String>,
}

/// A path that no module declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custom {
    /// Where it is.
    pub path: ManifestPath,
    /// What it is.
    pub kind: EntryKind,
    /// Patterns of what is left out below it.
    pub exclude: Vec<String>,
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: ModuleId,
    /// Its name for people; empty: the id.
    pub name: String,
    /// Which modules.
    pub modules: Modules,
    /// Modules to leave out of all.
    pub unselected: Vec<ModuleId>,
    /// Whether what a module requires is selected with it.
    pub dependencies: bool,
    /// Whether a snapshot is published that lacks something; else the run fails and the last good one stays the newest.
    pub allow_partial: bool,
    /// How long it waits for another run of modules on this machine.
    pub lock_wait: Option<Duration>,
    /// Whether a filesystem snapshot is what it reads.
    pub snapshot: UseSnapshot,
    /// What is read again afterwards.
    pub verify: VerifyAfter,
    /// Where packs wait for their upload, and how many bytes of them.
    pub spool: Option<(ManifestPath, u64)>,
    /// Labels of its snapshots.
    pub tags: Vec<String>,
    /// The comment of its snapshots.
    pub comment: String,
    /// When it runs; none: when it is asked for.
    pub schedule: Option<Schedule>,
    /// How long its snapshots are kept; none: for ever.
    pub retain: Option<Retain>,
    /// Further places of the repository's objects.
    pub storages: Vec<JobStorage>,
    /// Who is told.
    pub notify: Option<Notify>,
    /// Programs at its begin and end.
    pub hooks: JobHooks,
    /// Paths that no module declares.
    pub custom: Vec<Custom>,
    /// The user whom the logs of its runs, what they store, and exported archives, are given to.
    pub owner: Option<String>,
    /// The least severity that the logs of its runs keep.
    pub log_level: Severity,
}

/// What the id of the module begins with that a job's own paths are stored as; the id of the job follows.
pub const CUSTOM_PREFIX: &str = "custom-";
/// What the tag begins with that every snapshot of a job has; the id of the job follows.
pub const JOB_TAG_PREFIX: &str = "job:";

impl Job {
    /// Reads a job file. `file` is its name for messages.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Problems> {
        super::parse(file, bytes, read_job, check)
    }

    /// Returns what may stand in a job file.
    pub fn shape() -> Shape {
        super::reader::describe(read_job)
    }
}

/// The settings of `[job]`.
struct Head {
    id: ModuleId,
    name: String,
    modules: Modules,
    unselected: Vec<ModuleId>,
    dependencies: bool,
    allow_partial: bool,
    lock_wait: Option<Duration>,
    snapshot: UseSnapshot,
    verify: VerifyAfter,
    spool: Option<(ManifestPath, u64)>,
    tags: Vec<String>,
    comment: String,
}

fn read_job(t: &mut Table<'_, '_>) -> Job {
    super::read_schema(t);
    let head = t.required("job", Sub(read_head), "Which modules.");
    let head = head.unwrap_or_else(|| Head {
        id: ModuleId::default(),
        name: String::new(),
        modules: Modules::All,
        unselected: Vec::new(),
        dependencies: true,
        allow_partial: true,
        lock_wait: None,
        snapshot: UseSnapshot::Auto,
        verify: VerifyAfter::Sample,
        spool: None,
        tags: Vec::new(),
        comment: String::new(),
    });
    Job {
        id: head.id,
        name: head.name,
        modules: head.modules,
        unselected: head.unselected,
        dependencies: head.dependencies,
        allow_partial: head.allow_partial,
        lock_wait: head.lock_wait,
        snapshot: head.snapshot,
        verify: head.verify,
        spool: head.spool,
        tags: head.tags,
        comment: head.comment,
        schedule: t.optional("schedule", Sub(read_schedule), "When it runs, and how what it makes is named."),
        retain: t.optional(
            "retain",
            Sub(read_retain),
            "How long its snapshots are kept; without this table, for ever.",
        ),
        storages: t.or(
            "storage",
            tables(Sub(read_storage)),
            vec![],
            "Further places of the repository's objects.",
        ),
        notify: t.optional("notify", Sub(read_notify), "Who is told."),
        hooks: t.optional("hooks", Sub(read_job_hooks), "Programs at its begin and end.").unwrap_or_default(),
        custom: t.or("custom", tables(Sub(read_custom)), vec![], "Paths that no module declares."),
        owner: t
            .optional(
                "owner",
                Sub(read_owner),
                "The user whom the logs of its runs, what they store, and exported archives, are given to; only root may.",
            )
            .flatten(),
        log_level: t.optional("log", Sub(read_log), "Its messages.").unwrap_or(Severity::Info),
    }
}

fn read_head(t: &mut Table<'_, '_>) -> Head {
    let id = t.required("id", ID, "Its id, by which `dedup backup --job` names it.").unwrap_or_default();
    let named =
        t.or("modules", list(ID), vec![], "[\"all\"] (default: all that are ready, new ones too), or ids.");
    let all = !t.has("modules") || named.iter().any(|id| id.as_str() == "all");
    if named.len() > 1 && all {
        t.wrong("modules", "\"all\" stands alone", "write [\"all\"], or ids without it");
    }
    let unselected = t.or("unselected", list(ID), vec![], "Modules to leave out of all.");
    if !all && !unselected.is_empty() {
        t.wrong(
            "unselected",
            "there is nothing to leave out of modules that are named",
            "leave them out of `modules`",
        );
    }
    let spool = t.optional(
        "spool",
        PathForm,
        "A directory where packs wait for their upload, so that services start sooner.",
    );
    let room = t.optional("spool_size", SIZE, "How much may wait in `spool`.");
    if spool.is_some() != room.is_some() {
        t.wrong(
            if spool.is_some() { "spool" } else { "spool_size" },
            "`spool` and `spool_size` belong together",
            "write both",
        );
    }
    Head {
        id,
        name: t.or("name", TEXT, String::new(), "Its name for people."),
        modules: if all { Modules::All } else { Modules::Named(named) },
        unselected,
        dependencies: t.or("dependencies", Flag, true, "Select with a module what it requires."),
        allow_partial: t.or(
            "allow_partial",
            Flag,
            true,
            "Publish a snapshot even if something of a module is missing in it.",
        ),
        lock_wait: t.or(
            "lock_wait",
            LIMIT,
            Some(Duration::from_secs(3600)),
            "How long it waits for another run of modules on this machine; 0: not at all.",
        ),
        snapshot: t.or(
            "snapshot",
            Word::new(),
            UseSnapshot::Auto,
            "Read a filesystem snapshot: auto, require, off.",
        ),
        verify: t.or(
            "verify",
            Word::new(),
            VerifyAfter::Sample,
            "What is read again afterwards: off, sample, all.",
        ),
        spool: spool.zip(room),
        tags: t.or("tags", list(TAG), vec![], "Labels of its snapshots."),
        comment: t.or("comment", TEXT, String::new(), "The comment of its snapshots."),
    }
}

/// Longest label (`FORMAT.md` 12).
const MAX_TAG: usize = 255;

const TAG: Parsed<String> = Parsed {
    what: "a label of at most 255 bytes",
    pattern: "^(?!job:)[^\\r\\n]{1,255}$",
    read: read_tag,
    show: Clone::clone,
};

fn read_tag(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.len() > MAX_TAG || text.chars().any(char::is_control) {
        return Err("a label has 1 to 255 bytes, and no control characters".into());
    }
    if text.starts_with(JOB_TAG_PREFIX) {
        return Err(format!(
            "labels that begin with {JOB_TAG_PREFIX} are ours: they say which job made a snapshot"
        ));
    }
    Ok(text.to_owned())
}

fn read_storage(t: &mut Table<'_, '_>) -> JobStorage {
    JobStorage {
        address: t.required("address", NAME, "Its address: a directory, or SCHEME:….").unwrap_or_default(),
        require: t.or("require", Flag, true, "Whether a run without it is partial; else the upload is owed."),
        key_file: t.optional("key_file", NAME, "Key file that opens it (default: as the repository)."),
        passphrase_file: t.optional("passphrase_file", NAME, "File with its passphrase."),
    }
}

fn read_custom(t: &mut Table<'_, '_>) -> Custom {
    Custom {
        path: t.required("path", PathForm, "Where it is.").unwrap_or_default(),
        kind: t.or("kind", Word::new(), EntryKind::Directory, "What it is: dir (default), file."),
        exclude: t.or("exclude", list(EXCLUDE), vec![], "Patterns of what is left out below it."),
    }
}

fn read_owner(t: &mut Table<'_, '_>) -> Option<String> {
    t.required("user", NAME, "The user.")
}

fn check(job: &Job, reader: &Reader<'_>) {
    let mut seen = BTreeSet::new();
    for (n, custom) in job.custom.iter().enumerate() {
        if !seen.insert(&custom.path) {
            reader.wrong_at(
                &format!("custom[{n}].path"),
                format!("{} is named twice", custom.path),
                "keep one of them",
            );
        }
    }
    if !job.custom.is_empty() && job.id.as_str().len() > MAX_ID - CUSTOM_PREFIX.len() {
        let most = MAX_ID - CUSTOM_PREFIX.len();
        reader.wrong_at(
            "job.id",
            format!("with [[custom]] the id of a job has at most {most} bytes"),
            format!("these paths are stored as a module {CUSTOM_PREFIX}ID"),
        );
    }
    if let Modules::Named(ids) = &job.modules {
        if ids.is_empty() && job.custom.is_empty() {
            reader.wrong_at(
                "job.modules",
                "nothing is named that could be stored",
                "name modules, or paths by [[custom]]",
            );
        }
        let mut seen = BTreeSet::new();
        for (n, id) in ids.iter().enumerate() {
            if !seen.insert(id) {
                reader.wrong_at(
                    &format!("job.modules[{n}]"),
                    format!("{id} is named twice"),
                    "keep one of them",
                );
            }
        }
    }
}
