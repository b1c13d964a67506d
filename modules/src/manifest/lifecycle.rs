//! `[lockdown]`, `[setup]`, `[restore]`, `[spaces]`: how a module is closed, made ready, put back and kept safe.

use super::form::{ARGV, Count, Either, Flag, Mapped, NAME, Parsed, Sub, TEXT, Word, list};
use super::paths::{ManifestPath, PathForm};
use super::reader::Table;
use super::sources::LIMIT;
use super::words::words;
use crate::units::Period;
use std::time::Duration;
use toml::de::DeValue;

/// How users are kept out while a run works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lockdown {
    /// How.
    pub way: LockdownWay,
    /// What users are told.
    pub message: String,
    /// Whether a module that cannot be locked fails.
    pub required: bool,
}

/// A way to keep users out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockdownWay {
    /// Programs.
    Commands {
        /// Locks.
        on: Vec<String>,
        /// Unlocks.
        off: Vec<String>,
        /// Says by status 0 that it is locked; may be empty.
        status: Vec<String>,
    },
    /// A file that is there while it is locked.
    File(ManifestPath),
    /// A flag of the platform.
    Flag(String),
}

/// Reads `[lockdown]`.
pub fn read_lockdown(t: &mut Table<'_, '_>) -> Option<Lockdown> {
    let on = t.or("on", ARGV, vec![], "The program that locks.");
    let off = t.or("off", ARGV, vec![], "The program that unlocks.");
    let status = t.or("status", ARGV, vec![], "The program that says by status 0 that it is locked.");
    let file = t.optional("file", PathForm, "A file that is there while it is locked.");
    let flag = t.optional("flag", NAME, "A flag of the platform.");
    let message = t.or("message", TEXT, String::new(), "What users are told meanwhile.");
    let required = t.or("required", Flag, false, "A module that cannot be locked fails.");
    let ways = [t.has("on") || t.has("off") || t.has("status"), t.has("file"), t.has("flag")];
    if ways.iter().filter(|way| **way).count() != 1 {
        t.wrong("", "[lockdown] needs exactly one way", "on and off, or file, or flag");
    }
    let way = if let Some(file) = file {
        LockdownWay::File(file)
    } else if let Some(flag) = flag {
        LockdownWay::Flag(flag)
    } else {
        if t.has("on") != t.has("off") {
            t.wrong("on", "what locks must unlock", "write both `on` and `off`");
        }
        LockdownWay::Commands { on, off, status }
    };
    Some(Lockdown { way, message, required })
}

/// How it is known whether a module can be used, and how it is made ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// How its state is known.
    pub state: SetupState,
    /// Makes it ready for the first time.
    pub install: Vec<String>,
    /// Brings its data to the installed version.
    pub upgrade: Vec<String>,
    /// How long either may take.
    pub timeout: Option<Duration>,
}

/// How the state of a module is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SetupState {
    /// It is always ready.
    #[default]
    AlwaysReady,
    /// A program prints `ready`, `needs-setup` or `needs-update`.
    Command(Vec<String>),
    /// It is ready if this file is there.
    File(ManifestPath),
}

words! {
    /// The only word of `always`.
    pub enum Always {
        /// Ready.
        Ready = "ready",
    }
}

/// How long `install` and `upgrade` may take if nothing is said: 30 minutes.
const SETUP_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Reads `[setup]`.
pub fn read_setup(t: &mut Table<'_, '_>) -> Setup {
    let command = t.optional("state", ARGV, "The program that prints ready, needs-setup or needs-update.");
    let file = t.optional("file", PathForm, "A file that is there if the module is ready.");
    let always = t.optional("always", Word::<Always>::new(), "It is always ready.");
    t.not_both("state", "file");
    t.not_both("state", "always");
    t.not_both("file", "always");
    let state = match (command, file, always) {
        (Some(command), ..) => SetupState::Command(command),
        (_, Some(file), _) => SetupState::File(file),
        _ => SetupState::AlwaysReady,
    };
    Setup {
        state,
        install: t.or("install", ARGV, vec![], "Makes it ready for the first time."),
        upgrade: t.or("upgrade", ARGV, vec![], "Brings its data to the installed version."),
        timeout: t.or("timeout", LIMIT, Some(SETUP_TIMEOUT), "How long either may take."),
    }
}

words! {
    /// How a module is emptied before a restore.
    pub enum Reset {
        /// Not at all.
        None = "none",
        /// What the manifest declares is cleared.
        ClearDeclared = "clear-declared",
        /// By the hook `reset`.
        Command = "command",
    }
}

words! {
    /// What a restore does where something is already.
    pub enum OnConflict {
        /// Replaces it.
        Replace = "replace",
        /// Leaves it.
        KeepExisting = "keep-existing",
        /// Leaves it if it is newer.
        KeepNewer = "keep-newer",
        /// Writes beside it, under another name.
        Rename = "rename",
    }
}

words! {
    /// By what owners are restored.
    pub enum Owners {
        /// By numbers.
        Numeric = "numeric",
        /// By names, where this machine knows them.
        Names = "names",
    }
}

/// How a module is put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// Whether what needs setup is set up first.
    pub setup: bool,
    /// How it is emptied before.
    pub reset: Reset,
    /// Paths that are moved away before files are written.
    pub delete_before: Vec<ManifestPath>,
    /// Whether it is never reset, whatever is asked for.
    pub skip_reset: bool,
    /// What happens where something is already.
    pub on_conflict: OnConflict,
    /// By what owners are restored.
    pub owner: Owners,
    /// Whether modes are restored.
    pub modes: bool,
    /// Whether times are.
    pub times: bool,
    /// Whether extended attributes are.
    pub xattrs: bool,
    /// Whether access control lists are.
    pub acls: bool,
    /// Parts without which it is not restored: `source:NAME`, a section, `settings`.
    pub require: Vec<String>,
    /// Whether data of an older version of the module are taken.
    pub allow_older: bool,
    /// Whether data of a newer version are.
    pub allow_newer: bool,
    /// A promise that the importer needs no network.
    pub offline: bool,
}

impl Default for Restore {
    fn default() -> Self {
        Self {
            setup: true,
            reset: Reset::None,
            delete_before: Vec::new(),
            skip_reset: false,
            on_conflict: OnConflict::Replace,
            owner: Owners::Names,
            modes: true,
            times: true,
            xattrs: true,
            acls: true,
            require: Vec::new(),
            allow_older: true,
            allow_newer: false,
            offline: false,
        }
    }
}

/// Reads `[restore]`.
pub fn read_restore(t: &mut Table<'_, '_>) -> Restore {
    Restore {
        setup: t.or("setup", Flag, true, "Run [setup] install or upgrade first where needed."),
        reset: t.or("reset", Word::new(), Reset::None, "How it is emptied before: none, clear-declared, command (the hook reset)."),
        delete_before: t.or("delete_before", list(PathForm), vec![], "Paths that are moved away before files are written; never deleted before the restore has succeeded."),
        skip_reset: t.or("skip_reset", Flag, false, "Never reset it, whatever is asked for."),
        on_conflict: t.or("on_conflict", Word::new(), OnConflict::Replace, "What happens where something is already."),
        owner: t.or("owner", Word::new(), Owners::Names, "Restore owners by names (default) or numbers."),
        modes: t.or("modes", Flag, true, "Restore modes."),
        times: t.or("times", Flag, true, "Restore times."),
        xattrs: t.or("xattrs", Flag, true, "Restore extended attributes."),
        acls: t.or("acls", Flag, true, "Restore access control lists."),
        require: t.or("require", list(NAME), vec![], "Parts without which this module is not restored: \"source:NAME\", \"config\", \"data\", \"secrets\", \"settings\"."),
        allow_older: t.or("allow_older", Flag, true, "Take data of an older version of the module."),
        allow_newer: t.or("allow_newer", Flag, false, "Take data of a newer version of the module."),
        offline: t.or("offline", Flag, false, "Promise that the importer needs no network."),
    }
}

/// How long a persistent space is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// As many of the newest.
    Count(u32),
    /// As long.
    For(Period),
}

/// How a space is reverted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revert {
    /// What was put into it is put back, the last first.
    Replay,
    /// By a program, after that.
    Command(Vec<String>),
    /// It is not.
    None,
}

/// What a module keeps for undoing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spaces {
    /// The name of its space, if not the module's id.
    pub id: Option<String>,
    /// Whether a space outlives a success.
    pub persistent: bool,
    /// How long it is kept.
    pub keep: Option<Keep>,
    /// How it is reverted.
    pub revert: Revert,
    /// Whether a restore fills one before it changes anything.
    pub safety: bool,
}

impl Default for Spaces {
    fn default() -> Self {
        Self { id: None, persistent: false, keep: None, revert: Revert::Replay, safety: true }
    }
}

const KEEP: Either<Mapped<Count, i64, Keep>, Parsed<Keep>> = Either {
    one: Mapped { form: Count(1, 10_000), map: |count| Keep::Count(u32::try_from(count).unwrap_or(1)) },
    other: Parsed {
        what: "a number of spaces, or a time with its unit, such as 30d",
        pattern: "^[0-9]+\\s*(s|m|h|d|w|mo|y)?$",
        read: |text| match text.parse() {
            Ok(count @ 1..=10_000) => Ok(Keep::Count(count)),
            Ok(_) => Err("a number of spaces is from 1 to 10000".into()),
            Err(_) => Period::parse(text).map(Keep::For),
        },
        show: |_| String::new(),
    },
    is_one: |value| matches!(value, DeValue::Integer(_)),
};

words! {
    /// The words of `revert`.
    pub enum RevertWord {
        /// Put back.
        Replay = "replay",
        /// Not.
        None = "none",
    }
}

/// Reads `[spaces]`.
pub fn read_spaces(t: &mut Table<'_, '_>) -> Spaces {
    let revert = Either {
        one: Mapped {
            form: Word::new(),
            map: |word: RevertWord| if word == RevertWord::None { Revert::None } else { Revert::Replay },
        },
        other: Mapped {
            form: Sub(|t| t.required("command", ARGV, "The program that reverts.").unwrap_or_default()),
            map: Revert::Command,
        },
        is_one: |value| !matches!(value, DeValue::Table(_)),
    };
    Spaces {
        id: t.optional("id", NAME, "The name of its space; default: the module's id."),
        persistent: t.or("persistent", Flag, false, "Keep the space after a success, so that a restore can be reverted later."),
        keep: t.optional("keep", KEEP, "How many spaces are kept, or how long."),
        revert: t.optional("revert", revert, "How it is reverted: \"replay\" (default), \"none\", or { command = [\"program\"] } after the replay.").unwrap_or(Revert::Replay),
        safety: t.or("safety", Flag, true, "Keep what a restore replaces until it has succeeded."),
    }
}
