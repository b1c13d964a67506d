//! Modules as they are on this machine: what their manifests say, with every path, program and service resolved.
//!
//! A [`Member`] takes part in one run; [`halts`] says which services a run stops for all of its members together.

mod halts;
mod points;

pub use halts::{Halt, halts};
pub use points::Point;

use crate::hooks::HookError;
use crate::id::ModuleId;
use crate::lockdown::{LockSpec, LockdownError};
use crate::manifest::Manifest;
use crate::manifest::items::{Item, ItemsError};
use crate::manifest::paths::Variables;
use crate::manifest::services::Operation;
use crate::services::ServiceError;

/// A module that takes part in a run.
#[derive(Debug)]
pub struct Member<'m> {
    /// What its manifest says.
    pub manifest: &'m Manifest,
    /// The text of the manifest, which goes into the snapshot.
    pub text: &'m [u8],
    /// The values of path variables here.
    pub variables: &'m Variables,
    /// Every declared path.
    pub items: Vec<Item<'m>>,
    /// How users are kept out.
    pub lock: Option<LockSpec>,
    /// Whether a lockdown that fails fails the module.
    pub lock_required: bool,
    /// Its hooks before the work of the run, in order.
    pub pre: Vec<Point>,
    /// Its hooks after it, in order.
    pub post: Vec<Point>,
}

/// Why a module cannot be resolved on this machine; nothing was touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// A declared path has no meaning here.
    #[error("module {module}: {source}")]
    Items {
        /// The module.
        module: ModuleId,
        /// Why.
        source: ItemsError,
    },
    /// A service has none.
    #[error("module {module}: service {service}: {source}")]
    Service {
        /// The module.
        module: ModuleId,
        /// The service.
        service: String,
        /// Why.
        source: ServiceError,
    },
    /// A hook has none.
    #[error("module {module}: {source}")]
    Hook {
        /// The module.
        module: ModuleId,
        /// Why.
        source: HookError,
    },
    /// The lockdown has none.
    #[error("module {module}: {source}")]
    Lockdown {
        /// The module.
        module: ModuleId,
        /// Why.
        source: LockdownError,
    },
}

impl<'m> Member<'m> {
    /// Resolves a module for a run.
    pub fn new(
        manifest: &'m Manifest,
        text: &'m [u8],
        variables: &'m Variables,
        operation: Operation,
    ) -> Result<Self, MemberError> {
        let module = || manifest.module.id.clone();
        let items =
            manifest.items(variables).map_err(|source| MemberError::Items { module: module(), source })?;
        let lock = manifest.lockdown.as_ref().map(|lockdown| LockSpec::of(lockdown, variables));
        let lock = lock.transpose().map_err(|source| MemberError::Lockdown { module: module(), source })?;
        let (pre, post) = match operation {
            Operation::Backup => (&manifest.hooks.backup_pre, &manifest.hooks.backup_post),
            Operation::Restore => (&manifest.hooks.restore_pre, &manifest.hooks.restore_post),
        };
        let points = |hooks: &[_]| points::resolve(hooks, manifest, variables, operation);
        Ok(Self {
            manifest,
            text,
            variables,
            items,
            lock,
            lock_required: manifest.lockdown.as_ref().is_some_and(|lockdown| lockdown.required),
            pre: points(pre).map_err(|source| MemberError::Hook { module: module(), source })?,
            post: points(post).map_err(|source| MemberError::Hook { module: module(), source })?,
        })
    }

    /// Returns its id.
    pub fn id(&self) -> &'m ModuleId {
        &self.manifest.module.id
    }
}
