//! The live phase: everything runs; what needs that is dumped and exported now.

use super::{Run, RunError};
use crate::manifest::drivers::SourcePhase;
use crate::manifest::hooks::HookPhase;
use dedup_engine::backup::Parts;
use dedup_engine::snapshot::Outcome;

/// Why settings are not in a snapshot.
pub(super) const NO_SETTINGS: &str = "no description of the platform says how its settings are read";

impl Run<'_, '_> {
    /// Runs the hooks of this phase and dumps the sources of it.
    pub(super) fn live(&mut self, parts: &mut Parts<'_>) -> Result<(), RunError> {
        self.conduct.make_due()?;
        self.tell_unsupported();
        self.conduct.run_pre(HookPhase::Live)?;
        self.export_live(parts)?;
        self.dump(parts, SourcePhase::Live)
    }

    /// Tells of what is declared and cannot be done: nothing is passed over in silence.
    fn tell_unsupported(&mut self) {
        for at in self.conduct.members_in() {
            let manifest = self.job.members[at].manifest;
            if !manifest.settings.is_empty() {
                self.item(at, "settings".into(), Outcome::Failed, NO_SETTINGS.into());
            }
        }
    }
}
