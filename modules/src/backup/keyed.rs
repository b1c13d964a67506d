//! Streams of exporters that have keys: their rows in maps.

use super::exporters::Host;
use crate::external::{StoreError, store_keyed};
use crate::protocol::Opened;
use crate::records::{RecordError, SortRoom};
use dedup_engine::backup::StreamRequest;
use std::io::Read;

impl Host<'_, '_, '_, '_> {
    /// Stores a stream of rows under the key that it names.
    pub(super) fn store_keyed(
        &mut self,
        opened: &Opened,
        facts: Vec<(String, String)>,
        request: &StreamRequest<'_>,
        read: &mut dyn Read,
    ) -> Result<(), StoreError> {
        let directory = self.run.conduct.machine.state_dir.to_owned();
        let room = SortRoom { directory, bytes: SortRoom::BYTES };
        let (name, mut blob) = (opened.name.as_str(), Vec::new());
        let stored = self.parts.records(request, |entries| {
            blob = store_keyed(read, name, &opened.key, facts, entries, &room)?;
            Ok::<_, RecordError>(())
        });
        let mut report = match stored {
            Ok(report) => report,
            // Nothing more can be stored.
            Err(RecordError::Backup(error)) => return Err(self.abort(error)),
            Err(error) => return Err(StoreError::Lost(error.to_string())),
        };
        let schema = self.parts.blob(request.module, request.section, &blob);
        report.dump.schema = schema.map_err(|error| self.abort(error))?;
        self.reports.push((name.to_owned(), report));
        Ok(())
    }
}
