//! What would act on rows as they come: kept from it while a table is loaded.

use super::catalog::{engine, text};
use super::import::PostgresTarget;
use super::quote::{literal, name, path};
use crate::records::{RecordError, TableSchema};

impl PostgresTarget<'_> {
    /// Keeps foreign keys and triggers from acting on the rows of a table.
    pub(super) fn make_ready(&mut self, table: &TableSchema) -> Result<(), RecordError> {
        if !self.ready.insert(table.name.clone()) {
            return Ok(());
        }
        let (doing, quoted) = (format!("make table {} ready", table.name), path(&table.name));
        let of = format!("{}::pg_catalog.regclass", literal(&quoted));
        let keys = self.session.ask(
            &doing,
            &format!(
                "SELECT conrelid::pg_catalog.regclass, conname, pg_catalog.pg_get_constraintdef(oid) \
                 FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conparentid = 0 AND (conrelid = {of} OR confrelid = {of})"
            ),
        );
        for key in keys.map_err(engine)? {
            let (of, constraint, definition) = (text(&key, 0), name(text(&key, 1)), text(&key, 2));
            self.run(&doing, &format!("ALTER TABLE {of} DROP CONSTRAINT {constraint}"))?;
            self.back.push(format!("ALTER TABLE {of} ADD CONSTRAINT {constraint} {definition}"));
        }
        let triggers = self.session.ask(
            &doing,
            &format!("SELECT tgname, tgenabled FROM pg_catalog.pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgrelid = {of}"),
        );
        for trigger in triggers.map_err(engine)? {
            let (trigger, how) = (name(text(&trigger, 0)), text(&trigger, 1));
            let how = match how {
                "A" => "ENABLE ALWAYS",
                "R" => "ENABLE REPLICA",
                _ => "ENABLE",
            };
            self.run(&doing, &format!("ALTER TABLE {quoted} DISABLE TRIGGER {trigger}"))?;
            self.back.push(format!("ALTER TABLE {quoted} {how} TRIGGER {trigger}"));
        }
        Ok(())
    }
}
