//! Databases as rows, and rows as databases.

use super::super::SqliteLoad;
use super::super::tests::{SOON, Scratch, put_back, with_world};
use super::SqliteRecords;
use crate::manifest::drivers::{Import, OnError, Scope};
use crate::manifest::sources::Select;
use crate::records::testing::Stored;
use crate::records::tests::request;
use crate::records::{ImportRequest, Imported, RecordError, Selection, TableName, Value, import};
use crate::sources::{Load, LoadOptions, SourceError, WayBack};
use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use std::path::Path;

/// Tables of every kind that SQLite has.
const EVERYTHING: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE plain (id INTEGER PRIMARY KEY, a, b TEXT COLLATE NOCASE DEFAULT 'x' NOT NULL, c BLOB, d REAL);
    CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
    CREATE TABLE words (word TEXT PRIMARY KEY, n INT) WITHOUT ROWID;
    CREATE TABLE folded (word TEXT COLLATE NOCASE, n NUMERIC, PRIMARY KEY (n DESC, word)) WITHOUT ROWID;
    CREATE TABLE \"odd \"\"name\" (\"a b\" TEXT PRIMARY KEY, \"select\" INT, rowid TEXT);
    CREATE TABLE nulls (a TEXT, b TEXT, PRIMARY KEY (a, b));
    CREATE TABLE heap (at TEXT, what);
    CREATE TABLE covered (rowid, oid, _rowid_);
    CREATE TABLE made (a INT, b INT AS (a * 2) STORED, c TEXT AS (a || '!'), d TEXT);
    CREATE TABLE strict (id INT PRIMARY KEY, r REAL, x ANY) STRICT;
    CREATE TABLE child (id INTEGER PRIMARY KEY, parent INT REFERENCES plain(id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE log (what TEXT);
    CREATE TABLE empty (id INTEGER PRIMARY KEY);
    CREATE INDEX by_b ON plain (b, d DESC) WHERE d > 0;
    CREATE UNIQUE INDEX by_name ON counted (name);
    CREATE TRIGGER t AFTER INSERT ON plain BEGIN INSERT INTO log VALUES ('inserted ' || new.id); END;
    CREATE VIEW v AS SELECT id, b FROM plain;
    CREATE TRIGGER vt INSTEAD OF INSERT ON v BEGIN SELECT 1; END;
    INSERT INTO plain VALUES (-9223372036854775808, NULL, '', x'', 0.5), (7, 9223372036854775807, 'é😀', x'00ff', -1e300),
        (9, 'text', 'A' || char(0) || 'B', zeroblob(70000), 9e999), (10, 1.5, CAST(x'ff61' AS TEXT), x'01', NULL);
    INSERT INTO counted VALUES (1, 'a'), (900, 'b');
    DELETE FROM counted WHERE id = 900;
    INSERT INTO words VALUES ('z', 1), ('a', 2), ('Z', 3), ('', 4), ('aa', NULL);
    INSERT INTO folded VALUES ('b', 1), ('A', 1), ('c', 1.5), ('c', -2), ('c', 'x');
    INSERT INTO \"odd \"\"name\" VALUES ('k', 1, 'mine'), ('j', 2, NULL);
    INSERT INTO nulls VALUES (NULL, 'x'), (NULL, 'x'), ('a', 'b');
    INSERT INTO heap VALUES ('2026', 1), ('2025', 2), ('2025', 2);
    INSERT INTO covered VALUES (1, 2, 3), (1, 2, 3), (0, x'', '');
    INSERT INTO made (a, d) VALUES (1, 'x'), (2, 'y');
    INSERT INTO strict VALUES (2, 1.0, 'x'), (1, 2.5, 1);
    INSERT INTO child VALUES (1, 7);
    PRAGMA user_version = 12;";

fn make(path: &Path, sql: &str) {
    let sql = format!("PRAGMA foreign_keys = OFF;\n{sql}");
    Connection::open(path).unwrap().execute_batch(&sql).unwrap();
}

pub(super) fn store(path: &Path, selection: &Selection) -> Result<Stored, RecordError> {
    with_world(|world| Stored::of(Box::new(SqliteRecords::open(path, SOON, world).unwrap()), selection))
}

pub(super) fn put(
    stored: &Stored,
    target: &Path,
    request: &ImportRequest<'_>,
) -> Result<(WayBack, Imported), SourceError> {
    with_world(|world| {
        let mut load = Box::new(SqliteLoad::new(target.to_owned(), SOON, LoadOptions::default(), world)?);
        load.check()?;
        let mut imported = Imported::default();
        let way = load.prepare_records(&mut |target| {
            imported = import(&stored.reader(), &stored.exported.schema, target, request)?;
            Ok(())
        })?;
        load.put_records(&mut |_| unreachable!("it was prepared"))?;
        Ok((way, imported))
    })
}

/// Everything that a program can see of a database.
fn seen(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let rows = |sql: &str| -> Vec<Vec<Sql>> {
        let mut statement = connection.prepare(sql).unwrap();
        let width = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..width).map(|at| row.get_ref(at).map(of)).collect();
        statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let mut all = Vec::new();
    for row in rows("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name") {
        all.push(format!("{row:?}"));
        let [Sql::Text(kind), Sql::Text(name), ..] = &row[..] else { panic!("{row:?}") };
        if kind == "table" && name != "sqlite_stat1" {
            // Texts are escaped here, see `of`.
            let name = name.replace("\\\"", "\"\"");
            let mut rows = rows(&format!("SELECT * FROM \"{name}\""));
            rows.sort_by_key(|row| format!("{row:?}"));
            all.push(format!("{name}: {rows:?}"));
        }
    }
    all.push(format!("{:?}", rows("SELECT rowid, * FROM heap")));
    all
}

/// A value with what is not UTF-8 in it.
fn of(value: rusqlite::types::ValueRef<'_>) -> Sql {
    match value {
        rusqlite::types::ValueRef::Text(bytes) => Sql::Text(bytes.escape_ascii().to_string()),
        other => other.try_into().unwrap(),
    }
}

#[test]
fn every_kind_of_table_comes_back_as_it_was() {
    let scratch = Scratch::new();
    let (old, new) = (scratch.path("old.db"), scratch.path("new.db"));
    make(&old, EVERYTHING);
    let stored = store(&old, &Selection::all()).unwrap();
    assert_eq!((stored.exported.tables, stored.exported.rows), (13, 35));
    let (way, imported) = put(&stored, &new, &request(Import::Replace)).unwrap();
    assert_eq!((imported.tables, imported.rows, &imported.warnings[..]), (13, 35, &[][..]));
    assert_eq!(seen(&new), seen(&old));
    let version =
        Connection::open(&new).unwrap().pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    assert_eq!(version, Ok(12));
    // And what was stored of it is the same map.
    assert_eq!(store(&new, &Selection::all()).unwrap().entries, stored.entries);
    put_back(&way).unwrap();
    assert!(!new.exists());
    assert_eq!(scratch.names(), ["old.db"]);
}

#[test]
fn replacing_clears_what_is_declared_and_the_way_back_brings_it_again() {
    let scratch = Scratch::new();
    let (old, new) = (scratch.path("old.db"), scratch.path("new.db"));
    make(&old, EVERYTHING);
    make(&new, EVERYTHING);
    make(
        &new,
        "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1); DELETE FROM words; INSERT INTO words VALUES ('q', 1);
         INSERT INTO counted VALUES (5000, 'later'); DELETE FROM plain WHERE id = 7;",
    );
    let before = seen(&new);
    let stored = store(&old, &Selection::all()).unwrap();
    let (way, _) = put(&stored, &new, &request(Import::Replace)).unwrap();
    let after = seen(&new);
    assert!(after.iter().any(|line| line.starts_with("theirs: ")), "tables of others stay");
    let line = |all: &[String], table: &str| all.iter().find(|line| line.starts_with(table)).cloned();
    for table in ["words: ", "plain: ", "counted: ", "heap: "] {
        assert_eq!(line(&after, table), line(&seen(&old), table));
    }
    // The counter never goes back: numbers that were given are not given again.
    assert!(line(&after, "sqlite_sequence: ").unwrap().contains("5000"));
    assert_eq!(line(&after, "log: "), line(&seen(&old), "log: "), "what is loaded sets off no trigger");
    put_back(&way).unwrap();
    assert_eq!(seen(&new), before);
    // The scope of the database takes what others have, too.
    let mut whole = request(Import::Replace);
    whole.options.scope = Scope::Database;
    put(&stored, &new, &whole).unwrap();
    assert!(line(&seen(&new), "theirs: ").is_none());
}

#[test]
fn merging_and_rows_that_are_refused() {
    let scratch = Scratch::new();
    let (old, new) = (scratch.path("old.db"), scratch.path("new.db"));
    make(
        &old,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b); INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2)",
    );
    make(
        &new,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b, c DEFAULT 7);
         INSERT INTO t VALUES (1, 'q', 8, 9), (3, 'y', 4, 5)",
    );
    let before = std::fs::read(&new).unwrap();
    let stored = store(&old, &Selection::all()).unwrap();
    let error = put(&stored, &new, &request(Import::Merge)).unwrap_err();
    assert!(error.to_string().contains("UNIQUE constraint failed: t.a"), "{error}");
    assert_eq!(std::fs::read(&new).unwrap(), before, "nothing of it");
    assert_eq!(scratch.names(), ["new.db", "old.db"], "nothing is left of it");
    let mut going_on = request(Import::Merge);
    going_on.options.row_errors = OnError::Continue;
    let (_, imported) = put(&stored, &new, &going_on).unwrap();
    assert_eq!((imported.rows, imported.refused), (1, 1));
    let rows: Vec<String> = {
        let connection = Connection::open(&new).unwrap();
        let mut statement = connection.prepare("SELECT id || a || b || c FROM t ORDER BY id").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(rows, ["1x19", "3y45"], "the column that only the target has keeps its value");
}

#[test]
fn chosen_tables_columns_and_rows() {
    let scratch = Scratch::new();
    let (old, new) = (scratch.path("old.db"), scratch.path("new.db"));
    make(&old, EVERYTHING);
    let select = Select {
        tables: vec!["words".into(), "gone".into()],
        prefix: "h".into(),
        rows_where: vec![("words".into(), "n < 3 -- few".into())],
        omit_columns: vec![("heap".into(), vec!["what".into()])],
        ..Select::default()
    };
    let selection = Selection { select, ..Selection::default() };
    let stored = store(&old, &selection).unwrap();
    assert_eq!((stored.exported.tables, stored.exported.rows), (2, 5));
    assert_eq!(stored.exported.schema.absent, ["gone"]);
    let same = ImportRequest { selection: selection.clone(), ..request(Import::Replace) };
    let (_, imported) = put(&stored, &new, &same).unwrap();
    assert_eq!(imported.warnings, Vec::<String>::new());
    let other = Select { tables: vec!["words".into()], ..Select::default() };
    let other = Selection { select: other, ..Selection::default() };
    let other = ImportRequest { selection: other, ..request(Import::Replace) };
    let (_, imported) = put(&stored, &new, &other).unwrap();
    assert_eq!((imported.tables, imported.warnings.len()), (1, 2), "{:?}", imported.warnings);
    let count =
        |sql: &str| Connection::open(&new).unwrap().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((count("SELECT count(*) FROM words"), count("SELECT count(what) FROM heap")), (2, 0));
    let reader = stored.reader();
    let mut words = reader.table(&TableName::simple("words").unwrap()).unwrap().unwrap();
    let found = words.get(&[Value::Text("z".into())]).unwrap().unwrap();
    assert_eq!(found.values, [Value::Text("z".into()), Value::Int(1)]);
    assert_eq!(words.get(&[Value::Text("Z".into())]).unwrap(), None, "not among those that were chosen");
}

#[test]
fn statements_of_a_snapshot_make_what_they_say_or_nothing() {
    let scratch = Scratch::new();
    let (old, new) = (scratch.path("old.db"), scratch.path("new.db"));
    make(&old, "CREATE TABLE t (a); CREATE INDEX i ON t (a); CREATE VIEW v AS SELECT 1");
    let attach = format!("ATTACH DATABASE '{}' AS x", scratch.path("planted.db").display());
    for kind in ["view", "table"] {
        let mut stored = store(&old, &Selection::all()).unwrap();
        if kind == "view" {
            stored.exported.schema.after[0].ddl = attach.clone();
        } else {
            stored.exported.schema.after[0].ddl = "CREATE VIEW v AS SELECT 1; DROP TABLE t".into();
        }
        assert!(put(&stored, &new, &request(Import::Replace)).is_err());
        assert_eq!(scratch.names(), ["old.db"]);
    }
}

#[test]
fn foreign_keys_are_checked_at_the_end_if_asked_for() {
    let scratch = Scratch::new();
    let (old, new) = (scratch.path("old.db"), scratch.path("new.db"));
    make(
        &old,
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p INT REFERENCES p(id)); INSERT INTO c VALUES (1)",
    );
    let stored = store(&old, &Selection::all()).unwrap();
    let mut checked = request(Import::Replace);
    checked.options.defer_constraints = true;
    let error = put(&stored, &new, &checked).unwrap_err();
    assert!(error.to_string().contains("refers to one of p"), "{error}");
    put(&stored, &new, &request(Import::Replace)).unwrap();
}

#[test]
fn virtual_tables_are_refused_with_what_can_store_them() {
    let scratch = Scratch::new();
    let old = scratch.path("old.db");
    make(
        &old,
        "CREATE TABLE t (a); CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO t VALUES (7); INSERT INTO f VALUES (7)",
    );
    let error = store(&old, &Selection::all()).map(drop).unwrap_err().to_string();
    for told in ["table f is virtual", "format = \"custom\"", "select.ignore = [\"f\"]"] {
        assert!(error.contains(told), "{error}");
    }
    // What it says can be done: the rest, without the tables in which it keeps its words.
    let select = Select { own_tables: true, ignore: vec!["f".into()], ..Select::default() };
    let stored = store(&old, &Selection { select, ..Selection::default() }).unwrap();
    assert_eq!((stored.exported.tables, stored.exported.rows), (1, 1));
}
