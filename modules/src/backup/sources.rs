//! Sources: what must be asked for its data, streamed into dumps.

use super::standing::source_item;
use super::{Run, RunError};
use crate::manifest::drivers::SourcePhase;
use dedup_engine::backup::Parts;
use dedup_engine::snapshot::Outcome;

impl Run<'_, '_> {
    /// Dumps the sources of a phase, of all members that still take part.
    pub(super) fn dump(&mut self, _parts: &mut Parts<'_>, phase: SourcePhase) -> Result<(), RunError> {
        let members = self.job.members;
        for at in self.members_in() {
            for source in members[at].manifest.sources.iter().filter(|source| source.phase == phase) {
                self.unless_cancelled()?;
                let why = format!("the driver {} is not built in", source.driver);
                self.item(at, source_item(&source.name), Outcome::Failed, why);
            }
        }
        Ok(())
    }
}
