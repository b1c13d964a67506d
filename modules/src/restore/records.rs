//! Sources that are records: their rows back into a database.

use super::Run;
use super::put::PutError;
use crate::manifest::programs::Severity;
use crate::manifest::sources::Source;
use crate::records::{
    ImportOptions, ImportRequest, Imported, RecordError, Selection, StoredSource, Told, import,
};
use crate::sources::{FileOwner, Head, LoadOptions, SourceSpec, World, open_load};
use dedup_engine::progress::Event;
use dedup_engine::snapshot::Dump;

impl Run<'_, '_> {
    pub(super) fn load_records(
        &mut self,
        at: usize,
        dump: &Dump,
        source: &Source,
        spec: &SourceSpec,
    ) -> Result<(), PutError> {
        let member = &self.job.members[at];
        let failed = |why: String| PutError::Module(format!("source {}: {why}", dump.name));
        let stored = StoredSource::open(self.job.repo, dump).map_err(|error| failed(error.to_string()))?;
        let (machine, log) = (self.conduct.machine, self.conduct.machine.log);
        let cancelled = || (machine.cancelled)();
        let around = machine.around_of_run();
        let world = World { around: &around, cancelled: &cancelled };
        let mut said = |text: &str| log.log(Severity::Notice, Some(member.id()), text);
        let owner = stored.schema.facts.iter().find(|(name, _)| name == "owner");
        let owner = owner.and_then(|(_, text)| FileOwner::parse(text));
        let options = LoadOptions { owner, in_use: None };
        let mut load =
            open_load(spec, options, world, &mut said).map_err(|error| failed(error.to_string()))?;
        load.hear(&Head { facts: stored.schema.facts.clone(), ..Head::default() });
        load.check().map_err(|error| failed(error.to_string()))?;
        let (request, mut imported, events) = (request(source), Imported::default(), self.job.events);
        let path = dump.name.clone().into_bytes();
        let tell = |entries, bytes| events.event(Event::Done { entries, bytes, path: Some(path.clone()) });
        let mut put = |target: Box<dyn crate::records::RecordTarget + '_>| -> Result<(), RecordError> {
            let told = Box::new(Told::new(target, &tell));
            imported = import(&stored.reader(), &stored.schema, told, &request)?;
            Ok(())
        };
        let beside = load.beside().map(|way| self.note_beside(at, spec, way)).transpose()?;
        let prepared = load.prepare_records(&mut put).map_err(|error| failed(error.to_string()));
        self.note_prepared(at, spec, world, beside, prepared)?;
        let taken = match load.takes_away().map_err(|error| failed(error.to_string()))? {
            Some(way) => Some(self.note_way(at, spec, way)?),
            None => None,
        };
        load.put_records(&mut put).map_err(|error| failed(error.to_string()))?;
        if let Some(ticket) = taken {
            self.strike_out(at, ticket)?;
        }
        let standing = &mut self.conduct.standings[at];
        for warning in &imported.warnings {
            let warning = format!("source {}: {warning}", dump.name);
            log.log(Severity::Warning, Some(member.id()), &warning);
            standing.warn(warning);
        }
        if imported.refused > 0 {
            standing.partial(format!("source {}: {} rows were refused", dump.name, imported.refused));
        }
        Ok(())
    }
}

/// What the installed manifest says of an import; nothing of it comes from the snapshot.
pub(super) fn request(source: &Source) -> ImportRequest<'static> {
    let options = ImportOptions {
        import: source.import,
        scope: source.scope,
        transaction: source.transaction,
        row_errors: source.row_errors,
        defer_constraints: source.defer_constraints,
        refresh_statistics: source.refresh_statistics,
        batch_rows: source.batch_rows,
    };
    ImportRequest {
        options,
        missing_columns: source.missing_columns,
        extra_rows: source.extra_rows,
        selection: Selection { select: source.select.clone(), ..Selection::default() },
        only: None,
    }
}
