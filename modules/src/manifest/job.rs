//! Job files: which modules, when, where to, kept how long.

use super::form::{Count, Flag, NAME, Parsed, Sub, TEXT, Word, list, tables};
use super::hooks::{JobHooks, read_job_hooks};
use super::legacy::ID;
use super::paths::{EXCLUDE, ManifestPath, PathForm};
use super::problem::Problems;
use super::reader::{Reader, Table};
use super::schedule::{Schedule, read_schedule};
use super::sections::{EntryKind, SIZE};
use super::shape::Shape;
use super::sources::LIMIT;
use super::words::words;
use crate::id::ModuleId;
use crate::units::Period;
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

words! {
    /// When somebody is told.
    pub enum NotifyOn {
        /// After a run that is complete.
        Success = "success",
        /// After one that is not.
        Failure = "failure",
        /// After every run.
        Both = "both",
    }
}

words! {
    /// How the log goes with a notification.
    pub enum NotifyLog {
        /// In the text.
        Inline = "inline",
        /// As an attachment.
        Attach = "attach",
    }
}

/// How long snapshots of a job are kept: one is kept if any rule keeps it. A rule of 0 keeps nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retain {
    /// The newest.
    pub last: u32,
    /// The newest of each of so many days.
    pub daily: u32,
    /// Of weeks.
    pub weekly: u32,
    /// Of months.
    pub monthly: u32,
    /// All younger than this.
    pub within: Option<Period>,
    /// None older than this, whatever else keeps it, but never the last one.
    pub max_age: Option<Period>,
    /// None is ever removed.
    pub immortal: bool,
}

/// A place where the repository's objects go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStorage {
    /// Its address.
    pub address: String,
    /// Whether a run without it is partial; else the upload is owed.
    pub require: bool,
}

/// Who is told of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// After which runs.
    pub on: NotifyOn,
    /// Addresses.
    pub to: Vec<String>,
    /// How the log goes with it.
    pub log: NotifyLog,
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
    /// Whether a restore of some modules goes on where others cannot be verified.
    pub allow_partial: bool,
    /// How long it waits for another run of the same job.
    pub lock_wait: Option<Duration>,
    /// Whether a filesystem snapshot is what it reads.
    pub snapshot: UseSnapshot,
    /// What is read again afterwards.
    pub verify: VerifyAfter,
    /// Where packs wait for their upload, and how many bytes of them.
    pub spool: Option<(ManifestPath, u64)>,
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
    /// The user whom exported archives are given to.
    pub owner: Option<String>,
}

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
        allow_partial: false,
        lock_wait: None,
        snapshot: UseSnapshot::Auto,
        verify: VerifyAfter::Sample,
        spool: None,
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
                "The user whom exported archives are given to; only root may.",
            )
            .flatten(),
    }
}

fn read_head(t: &mut Table<'_, '_>) -> Head {
    let id = t.required("id", ID, "Its id, by which `dedup backup --job` names it.").unwrap_or_default();
    let named =
        t.or("modules", list(ID), vec![], "[\"all\"] (default: all that are ready, new ones too), or ids.");
    let all = named.is_empty() || named.iter().any(|id| id.as_str() == "all");
    if t.has("modules") && named.len() != 1 && all {
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
            false,
            "Go on with some modules of a restore where others cannot be verified.",
        ),
        lock_wait: t.or(
            "lock_wait",
            LIMIT,
            Some(Duration::from_secs(3600)),
            "How long it waits for another run of the same job; 0: not at all.",
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
    }
}

const PERIOD: Parsed<Period> = Parsed {
    what: "a time with its unit, such as 30d or 6mo",
    pattern: "^\\s*[0-9]+\\s*(s|m|h|d|w|mo|y)\\s*$",
    read: Period::parse,
    show: ToString::to_string,
};

fn read_retain(t: &mut Table<'_, '_>) -> Retain {
    let mut count = |key, usual, doc| u32::try_from(t.or(key, Count(0, 100_000), usual, doc)).unwrap_or(0);
    let (last, daily, weekly, monthly) = (
        count("last", 0, "Keep the newest."),
        count("daily", 5, "Keep the newest of each of so many days."),
        count("weekly", 3, "Keep the newest of each of so many weeks."),
        count("monthly", 3, "Keep the newest of each of so many months."),
    );
    let retain = Retain {
        last,
        daily,
        weekly,
        monthly,
        within: t.optional("within", PERIOD, "Keep all that are younger than this."),
        max_age: t.optional("max_age", PERIOD, "Keep none that is older than this, but always the last one."),
        immortal: t.or("immortal", Flag, false, "Never remove any."),
    };
    let keeps = retain.last + retain.daily + retain.weekly + retain.monthly > 0
        || retain.within.is_some()
        || retain.max_age.is_some();
    if !keeps && !retain.immortal {
        t.wrong("", "these rules keep nothing", "keep at least one: last = 1");
    }
    retain
}

fn read_storage(t: &mut Table<'_, '_>) -> JobStorage {
    JobStorage {
        address: t.required("address", NAME, "Its address: a directory, or SCHEME:….").unwrap_or_default(),
        require: t.or("require", Flag, true, "Whether a run without it is partial; else the upload is owed."),
    }
}

fn read_notify(t: &mut Table<'_, '_>) -> Notify {
    Notify {
        on: t.or("on", Word::new(), NotifyOn::Failure, "After which runs: success, failure (default), both."),
        to: t.required("to", super::form::some(NAME), "Addresses.").unwrap_or_default(),
        log: t.or("log", Word::new(), NotifyLog::Inline, "How the log goes with it: inline, attach."),
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
    if let Modules::Named(ids) = &job.modules {
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
