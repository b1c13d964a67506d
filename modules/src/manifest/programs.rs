//! `[exporter]`, `[importer]`: programs of a module's own; `[log]` and `[limits]`.

use super::form::{ARGV, Count, Flag, NAME, NamesTo, Parsed, TEXT, Word, some};
use super::paths::{ManifestPath, PathForm};
use super::reader::Table;
use super::sections::SIZE;
use super::sources::LIMIT;
use super::words::words;
use crate::units;
use std::time::Duration;

/// The version of the line protocol that this program speaks.
pub const PROTOCOL: i64 = 1;

words! {
    /// How much a message matters.
    pub enum Severity {
        /// Nothing works.
        Emergency = "emergency",
        /// Somebody must act now.
        Alert = "alert",
        /// The module has failed.
        Critical = "critical",
        /// A part has failed.
        Error = "error",
        /// Not as it should be.
        Warning = "warning",
        /// Worth knowing.
        Notice = "notice",
        /// What is done.
        Info = "info",
        /// How it is done.
        Debug = "debug",
    }
}

/// What speaks for the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A program that speaks the line protocol.
    Command(Vec<String>),
    /// A part of this program.
    Builtin(String),
}

/// An exporter or importer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// What it is.
    pub program: Program,
    /// Versions of the protocol that it speaks.
    pub protocol: Vec<i64>,
    /// How long an operation may take in all.
    pub timeout: Option<Duration>,
    /// How long it may be silent.
    pub idle_timeout: Option<Duration>,
    /// How long it has to end when it is cancelled.
    pub cancel_grace: Option<Duration>,
    /// How much memory it may use.
    pub memory_bytes: Option<u64>,
    /// As whom it runs.
    pub user: Option<String>,
    /// In which directory.
    pub cwd: Option<ManifestPath>,
    /// With which further variables of the environment.
    pub env: Vec<(String, String)>,
    /// Whether it may use the network.
    pub network: bool,
    /// Whether it exports everything, so that nothing else of the manifest is; exporters only.
    pub replaces_declared: bool,
}

impl External {
    /// Makes one of which nothing else is said.
    pub fn of(program: Program) -> Self {
        Self {
            program,
            protocol: vec![PROTOCOL],
            timeout: None,
            idle_timeout: Some(Duration::from_secs(600)),
            cancel_grace: Some(Duration::from_secs(10)),
            memory_bytes: None,
            user: None,
            cwd: None,
            env: Vec::new(),
            network: true,
            replaces_declared: false,
        }
    }
}

fn read_external(t: &mut Table<'_, '_>) -> External {
    let command =
        t.or("command", ARGV, vec![], "The program and its arguments; it speaks the line protocol.");
    let builtin = t.optional("builtin", NAME, "A part of this program, in place of `command`.");
    t.not_both("command", "builtin");
    if !t.has("command") && !t.has("builtin") {
        t.wrong("", "this table names no program", "command = [\"program\", \"argument\"]");
    }
    let protocol =
        t.or("protocol", some(Count(1, 1000)), vec![PROTOCOL], "Versions of the protocol that it speaks.");
    if !protocol.contains(&PROTOCOL) {
        t.wrong(
            "protocol",
            format!("this program speaks version {PROTOCOL} of the protocol"),
            format!("protocol = [{PROTOCOL}]"),
        );
    }
    let secs = |secs| Some(Duration::from_secs(secs));
    External {
        program: builtin.map_or(Program::Command(command), Program::Builtin),
        protocol,
        timeout: t.or("timeout", LIMIT, None, "How long an operation may take in all."),
        idle_timeout: t.or("idle_timeout", LIMIT, secs(600), "How long it may be silent."),
        cancel_grace: t.or("cancel_grace", LIMIT, secs(10), "How long it has to end when it is cancelled."),
        memory_bytes: t.optional("memory", SIZE, "How much memory it may use."),
        user: t.optional("user", NAME, "As whom it runs."),
        cwd: t.optional("cwd", PathForm, "The directory it runs in."),
        env: t.optional("env", NamesTo(TEXT), "Further variables of its environment.").unwrap_or_default(),
        network: t.or("network", Flag, true, "Whether it may use the network."),
        replaces_declared: false,
    }
}

/// Reads `[exporter]`.
pub fn read_exporter(t: &mut Table<'_, '_>) -> External {
    let external = read_external(t);
    let all = t.or(
        "replaces_declared",
        Flag,
        false,
        "It exports everything; nothing else of the manifest is exported.",
    );
    External { replaces_declared: all, ..external }
}

/// Reads `[importer]`.
pub fn read_importer(t: &mut Table<'_, '_>) -> External {
    read_external(t)
}

/// Reads `[log]`: the least severity that is kept.
pub fn read_log(t: &mut Table<'_, '_>) -> Severity {
    t.or("level", Word::new(), Severity::Info, "The least severity that is kept.")
}

/// What a module may use of the machine; nothing is limited unless it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes read per second.
    pub read_bytes_per_sec: Option<u64>,
    /// Niceness of its programs, -20 to 19.
    pub nice: Option<i8>,
    /// Streams of its programs at a time.
    pub max_streams: Option<u32>,
    /// Most bytes of one backup.
    pub max_bytes: Option<u64>,
    /// Longest backup.
    pub max_duration: Option<Duration>,
}

const RATE: Parsed<u64> = Parsed {
    what: "a size a second with its unit, such as 50M",
    pattern: "^\\s*[0-9]+\\s*[A-Za-z]+(/s)?\\s*$",
    read: |text| match units::size(text.trim().trim_end_matches("/s"))? {
        0 => Err("a rate of nothing would never end".into()),
        rate => Ok(rate),
    },
    show: |rate| units::show_size(*rate),
};

/// Reads `[limits]`.
pub fn read_limits(t: &mut Table<'_, '_>) -> Limits {
    Limits {
        read_bytes_per_sec: t.optional("read_rate", RATE, "Bytes read per second, such as 50M."),
        nice: t
            .optional("nice", Count(-20, 19), "Niceness of its programs.")
            .and_then(|nice| i8::try_from(nice).ok()),
        max_streams: t
            .optional("max_streams", Count(1, 1024), "Streams of its programs at a time.")
            .and_then(|n| u32::try_from(n).ok()),
        max_bytes: t.optional("max_bytes", SIZE, "Most bytes of one backup; beyond it the module fails."),
        max_duration: t.or("max_duration", LIMIT, None, "Longest backup; beyond it the module fails."),
    }
}
