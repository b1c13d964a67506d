//! The root of what is read: the running system, or a filesystem snapshot of it.

use super::{Run, RunError};
use crate::manifest::job::UseSnapshot;
use std::path::Path;

/// What is read.
pub(super) enum Root {
    /// The running system, which must stand still meanwhile.
    System,
}

impl Root {
    /// Returns the directory that stands for `/`.
    pub fn base(&self) -> &Path {
        match self {
            Self::System => Path::new("/"),
        }
    }

    /// Returns whether it stays as it is while the system goes on.
    pub fn is_snapshot(&self) -> bool {
        match self {
            Self::System => false,
        }
    }
}

impl Run<'_, '_> {
    /// Chooses what will be read.
    pub(super) fn choose_root(&mut self) -> Result<Root, RunError> {
        match self.job.use_snapshot {
            UseSnapshot::Require => Err(RunError::NoSnapshot("no provider covers all declared paths".into())),
            UseSnapshot::Auto | UseSnapshot::Off => Ok(Root::System),
        }
    }

    /// Takes the snapshot, if that was chosen.
    pub(super) fn take(&mut self, root: Root) -> Result<Root, RunError> {
        Ok(root)
    }

    /// Lets go of it after the last read.
    pub(super) fn release(&mut self, root: Root) {
        match root {
            Root::System => {}
        }
    }
}
