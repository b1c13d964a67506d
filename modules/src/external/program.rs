//! What a manifest says of an exporter or importer, made a program that can be started.

use super::desk::Desk;
use super::error::ExternalError;
use super::memory::Fence;
use super::talker::{Around, Talker};
use crate::child;
use crate::id::ModuleId;
use crate::machine::Machine;
use crate::manifest::Manifest;
use crate::manifest::paths::Variables;
use crate::manifest::programs::{External, Program, Severity};
use crate::manifest::words::Words;
use crate::protocol::{GRACE, Offer, Op, Opening};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Takes a message of a module.
pub type Log<'a> = &'a dyn Fn(Severity, &str);

/// One operation of a program, and what it works with.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The program.
    pub spec: &'a Spec,
    /// The run.
    pub run: &'a str,
    /// What is read in place of `/`.
    pub root: &'a Path,
    /// Where spaces are.
    pub spaces_dir: &'a Path,
    /// Takes its messages.
    pub log: Log<'a>,
    /// What is offered: everything, but to see what a program makes of less.
    pub offer: Offer,
    /// The rest.
    pub world: Around<'a>,
}

impl Job<'_> {
    /// Makes an operation of a run for a module: its messages go to the log of the run, and what cancels the run cancels it.
    pub fn of_run<T>(
        spec: &Spec,
        module: &ModuleId,
        machine: &Machine<'_>,
        work: impl FnOnce(&Job<'_>) -> T,
    ) -> T {
        let around = machine.around_of_run();
        let log = |level: Severity, text: &str| machine.log.log(level, Some(module), text);
        let (cancelled, elapsed) = (|| (machine.cancelled)(), || (machine.elapsed)());
        work(&Job {
            spec,
            run: machine.run,
            root: Path::new("/"),
            spaces_dir: &machine.state_dir.join("spaces"),
            log: &log,
            offer: Offer::default(),
            world: Around { around: &around, cancelled: &cancelled, elapsed: &elapsed },
        })
    }
}

impl<'a> Job<'a> {
    /// Starts an operation, and says if the limit of memory that is asked for does not hold.
    pub(super) fn start(&self, op: Op) -> Result<Talker<'a>, ExternalError> {
        let (fence, missing) = self.spec.fence(op, self.run);
        if missing {
            let why = "its limit of memory is not enforced: no control group can be made here";
            (self.log)(Severity::Warning, why);
        }
        let opening = self.spec.opening(op, self.run, self.root, fence.is_some(), self.offer);
        Talker::start(&self.spec.program(op, self.run), &opening, fence, self.world)
    }

    /// Makes what answers for it.
    pub(super) fn desk(&self) -> Desk {
        Desk::new(self.spaces_dir, &self.spec.module, self.spec.is_foreign())
    }
}

/// A program of a module with everything resolved; it can stand in an undo journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The module.
    pub module: String,
    version: String,
    argv: Vec<String>,
    /// As whom it runs, if not as this program.
    pub user: Option<String>,
    cwd: Option<PathBuf>,
    env: Vec<(String, String)>,
    /// The path variables here.
    pub values: Vec<(String, PathBuf)>,
    level: String,
    idle: Option<Duration>,
    total: Option<Duration>,
    grace: Duration,
    memory_bytes: Option<u64>,
}

impl Spec {
    /// Resolves what a manifest says.
    pub fn of(
        external: &External,
        manifest: &Manifest,
        variables: &Variables,
    ) -> Result<Self, ExternalError> {
        let argv = match &external.program {
            Program::Command(argv) => argv.clone(),
            Program::Builtin(name) => return Err(ExternalError::Builtin(name.clone())),
        };
        let cwd = external.cwd.as_ref().map(|cwd| cwd.resolve(variables)).transpose()?;
        Ok(Self {
            module: manifest.module.id.to_string(),
            version: manifest.module.version.to_string(),
            argv,
            user: external.user.clone(),
            cwd,
            env: external.env.clone(),
            values: variables.iter().map(|(name, path)| (name.to_owned(), path.to_owned())).collect(),
            level: manifest.log_level.to_string(),
            idle: external.idle_timeout,
            total: external.timeout,
            grace: external.cancel_grace.unwrap_or(GRACE),
            memory_bytes: external.memory_bytes,
        })
    }

    /// Returns whether it runs as somebody else.
    pub fn is_foreign(&self) -> bool {
        self.user.is_some()
    }

    /// Returns the program for an operation.
    pub(super) fn program(&self, op: Op, run: &str) -> child::Program {
        let mut env: Vec<_> = self.env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let own = [
            ("DEDUP_PROTOCOL", crate::protocol::VERSION.to_string()),
            ("DEDUP_RUN", run.to_owned()),
            ("DEDUP_MODULE", self.module.clone()),
            ("DEDUP_OPERATION", op.to_string()),
        ];
        env.extend(own.map(|(name, value)| (name.into(), value.into())));
        child::Program {
            argv: self.argv.iter().map(Into::into).collect(),
            user: self.user.clone(),
            cwd: self.cwd.clone(),
            env,
        }
    }

    /// Makes the limit of memory; whether one is asked for and cannot be.
    pub(super) fn fence(&self, op: Op, run: &str) -> (Option<Fence>, bool) {
        match self.memory_bytes {
            None => (None, false),
            Some(bytes) => {
                let fence = Fence::new(&format!("{run}-{}-{op}", self.module), bytes);
                let missing = fence.is_none();
                (fence, missing)
            }
        }
    }

    /// Returns what the engine says first.
    pub(super) fn opening(&self, op: Op, run: &str, root: &Path, fenced: bool, offer: Offer) -> Opening {
        Opening {
            op,
            engine: concat!("dedup ", env!("CARGO_PKG_VERSION")).into(),
            module: self.module.clone(),
            version: self.version.clone(),
            run: run.to_owned(),
            root: root.to_owned(),
            values: self.values.clone(),
            level: Severity::from_word(&self.level).unwrap_or(Severity::Info),
            idle: self.idle,
            total: self.total,
            grace: self.grace,
            memory_bytes: self.memory_bytes.filter(|_| fenced),
            offer,
        }
    }
}
