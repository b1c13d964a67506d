//! What a run tells while it goes on: one line at a time, with how much it matters and whom it concerns.

use crate::id::ModuleId;
use crate::manifest::programs::Severity;

/// Takes what a run tells; calls may come from several threads.
///
/// A message is one line without its end, may hold what a program printed (made printable), and never a secret.
pub trait Log: Sync {
    /// Takes one message; without a module it concerns the run.
    fn log(&self, level: Severity, module: Option<&ModuleId>, message: &str);
}
