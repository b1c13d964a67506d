//! Sources as records: their rows in maps.

use super::sources::{Dumped, failed};
use super::{Run, RunError};
use crate::conduct::source_item;
use crate::manifest::sources::Source;
use crate::records::{Exported, RecordError, Selection, SortRoom, export};
use crate::sources::{Said, SourceSpec, World, open_records};
use dedup_engine::backup::{Parts, StreamRequest};
use dedup_engine::snapshot::Outcome;

impl Run<'_, '_> {
    /// Dumps the rows of a source.
    pub(super) fn dump_records(
        &self,
        parts: &mut Parts<'_>,
        at: usize,
        source: &Source,
        (spec, world, said): (&SourceSpec, World<'_>, &mut Said<'_>),
    ) -> Result<Dumped, RunError> {
        let opened = match open_records(spec, world, said) {
            Ok(opened) => opened,
            Err(error) => return Ok(failed(&error)),
        };
        let (module, section) = (self.job.members[at].id().as_str(), source.section.into());
        let room = SortRoom { directory: self.conduct.machine.state_dir.to_owned(), bytes: SortRoom::BYTES };
        let (selection, kind) = (self.selection(at, source), source.driver.to_string());
        let request = StreamRequest { module, section, name: &source.name, kind: &kind, mtime: None };
        let mut exported = Exported::default();
        let stored = parts.records(&request, |entries| {
            exported = export(opened, &selection, entries, &room)?;
            Ok::<_, RecordError>(())
        });
        let mut report = match stored {
            Ok(report) => report,
            // Nothing more can be stored.
            Err(RecordError::Backup(error)) => return Err(error.into()),
            Err(error) => return Ok(failed(&error.into())),
        };
        report.dump.schema = parts.blob(module, section, &exported.blob)?;
        let absent = exported.schema.absent.iter().map(|table| {
            let name = format!("{}:{table}", source_item(&source.name));
            (name, Outcome::Absent, "there is no such table".to_owned())
        });
        Ok(Dumped::Stored {
            report: Box::new(report),
            beside: absent.collect(),
            notices: exported.notices,
            flaw: None,
        })
    }

    /// Returns what is meant of a source.
    fn selection(&self, at: usize, source: &Source) -> Selection {
        let members = self.job.members.iter().enumerate().filter(|(other, _)| *other != at);
        let theirs = members.flat_map(|(_, member)| &member.manifest.sources);
        let of_others = theirs.flat_map(|theirs| theirs.select.tables.clone()).collect();
        Selection { select: source.select.clone(), own: None, of_others }
    }
}
