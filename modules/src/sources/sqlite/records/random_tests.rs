//! Random schemas and rows: out of a database and into another, compared by SQL.

use super::tests::{put, store};
use crate::manifest::drivers::Import;
use crate::records::Selection;
use crate::records::tests::request;
use crate::sources::sqlite::tests::Scratch;
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use std::path::Path;

/// Declared types, with what may stand behind them.
const TYPES: [&str; 10] = [
    "INTEGER",
    "TEXT",
    "TEXT COLLATE NOCASE",
    "TEXT COLLATE RTRIM",
    "REAL",
    "BLOB",
    "NUMERIC",
    "DATETIME DEFAULT CURRENT_TIMESTAMP",
    "",
    "INT NOT NULL DEFAULT 7",
];

fn any_sql() -> impl Strategy<Value = Sql> {
    prop_oneof![
        Just(Sql::Null),
        prop_oneof![any::<i64>(), -2i64..3].prop_map(Sql::Integer),
        prop_oneof![any::<f64>(), Just(1.0), Just(-0.0), Just(f64::INFINITY)].prop_map(Sql::Real),
        "[aAb \u{0}é😀']{0,5}".prop_map(Sql::Text),
        "-?[0-9]{1,3}(\\.[05])?".prop_map(Sql::Text),
        proptest::collection::vec(any::<u8>(), 0..5).prop_map(Sql::Blob),
        (4095usize..4099, any::<bool>()).prop_map(|(len, is_text)| match is_text {
            true => Sql::Text("t".repeat(len)),
            false => Sql::Blob(vec![7; len]),
        }),
    ]
}

/// A table: its columns, how it is keyed, its rows.
type Table = (Vec<usize>, u8, Vec<Vec<Sql>>);

fn any_table() -> impl Strategy<Value = Table> {
    (1usize..5, 0u8..7).prop_flat_map(|(width, keyed)| {
        let rows = proptest::collection::vec(proptest::collection::vec(any_sql(), width), 0..20);
        (proptest::collection::vec(0..TYPES.len(), width), Just(keyed), rows)
    })
}

fn create(number: usize, (types, keyed, _): &Table) -> String {
    let columns: Vec<String> =
        types.iter().enumerate().map(|(at, kind)| format!("\"c {at}\" {}", TYPES[*kind])).collect();
    let columns = columns.join(", ");
    let last = types.len() - 1;
    match keyed {
        0 => format!("CREATE TABLE t{number} (id INTEGER PRIMARY KEY, {columns})"),
        1 => format!("CREATE TABLE t{number} (id INTEGER PRIMARY KEY AUTOINCREMENT, {columns})"),
        2 => format!("CREATE TABLE t{number} ({columns}, PRIMARY KEY (\"c 0\"))"),
        3 => format!(
            "CREATE TABLE t{number} ({columns}, PRIMARY KEY (\"c {last}\" DESC, \"c 0\")) WITHOUT ROWID"
        ),
        4 => format!("CREATE TABLE t{number} ({columns}, UNIQUE (\"c 0\"))"),
        5 => format!("CREATE TABLE t{number} ({columns}, rowid, oid, _rowid_)"),
        _ => format!("CREATE TABLE t{number} ({columns})"),
    }
}

fn make(path: &Path, tables: &[Table]) {
    let connection = Connection::open(path).unwrap();
    for (number, table) in tables.iter().enumerate() {
        // Where both columns of a key are one, there is no such table.
        let sql = create(number, table).replace("(\"c 0\" DESC, \"c 0\")", "(\"c 0\" DESC)");
        connection.execute_batch(&sql).unwrap();
        connection.execute_batch(&format!("CREATE INDEX i{number} ON t{number} (\"c 0\" DESC)")).unwrap();
        let names: Vec<String> = (0..table.0.len()).map(|at| format!("\"c {at}\"")).collect();
        let marks = vec!["?"; names.len()].join(", ");
        let insert = format!("INSERT OR IGNORE INTO t{number} ({}) VALUES ({marks})", names.join(", "));
        for row in &table.2 {
            // An integer key takes nothing else, and says so whatever is to be ignored.
            let _ = connection.execute(&insert, rusqlite::params_from_iter(row));
        }
    }
}

/// Every row as SQLite itself writes it, with its type.
fn rows(path: &Path, tables: usize) -> Vec<Vec<String>> {
    let connection = Connection::open(path).unwrap();
    let of_table = |number: usize| {
        let names = "SELECT group_concat('typeof(' || q || ') || quote(' || q || ')', ' || ')
            FROM (SELECT '\"' || name || '\"' AS q FROM pragma_table_info(?1))";
        let columns: String = connection.query_row(names, [format!("t{number}")], |row| row.get(0)).unwrap();
        let sql = format!("SELECT {columns} FROM t{number} ORDER BY 1");
        let mut statement = connection.prepare(&sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    (0..tables).map(of_table).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_databases_come_back_as_they_were(tables in proptest::collection::vec(any_table(), 1..4)) {
        let scratch = Scratch::new();
        let (old, new) = (scratch.path("old.db"), scratch.path("new.db"));
        make(&old, &tables);
        let stored = store(&old, &Selection::all()).unwrap();
        for _ in 0..2 {
            // Into nothing, then over itself.
            put(&stored, &new, &request(Import::Replace)).unwrap();
            prop_assert_eq!(rows(&new, tables.len()), rows(&old, tables.len()));
            prop_assert!(store(&new, &Selection::all()).unwrap().entries == stored.entries, "another map");
        }
    }
}
