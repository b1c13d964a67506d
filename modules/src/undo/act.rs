//! What can be undone, and how.

use crate::hooks::{HookContext, HookEnd, ResolvedHook, run_hook};
use crate::id::ModuleId;
use crate::lockdown::LockSpec;
use crate::machine::Machine;
use crate::services::{Noted, ServiceSpec, Services};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

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
            Self::StartService { module, .. } | Self::Unlock { module, .. } => Some(module),
            Self::Hook { context, .. } => context.module.as_ref(),
            Self::RemoveDir { .. } => None,
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
            Self::RemoveDir { path } => match std::fs::remove_dir_all(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error.to_string()),
                _ => Ok(()),
            },
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
            Self::RemoveDir { path } => write!(f, "remove {}", path.display()),
        }
    }
}
