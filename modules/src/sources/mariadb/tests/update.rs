//! Rows that hold only some columns: a key and a value out of an archive that has no more.

use super::super::records::MariadbTarget;
use super::*;
use crate::manifest::drivers::OnError;
use crate::records::{Batch, ImportOptions, RecordTarget, TableName, Value, WriteMode};

const OPTIONS: ImportOptions = ImportOptions {
    import: Import::Merge,
    scope: Scope::Table,
    transaction: true,
    row_errors: OnError::Fail,
    defer_constraints: false,
    refresh_statistics: false,
    batch_rows: 10,
};

#[test]
fn only_the_columns_that_are_given_change_and_nothing_of_others() {
    let (server, around) = (MariaDb::shared(), around());
    let name = fresh(server);
    server.sql(&format!(
        "USE {name}; CREATE TABLE settings (keyword VARCHAR(50) PRIMARY KEY, value TEXT, about TEXT, module VARCHAR(20)); \
         INSERT INTO settings VALUES ('A', 'old', 'of A', 'own'), ('B', 'old', 'of B', 'theirs')"
    ));
    let spec = records::records(mariadb(server, &name));
    let text = |text: &str| Value::Text(text.into());
    let put = |rows: &[Vec<Value>]| {
        let mut target =
            Box::new(MariadbTarget::open(&spec, World { around: &around, cancelled: &|| false }).unwrap());
        target.begin(&OPTIONS).unwrap();
        let table = target.table(&TableName::simple("settings").unwrap()).unwrap().unwrap();
        let batch =
            Batch { table: &table, columns: &["module", "keyword", "value"], rows, mode: WriteMode::Upsert };
        let updated = target.update(&batch, Some("`module` = 'own'")).unwrap();
        target.commit().unwrap();
        updated
    };
    let row = |key: &str, value: &str| vec![text("own"), text(key), text(value)];
    let updated = put(&[row("A", "it's \\ new"), row("C", "added")]);
    assert_eq!((updated.written.rows, updated.unknown.len()), (2, 1));
    let updated = put(&[row("B", "stolen")]);
    assert_eq!((updated.written.rows, updated.written.refused.len()), (0, 1));
    assert_eq!(
        server.sql(&format!("SELECT * FROM {name}.settings ORDER BY 1")),
        "A\tit's \\\\ new\tof A\town\nB\told\tof B\ttheirs\nC\tadded\tNULL\town\n"
    );
}
