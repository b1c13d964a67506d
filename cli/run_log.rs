//! The log of a run: kept in a file, and told on standard error as far as somebody wants it.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use dedup_modules::id::ModuleId;
use dedup_modules::log::Log;
use dedup_modules::manifest::programs::Severity;
use dedup_modules::runlog::{RunId, Writer, store};
use jiff::Timestamp;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Returns where logs are kept.
pub fn dir(state_dir: &Path) -> PathBuf {
    state_dir.join("logs")
}

/// Messages on standard error only: warnings always, more with `-v`.
pub struct Told(pub Output);

/// Messages that are kept as well.
pub struct RunLog {
    told: Told,
    dir: PathBuf,
    path: PathBuf,
    least: Severity,
    file: Mutex<Option<Writer<File>>>,
}

/// Whose run it is, and what its log keeps.
#[derive(Clone, Debug)]
pub struct LogOf {
    /// The job.
    pub job: Option<ModuleId>,
    /// User and group who are given the file.
    pub owner: Option<(u32, u32)>,
    /// The least severity that is kept.
    pub level: Severity,
}

impl Default for LogOf {
    fn default() -> Self {
        Self { job: None, owner: None, level: Severity::Debug }
    }
}

impl Log for Told {
    fn log(&self, level: Severity, module: Option<&ModuleId>, message: &str) {
        let text = module.map_or_else(|| message.to_owned(), |module| format!("{module}: {message}"));
        match level {
            Severity::Notice | Severity::Info if self.0.verbose > 0 => self.0.detail(&text),
            Severity::Debug if self.0.verbose > 1 => self.0.detail(&text),
            Severity::Notice | Severity::Info | Severity::Debug => {}
            _ => self.0.warning(&text),
        }
    }
}

impl RunLog {
    /// Begins the log of a run.
    pub fn begin(
        output: Output,
        state_dir: &Path,
        run: &str,
        operation: &str,
        of: &LogOf,
    ) -> Result<Self, Failure> {
        let dir = dir(state_dir);
        let id = RunId::parse(run).map_err(|error| Failure::refused(error.to_string()))?;
        let now = Timestamp::now();
        let writer = store::create(&dir, &id, of.owner)
            .and_then(|file| Writer::begin_of_job(file, &id, operation, of.job.as_ref(), now))
            .map_err(|error| Failure::io(format!("cannot begin the log in {}", dir.display()), &error))?;
        let path = store::path_of(&dir, &id);
        Ok(Self { told: Told(output), dir, path, least: of.level, file: Mutex::new(Some(writer)) })
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes something into the log that the person is told in another way.
    pub fn note(&self, level: Severity, module: Option<&ModuleId>, message: &str) {
        // From the most severe on.
        if level > self.least {
            return;
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = file.as_mut() else { return };
        if let Err(error) = writer.event(Timestamp::now(), level, module, message) {
            // Once; a full disk is told by whoever needs it more.
            *file = None;
            self.told.0.warning(&format!("the log in {} ends here: {error}", self.dir.display()));
        }
    }

    /// Ends the log; logs that are too many or too old go.
    pub fn finish(&self, exit: Exit) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = file.take() else { return };
        let finished = writer.finish(Timestamp::now(), exit.meaning(), exit.code());
        let rotated = store::rotate(&self.dir, Timestamp::now());
        if let Err(error) = finished.map(drop).and(rotated.map(drop)) {
            self.told.0.warning(&format!("the log in {} is not whole: {error}", self.dir.display()));
        }
    }
}

impl Log for RunLog {
    fn log(&self, level: Severity, module: Option<&ModuleId>, message: &str) {
        self.told.log(level, module, message);
        self.note(level, module, message);
    }
}
