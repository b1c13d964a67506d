//! The live phase: everything runs; what needs that is dumped now.

use super::{Run, RunError};
use crate::manifest::drivers::SourcePhase;
use crate::manifest::hooks::HookPhase;
use dedup_engine::backup::Parts;

impl Run<'_, '_> {
    /// Runs the hooks of this phase and dumps the sources of it.
    pub(super) fn live(&mut self, parts: &mut Parts<'_>) -> Result<(), RunError> {
        self.conduct.make_due()?;
        self.conduct.run_pre(HookPhase::Live)?;
        self.dump(parts, SourcePhase::Live)
    }
}
