//! Format `records`: rows by the client library, both ways.

use super::super::MariadbSource;
use super::super::records::MariadbTarget;
use super::*;
use crate::manifest::drivers::OnError;
use crate::records::{
    Batch, Filled, ImportOptions, RecordError, RecordSource, RecordTarget, RowOrder, SourceSchema, TableName,
    TableSchema, TimeKind, TypeClass, Value, WriteMode,
};
use dedup_engine::error::Kind;

const OPTIONS: ImportOptions = ImportOptions {
    import: Import::Replace,
    scope: Scope::Table,
    transaction: true,
    row_errors: OnError::Fail,
    defer_constraints: false,
    refresh_statistics: true,
    batch_rows: 3,
};

struct Whole {
    source: SourceSchema,
    tables: Vec<(TableSchema, Vec<Vec<Value>>, Option<u64>)>,
}

impl Whole {
    fn table(&self, name: &str) -> &(TableSchema, Vec<Vec<Value>>, Option<u64>) {
        self.tables.iter().find(|(table, ..)| table.name.table() == name).unwrap()
    }
}

pub(super) fn records(mariadb: MariadbSpec) -> MariadbSpec {
    MariadbSpec { format: Format::Records, ..mariadb }
}

pub(super) fn open<'a>(
    mariadb: &MariadbSpec,
    around: &'a Surroundings,
) -> Result<MariadbSource<'a>, SourceError> {
    MariadbSource::open(mariadb, World { around, cancelled: &|| false }, &mut |_| {})
}

pub(super) fn target<'a>(
    mariadb: &MariadbSpec,
    around: &'a Surroundings,
) -> Result<MariadbTarget<'a>, SourceError> {
    MariadbTarget::open(mariadb, World { around, cancelled: &|| false })
}

fn rows(source: &mut MariadbSource<'_>, table: &TableSchema) -> Result<Vec<Vec<Value>>, RecordError> {
    let mut rows = Vec::new();
    let mut each = |row: &[Value]| {
        rows.push(row.to_vec());
        Ok(())
    };
    source.rows(table, None, &mut each).map(|()| rows)
}

/// Reads all of a database; returns how many rows there are.
pub(super) fn count(mariadb: &MariadbSpec) -> Result<usize, SourceError> {
    export(mariadb).map(|whole| whole.tables.iter().map(|(_, rows, _)| rows.len()).sum())
}

fn export(mariadb: &MariadbSpec) -> Result<Whole, SourceError> {
    let around = around();
    let mut source = open(mariadb, &around)?;
    let about = source.describe()?;
    let mut names = source.tables()?;
    names.sort();
    let mut tables = Vec::new();
    for name in names {
        let table = source.table(&name)?;
        let rows = rows(&mut source, &table)?;
        let counter = source.counter(&table)?;
        tables.push((table, rows, counter));
    }
    Box::new(source).finish()?;
    Ok(Whole { source: about, tables })
}

fn import(mariadb: &MariadbSpec, whole: &Whole) -> Result<(), SourceError> {
    let around = around();
    let mut target = Box::new(target(mariadb, &around)?);
    target.begin(&OPTIONS)?;
    target.make_before(&whole.source.before)?;
    for (table, rows, counter) in &whole.tables {
        let there = target.table(&table.name)?;
        let is_new = there.is_none();
        match &there {
            Some(there) => target.clear(there, None)?,
            None => target.create(table)?,
        }
        let there = target.table(&table.name)?.unwrap();
        let columns: Vec<&str> = table
            .row_columns()
            .filter(|column| column.filled != Filled::Stored)
            .map(|column| &column.name[..])
            .collect();
        for rows in rows.chunks(3) {
            let batch = Batch { table: &there, columns: &columns, rows, mode: WriteMode::Insert };
            let written = target.write(&batch)?;
            assert_eq!((written.rows, &written.refused[..]), (rows.len() as u64, &[][..]), "{}", table.name);
        }
        assert_eq!(target.count(&there, None)?, rows.len() as u64);
        target.finish_table(table, *counter, is_new)?;
    }
    target.make_after(&whole.source.after)?;
    target.commit()?;
    Ok(())
}

#[test]
fn every_kind_of_value_comes_back_as_it_was() {
    let server = MariaDb::shared();
    let (from, to) = (hard(server), fresh(server));
    let (own, other) = (records(mariadb(server, &from)), records(into(mariadb(server, &from), &to)));
    let first = export(&own).unwrap();
    import(&other, &first).unwrap();
    assert_eq!(server.state(&to), server.state(&from));
    // The server gives numbers out in lots of a thousand; none comes twice.
    assert_eq!(
        server.sql(&format!("SELECT NEXTVAL({from}.counted) = 8, NEXTVAL({to}.counted) >= 8")),
        "1\t1\n"
    );
    // Into what is there, and once more: the same rows and schemas come out.
    let second = export(&records(mariadb(server, &to))).unwrap();
    for (mine, theirs) in first.tables.iter().zip(&second.tables) {
        assert_eq!(mine, theirs);
    }
    server.sql(&format!("DELETE FROM {to}.numbers WHERE id < 3; UPDATE {to}.texts SET v = 'other'"));
    import(&other, &first).unwrap();
    assert_eq!(server.state(&to), server.state(&from));
}

#[test]
fn values_are_exact() {
    let server = MariaDb::shared();
    let whole = export(&records(mariadb(server, &hard(server)))).unwrap();
    let value = |table: &str, row: usize, column: &str| {
        let (schema, rows, _) = whole.table(table);
        let at = schema.row_columns().position(|one| one.name == column).unwrap();
        rows[row][at].clone()
    };
    let time = |kind, text: &str| Value::Time(kind, text.into());
    let text = |text: &str| Value::Text(text.into());
    for (table, row, column, wanted) in [
        ("numbers", 5, "id", Value::UInt(18_446_744_073_709_551_613)),
        ("numbers", 1, "bu", Value::UInt(u64::MAX)),
        ("numbers", 0, "b", Value::Int(i64::MIN)),
        ("numbers", 3, "d", Value::Decimal("0.000000000000000000000000000001".into())),
        ("numbers", 0, "d0", Value::Decimal(format!("-{}", "9".repeat(65)))),
        ("numbers", 4, "f", Value::Float(16_777_216.0)),
        ("numbers", 5, "f", Value::Float(f64::from(0.1f32))),
        ("numbers", 1, "g", Value::Float(f64::MAX)),
        ("numbers", 3, "g", Value::Float(5e-324)),
        ("numbers", 1, "bits", Value::Bytes(vec![0xff; 8])),
        ("numbers", 1, "bit9", Value::Bytes(vec![1, 0xff])),
        ("times", 0, "d", time(TimeKind::Date, "0000-00-00")),
        ("times", 2, "d", time(TimeKind::Date, "2026-00-00")),
        ("times", 2, "dt6", time(TimeKind::Timestamp, "2026-02-31 00:00:00.000001")),
        ("times", 2, "dt3", time(TimeKind::Timestamp, "2026-11-21 13:20:00.100")),
        ("times", 1, "ts", time(TimeKind::Moment, "2038-01-19 03:14:07")),
        ("times", 0, "t6", time(TimeKind::Time, "-838:59:59.999999")),
        ("times", 1, "t1", time(TimeKind::Time, "-00:00:00.1")),
        ("latin", 0, "t", text("é€")),
        ("ucs", 0, "v", text("Grüße 😀")),
        ("generated", 0, "hidden", Value::Int(9)),
    ] {
        assert_eq!(value(table, row, column), wanted, "{table}.{column}");
    }
    let (texts, rows, _) = whole.table("texts");
    let at = |column: &str| texts.row_columns().position(|one| one.name == column).unwrap();
    let row = |key: &str| rows.iter().find(|row| row[at("k")] == text(key)).unwrap();
    assert_eq!(row("a")[at("v")], text("😀 ünï\0\r\n\t\\n \u{1a} end"));
    assert_eq!(row("a")[at("bin")], Value::Bytes(b"ab\0\0\0".to_vec()));
    assert_eq!(row("é")[at("v")], text("trail  "));
    // The word that is none is not the empty word.
    assert_eq!((row("enum error")[at("e")].clone(), row("é")[at("e")].clone()), (Value::Int(0), text("")));
    // What the server makes of other columns is not kept.
    let (generated, ..) = whole.table("generated");
    assert_eq!(
        generated.row_columns().map(|column| &column.name[..]).collect::<Vec<_>>(),
        ["id", "a", "hidden"]
    );
    let (numbers, _, counter) = whole.table("numbers");
    assert!(!numbers.create.contains("AUTO_INCREMENT=") && counter.is_some(), "{}", numbers.create);
    assert_eq!(whole.table("two").0.key, ["a", "b", "c"]);
    assert!(whole.table("uniq").0.key.is_empty() && whole.table("nokey").0.key.is_empty());
    assert_eq!(whole.table("parent").0.after[0].kind, "trigger");
    let kinds: Vec<&str> = whole.source.after.iter().map(|object| &object.kind[..]).collect();
    assert_eq!(kinds, ["function", "procedure", "view", "view", "view", "event"]);
    assert!(whole.table("numbers").0.columns.iter().any(|column| column.class == TypeClass::Decimal));
}

/// Two sessions of other people change everything while it is read.
#[test]
fn all_tables_are_of_one_moment() {
    let server = MariaDb::shared();
    let database = big(server);
    let (spec, around) = (records(mariadb(server, &database)), around());
    let mut source = open(&spec, &around).unwrap();
    server.sql(&format!(
        "USE {database}; DELETE FROM big WHERE id > 10; INSERT INTO later SELECT seq FROM seq_2_to_50"
    ));
    let later = source.table(&TableName::simple("later").unwrap()).unwrap();
    let table = source.table(&TableName::simple("big").unwrap()).unwrap();
    assert_eq!(source.order(&table), RowOrder::Key);
    let read = rows(&mut source, &table).unwrap();
    assert!(
        read.len() == 20_000
            && read.is_sorted_by(|a, b| matches!((&a[0], &b[0]), (Value::Int(a), Value::Int(b)) if a < b))
    );
    assert_eq!(rows(&mut source, &later).unwrap(), [[Value::Int(1)]]);
    let mut narrow = table.clone();
    narrow.columns.remove(0);
    narrow.key.clear();
    let mut count = 0;
    let mut each = |row: &[Value]| {
        assert_eq!(row.len(), 1);
        count += 1;
        Ok(())
    };
    source.rows(&narrow, Some("id <= 7 OR id = 9"), &mut each).unwrap();
    assert_eq!(count, 8);
    Box::new(source).finish().unwrap();
}

#[test]
fn what_is_not_committed_never_was() {
    let server = MariaDb::shared();
    let (from, to) = (hard(server), hard(server));
    let whole = export(&records(mariadb(server, &from))).unwrap();
    server.sql(&format!("DROP TABLE {to}.latin; UPDATE {to}.numbers SET t = 3; ALTER TABLE {to}.old ENGINE=InnoDB; ALTER TABLE {to}.aria ENGINE=InnoDB"));
    let before = server.state(&to);
    let around = around();
    let spec = records(into(mariadb(server, &from), &to));
    let mut half = target(&spec, &around).unwrap();
    half.begin(&OPTIONS).unwrap();
    for (table, rows, _) in &whole.tables {
        match half.table(&table.name).unwrap() {
            Some(there) => half.clear(&there, None).unwrap(),
            None => half.create(table).unwrap(),
        }
        let columns: Vec<&str> = table.row_columns().map(|column| &column.name[..]).collect();
        let there = half.table(&table.name).unwrap().unwrap();
        half.write(&Batch { table: &there, columns: &columns, rows, mode: WriteMode::Insert }).unwrap();
    }
    drop(half);
    assert_eq!(server.state(&to), before);
}

#[test]
fn rows_are_written_kept_replaced_removed_and_refused() {
    let server = MariaDb::shared();
    let database = fresh(server);
    server.sql(&format!(
        "USE {database}; CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(5), other INT DEFAULT 7, UNIQUE KEY (v)); \
         INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2); CREATE TABLE up (id INT PRIMARY KEY); \
         CREATE TABLE down (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES up (id))"
    ));
    let (spec, around) = (records(mariadb(server, &database)), around());
    let mut target = Box::new(target(&spec, &around).unwrap());
    target.begin(&ImportOptions { row_errors: OnError::Continue, ..OPTIONS }).unwrap();
    let table = target.table(&TableName::simple("t").unwrap()).unwrap().unwrap();
    let row = |id: i64, text: &str| vec![Value::Int(id), Value::Text(text.into())];
    let rows = [row(1, "ONE"), row(3, "three"), row(4, "too long"), row(5, "two")];
    let mut write = |mode, rows: &[Vec<Value>]| {
        target.write(&Batch { table: &table, columns: &["id", "v"], rows, mode }).unwrap()
    };
    let kept = write(WriteMode::Keep, &rows);
    assert_eq!((kept.kept, kept.rows), (1, 1));
    let refused: Vec<usize> = kept.refused.iter().map(|(at, _)| *at).collect();
    assert_eq!(refused, [2, 3]);
    assert!(kept.refused[0].1.contains("1406") && kept.refused[1].1.contains("1062"), "{kept:?}");
    assert!(!format!("{kept:?}").contains("two") && !format!("{kept:?}").contains("too long"), "{kept:?}");
    let upsert = write(WriteMode::Upsert, &[row(1, "ONE"), row(6, "six")]);
    assert_eq!((upsert.rows, upsert.refused.len()), (2, 0));
    assert_eq!(write(WriteMode::Insert, &[row(1, "again")]).refused.len(), 1);
    assert_eq!(target.delete(&table, &[vec![Value::Int(2)], vec![Value::Int(99)]]).unwrap(), 1);
    let down = target.table(&TableName::simple("down").unwrap()).unwrap().unwrap();
    let lost = [vec![Value::Int(1), Value::Int(5)]];
    target
        .write(&Batch { table: &down, columns: &["id", "up"], rows: &lost, mode: WriteMode::Insert })
        .unwrap();
    let error = target.make_after(&[]).unwrap_err();
    assert!(error.to_string().contains("that are not there"), "{error}");
    target.delete(&down, &[vec![Value::Int(1)]]).unwrap();
    target.make_after(&[]).unwrap();
    target.commit().unwrap();
    let left = server.sql(&format!("SELECT * FROM {database}.t ORDER BY id"));
    assert_eq!(left, "1\tONE\t7\n3\tthree\t7\n6\tsix\t7\n");
}

#[test]
fn faults_are_told_and_nothing_torn_passes_for_whole() {
    let mut server = MariaDb::start(&["--innodb-flush-log-at-trx-commit=1"]);
    let database = big(&server);
    let around = around();
    let spec = records(mariadb(&server, &database));
    let with = |change: &dyn Fn(&mut MariadbSpec)| {
        let mut spec = spec.clone();
        change(&mut spec);
        export(&spec).map(|whole| whole.tables.len()).unwrap_err()
    };
    let wrong = with(&|spec| spec.reach.password = Some(Secret::Literal("wrong".into())));
    assert!(wrong.to_string().contains("Access denied") && wrong.kind() == Kind::Permission, "{wrong}");
    let absent = with(&|spec| spec.select = of("no_such"));
    assert!(absent.to_string().contains("database no_such") && absent.kind() == Kind::Missing, "{absent}");
    let nowhere = with(&|spec| spec.reach.socket = Some("/no/such/socket".into()));
    assert!(nowhere.to_string().contains("cannot connect to MariaDB at /no/such/socket"), "{nowhere}");
    let tls = with(&|spec| spec.reach.tls = Some(true));
    assert!(tls.to_string().contains("TLS"), "{tls}");
    // Read on after something has happened to it.
    let disturbed = |server: &MariaDb, spec: &MariadbSpec, disturb: &dyn Fn(&MariaDb)| {
        let mut source = open(spec, &around).unwrap();
        let names = ["big", "later"].map(|name| TableName::simple(name).unwrap());
        let big = source.table(&names[0]).unwrap();
        let mut count = 0;
        let mut each = |_: &[Value]| {
            count += 1;
            if count == 10 {
                disturb(server);
            }
            Ok(())
        };
        source.rows(&big, None, &mut each)?;
        let later = source.table(&names[1])?;
        source.rows(&later, None, &mut |_| Ok(()))?;
        Box::new(source).finish()
    };
    let sql = |sql: &'static str| {
        let database = database.clone();
        move |server: &MariaDb| drop(server.sql(&format!("USE {database}; {sql}")))
    };
    disturbed(&server, &spec, &|_| {}).unwrap();
    let altered =
        disturbed(&server, &spec, &sql("ALTER TABLE later ADD COLUMN more INT, ALGORITHM=COPY")).unwrap_err();
    assert!(matches!(altered, RecordError::Changed { .. }), "{altered}");
    let dropped = disturbed(&server, &spec, &sql("DROP TABLE later")).unwrap_err();
    assert!(matches!(dropped, RecordError::Absent { .. } | RecordError::Changed { .. }), "{dropped}");
    server.sql(&format!("CREATE TABLE {database}.later (id INT PRIMARY KEY)"));
    let impatient = MariadbSpec { idle_limit: Duration::from_secs(2), ..spec.clone() };
    let stalled = disturbed(&server, &impatient, &|server| server.signal("STOP")).unwrap_err();
    assert!(stalled.to_string().contains("said nothing for 2"), "{stalled}");
    server.signal("CONT");
    let killed = disturbed(&server, &spec, &|server| server.kill()).unwrap_err();
    assert!(killed.to_string().contains("connection is lost"), "{killed}");
    server.restart();
    // While it is written.
    let whole = export(&spec).unwrap();
    let mut target = target(&spec, &around).unwrap();
    target.begin(&OPTIONS).unwrap();
    let (table, rows, _) = whole.table("big");
    target.clear(table, None).unwrap();
    server.kill();
    let batch = Batch { table, columns: &["id", "v"], rows: &rows[..10], mode: WriteMode::Insert };
    let error = target.write(&batch).unwrap_err();
    assert!(error.to_string().contains("connection is lost"), "{error}");
    drop(target);
    server.restart();
    assert_eq!(export(&spec).unwrap().tables, whole.tables);
    // As distributions set `root` up: without a password, whom the socket says it is.
    server
        .sql("ALTER USER root@localhost IDENTIFIED VIA mysql_native_password USING 'invalid' OR unix_socket");
    let mut by_socket = spec.clone();
    by_socket.reach.password = None;
    assert_eq!(export(&by_socket).unwrap().tables, whole.tables);
}
