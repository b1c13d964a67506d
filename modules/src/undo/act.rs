//! What can be undone, and how.

use crate::external::{self, Spec};
use crate::files::{AsideError, aside_places, settle, take_back};
use crate::fsnap::{self, FsSnapshotRef};
use crate::hooks::{HookContext, HookEnd, ResolvedHook, run_hook};
use crate::id::ModuleId;
use crate::lockdown::LockSpec;
use crate::machine::Machine;
use crate::planted::{Bug, planted};
use crate::services::{Noted, ServiceSpec, Services};
use crate::sources::{WayBack, World};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The target of every restore in place.
pub(super) const PLACE: &str = "/";

/// Something a run did that must not stay.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// A service was stopped.
    StartService {
        /// The module.
        module: ModuleId,
        /// The service.
        service: ServiceSpec,
        /// What of it ran.
        noted: Noted,
    },
    /// A module is locked.
    Unlock {
        /// The module.
        module: ModuleId,
        /// How.
        lock: LockSpec,
    },
    /// Hooks have run whose counterpart is due.
    Hook {
        /// The counterpart.
        hook: ResolvedHook,
        /// What it is told.
        context: HookContext,
    },
    /// A filesystem snapshot is taken.
    DeleteSnapshot {
        /// Which.
        snapshot: FsSnapshotRef,
    },
    /// Files of a module are being replaced.
    TakeBack {
        /// The module.
        module: ModuleId,
        /// The log of what was kept aside.
        log: PathBuf,
    },
    /// A source of a module is being replaced.
    PutBack {
        /// The module.
        module: ModuleId,
        /// The source.
        source: String,
        /// How it comes back.
        way: WayBack,
    },
    /// Files are being written beside a source, which is not touched yet.
    RemoveBeside {
        /// The module.
        module: ModuleId,
        /// The source.
        source: String,
        /// What its files are.
        way: WayBack,
    },
    /// An importer was at work.
    Importer {
        /// The module.
        module: ModuleId,
        /// Its program.
        spec: Box<Spec>,
        /// The spaces there were before.
        before: Vec<String>,
    },
    /// A directory of the run's own.
    RemoveDir {
        /// Which.
        path: PathBuf,
    },
}

impl Undo {
    /// Returns the module that it concerns, if it is one.
    pub fn module(&self) -> Option<&ModuleId> {
        match self {
            Self::StartService { module, .. }
            | Self::Unlock { module, .. }
            | Self::TakeBack { module, .. }
            | Self::PutBack { module, .. }
            | Self::RemoveBeside { module, .. }
            | Self::Importer { module, .. } => Some(module),
            Self::Hook { context, .. } => context.module.as_ref(),
            Self::DeleteSnapshot { .. } | Self::RemoveDir { .. } => None,
        }
    }

    /// Undoes it. Once more does no harm.
    ///
    /// # Errors
    /// Why it failed, for people.
    pub fn carry_out(&self, machine: &Machine<'_>) -> Result<(), String> {
        match self {
            Self::StartService { service, noted, .. } => {
                Services::new(machine).start(service, noted).map_err(|error| error.to_string())
            }
            Self::Unlock { lock, .. } => lock.unlock(machine).map_err(|error| error.to_string()),
            Self::Hook { hook, context } => match run_hook(hook, context, machine) {
                HookEnd::Done | HookEnd::SkipModule => Ok(()),
                HookEnd::Failed(why) => Err(why),
            },
            Self::DeleteSnapshot { snapshot } => {
                fsnap::delete(machine.around, snapshot).map_err(|error| error.to_string())
            }
            Self::TakeBack { log, .. } => {
                let taken = match take_back(Path::new(PLACE), log) {
                    // Nothing was begun, or it was undone already and the log removed.
                    Err(AsideError::Log { source, .. }) if source.kind() == ErrorKind::NotFound => {
                        return Ok(());
                    }
                    taken => taken.map_err(|error| error.to_string())?,
                };
                if !taken.left.is_empty() {
                    let more =
                        if taken.more > 0 { format!(", and {} more", taken.more) } else { String::new() };
                    return Err(format!("these are not as they were: {}{more}", taken.left.join(", ")));
                }
                match std::fs::remove_file(log) {
                    Err(error) if error.kind() != ErrorKind::NotFound => Err(error.to_string()),
                    _ => Ok(()),
                }
            }
            Self::PutBack { way, .. } => {
                // To be finished whatever the person wants: half of it would be neither.
                let world = World { around: machine.around, cancelled: &|| false };
                way.put_back(world).map_err(|error| error.to_string())
            }
            Self::RemoveBeside { way, .. } => way.remove_beside().map_err(|error| error.to_string()),
            Self::Importer { spec, before, .. } => external::revert(spec, before, machine),
            Self::RemoveDir { path } => match std::fs::remove_dir_all(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error.to_string()),
                _ => Ok(()),
            },
        }
    }
}

impl Undo {
    /// Returns whether it has nothing left to undo, since its log is gone.
    pub(super) fn is_void(&self) -> bool {
        matches!(self, Self::TakeBack { log, .. } if !log.exists())
    }

    /// Returns the directories in which files are kept for undoing it.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        match self {
            Self::TakeBack { log, .. } => aside_places(Path::new(PLACE), log),
            _ => Vec::new(),
        }
    }

    /// Removes what was kept for undoing it, which is not wanted any more. `state_dir` is that of this machine.
    ///
    /// # Errors
    /// Why it failed, for people.
    pub fn discard(&self, state_dir: &Path) -> Result<(), String> {
        match self {
            Self::TakeBack { .. } if planted(Bug::KeepAside) => Ok(()),
            Self::TakeBack { log, .. } => settle(Path::new(PLACE), log).map_err(|error| error.to_string()),
            Self::PutBack { way, .. } => way.discard().map_err(|error| error.to_string()),
            Self::Importer { spec, before, .. } => external::close_spaces(spec, before, state_dir),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartService { service, .. } => write!(f, "start {}", service.name()),
            Self::Unlock { module, .. } => write!(f, "let the users of {module} in again"),
            Self::Hook { hook, context } => match &context.module {
                Some(module) => write!(f, "run the hook of {module} after the work, {hook}"),
                None => write!(f, "run the hook after the work, {hook}"),
            },
            Self::DeleteSnapshot { snapshot } => {
                write!(f, "delete the filesystem snapshot {}", snapshot.place.display())
            }
            Self::TakeBack { module, .. } => write!(f, "put the files of {module} back as they were"),
            Self::PutBack { module, source, .. } => {
                write!(f, "put the source {source} of {module} back as it was")
            }
            Self::RemoveBeside { module, source, .. } => {
                write!(f, "remove what was written beside the source {source} of {module}")
            }
            Self::Importer { module, .. } => write!(f, "undo what the importer of {module} did"),
            Self::RemoveDir { path } => write!(f, "remove {}", path.display()),
        }
    }
}
