//! What the rooms' own tests share: a machine whose messages are remembered.

use crate::child::Surroundings;
use crate::id::ModuleId;
use crate::log::Log;
use crate::machine::Machine;
use crate::manifest::programs::Severity;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// A machine with a directory of its own, whose programs come first in `PATH`.
pub(crate) struct TestMachine {
    pub(crate) scratch: tempfile::TempDir,
    around: Surroundings,
    log: Remembered,
}

#[derive(Default)]
struct Remembered(Mutex<Vec<(Severity, String)>>);

impl Log for Remembered {
    fn log(&self, level: Severity, module: Option<&ModuleId>, message: &str) {
        let of = module.map(|module| format!("{module}: ")).unwrap_or_default();
        self.0.lock().unwrap().push((level, format!("{of}{message}")));
    }
}

impl TestMachine {
    pub(crate) fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}/bin:/usr/sbin:/usr/bin:/sbin:/bin", scratch.path().display());
        fs::create_dir(scratch.path().join("bin")).unwrap();
        Self {
            scratch,
            around: Surroundings::of(vec![("PATH".into(), path.into())]),
            log: Remembered::default(),
        }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.scratch.path().join(below)
    }

    /// Makes a script; returns its path.
    pub(crate) fn script(&self, below: &str, text: &str) -> String {
        let path = self.path(below);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// Makes programs look as if there were no others.
    pub(crate) fn without_system(mut self) -> Self {
        let path = self.path("bin").into_os_string();
        self.around = Surroundings::of(vec![("PATH".into(), path)]);
        self
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&Machine<'_>) -> T) -> T {
        work(&Machine {
            run: "run-1",
            around: &self.around,
            log: &self.log,
            state_dir: self.scratch.path(),
            cancelled: &|| false,
            elapsed: &|| Duration::ZERO,
        })
    }

    /// Returns what was told so far.
    pub(crate) fn told(&self) -> Vec<(Severity, String)> {
        self.log.0.lock().unwrap().clone()
    }
}
