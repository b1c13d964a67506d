//! What would act on rows as they come: kept from it while a table is loaded.

use super::catalog::text;
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
        // That of a part belongs to the roof, and is taken out there.
        let of_roofs =
            format!("(SELECT {of} UNION SELECT relid FROM pg_catalog.pg_partition_ancestors({of}))");
        let keys = self.ask(
            &doing,
            &format!(
                "SELECT conrelid::pg_catalog.regclass, conname, pg_catalog.pg_get_constraintdef(oid) \
                 FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conparentid = 0 AND (conrelid IN {of_roofs} OR confrelid IN {of_roofs})"
            ),
        );
        for key in keys? {
            let (of, constraint, definition) = (text(&key, 0), name(text(&key, 1)), text(&key, 2));
            self.run(&doing, &format!("ALTER TABLE {of} DROP CONSTRAINT {constraint}"))?;
            self.back.push(format!("ALTER TABLE {of} ADD CONSTRAINT {constraint} {definition}"));
        }
        let triggers = format!(
            "SELECT 'TRIGGER', tgname, tgenabled FROM pg_catalog.pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgrelid = {of} \
             UNION ALL SELECT 'RULE', rulename, ev_enabled FROM pg_catalog.pg_rewrite WHERE ev_enabled <> 'D' AND ev_class = {of}"
        );
        for acting in self.ask(&doing, &triggers)? {
            let (named, how) = (format!("{} {}", text(&acting, 0), name(text(&acting, 1))), text(&acting, 2));
            let how = match how {
                "A" => "ENABLE ALWAYS",
                "R" => "ENABLE REPLICA",
                _ => "ENABLE",
            };
            self.run(&doing, &format!("ALTER TABLE {quoted} DISABLE {named}"))?;
            self.back.push(format!("ALTER TABLE {quoted} {how} {named}"));
        }
        // A column that always counts for itself would take no other value from a merge. Those of parts are the roof's.
        let counted = format!(
            "SELECT attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
             WHERE a.attidentity = 'a' AND NOT a.attisdropped AND NOT c.relispartition AND c.oid = {of}"
        );
        let counted = self.ask(&doing, &counted)?;
        for column in counted.iter().filter(|column| !table.key.iter().any(|key| key == text(column, 0))) {
            let alter =
                format!("ALTER TABLE ONLY {quoted} ALTER COLUMN {} SET GENERATED", name(text(column, 0)));
            self.run(&doing, &format!("{alter} BY DEFAULT"))?;
            self.back.push(format!("{alter} ALWAYS"));
        }
        Ok(())
    }
}
