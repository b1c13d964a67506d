//! Rows out of one database and into another: every value is the same.

use super::super::{Form, PostgresRecords, PostgresTarget};
use super::*;
use crate::manifest::drivers::{Import, OnError, Scope};
use crate::records::{
    Batch, ImportOptions, RecordError, RecordSource, RecordTarget, SourceSchema, TableEnd, TableName,
    TableSchema, Value, WriteMode,
};

pub(super) const OPTIONS: ImportOptions = ImportOptions {
    import: Import::Replace,
    scope: Scope::Database,
    transaction: true,
    row_errors: OnError::Fail,
    defer_constraints: false,
    refresh_statistics: true,
    batch_rows: 300,
};

pub(super) fn rows_of(server: &Postgres, database: &str) -> PostgresSpec {
    let mut spec = wanted(server, Databases::One(database.to_owned()));
    spec.form = Form::Records;
    spec
}

/// A database as records, in memory.
struct Read {
    schema: SourceSchema,
    tables: Vec<(TableSchema, Vec<Vec<Value>>, TableEnd)>,
}

impl Read {
    fn table(&self, name: &str) -> &(TableSchema, Vec<Vec<Value>>, TableEnd) {
        self.tables.iter().find(|(table, ..)| table.name.table() == name).unwrap()
    }
}

fn try_read(spec: &PostgresSpec, meanwhile: &mut dyn FnMut()) -> Result<Read, SourceError> {
    let around = around();
    let world = World { around: &around, cancelled: &|| false };
    let mut source = PostgresRecords::open(spec, world)?;
    let schema = source.describe()?;
    let mut names = source.tables()?;
    names.sort();
    let mut tables = Vec::new();
    for name in names {
        let table = source.table(&name)?;
        let mut rows = Vec::new();
        source.rows(&table, None, &mut |row| {
            if rows.is_empty() {
                meanwhile();
            }
            rows.push(row.to_vec());
            Ok(())
        })?;
        let end = TableEnd { rows: rows.len() as u64, counter: source.counter(&table)? };
        tables.push((table, rows, end));
    }
    Box::new(source).finish()?;
    Ok(Read { schema, tables })
}

fn read(spec: &PostgresSpec) -> Read {
    try_read(spec, &mut || {}).unwrap()
}

fn write(
    spec: &PostgresSpec,
    read: &Read,
    options: ImportOptions,
    mode: WriteMode,
) -> Result<Vec<(usize, String)>, RecordError> {
    let around = around();
    let world = World { around: &around, cancelled: &|| false };
    let mut target = PostgresTarget::open(spec, world).unwrap();
    let mut there: Vec<TableName> = Vec::new();
    for (table, ..) in &read.tables {
        there.extend(target.table(&table.name)?.map(|found| found.name));
    }
    target.begin(&options)?;
    target.make_before(&read.schema.before)?;
    let mut refused = Vec::new();
    for (table, rows, end) in &read.tables {
        let is_new = !there.contains(&table.name);
        match (is_new, options.import) {
            (true, _) => target.create(table)?,
            (false, Import::Replace) => target.clear(table, None)?,
            (false, _) => {}
        }
        let columns: Vec<&str> = table.row_columns().map(|column| &column.name[..]).collect();
        for rows in rows.chunks(options.batch_rows as usize) {
            let batch = Batch { table, columns: &columns, rows, mode };
            refused.extend(target.write(&batch)?.refused);
            if options.row_errors == OnError::Fail && !refused.is_empty() {
                return Ok(refused);
            }
        }
        match target.count(table, None) {
            // Told only when something else is asked for.
            Err(RecordError::Refused { row, why, .. }) => return Ok(vec![(row as usize - 1, why)]),
            counted => counted.map(drop)?,
        }
        target.finish_table(table, end.counter, is_new)?;
        if options.import == Import::Replace && refused.is_empty() {
            assert_eq!(target.count(table, None)?, end.rows);
        }
    }
    target.make_after(&read.schema.after)?;
    Box::new(target).commit()?;
    Ok(refused)
}

/// Every type there is, at its extremes; keys of many kinds; everything that makes a table more than rows.
pub(super) const EVERYTHING: &str = r#"
CREATE SCHEMA other;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS numeric CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE COLLATION german (provider = icu, locale = 'de-DE');
CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1';
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := 'stamped'; RETURN NEW; END $$;
CREATE TABLE every (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b bool, i2 int2, i4 int4, i8 int8, n numeric, n2 numeric(10, 2),
    f4 float4, f8 float8, t text, v varchar(20), c char(7), name name, raw bytea, d date, ti time, tz timetz, ts timestamp,
    tstz timestamptz, iv interval, j json, jb jsonb, u uuid, ip inet, net cidr, mac macaddr, money money, x xml, ts_v tsvector,
    ts_q tsquery, p point, poly polygon, bits bit(5), vb bit varying, ia int[], ta text[], r int4range, mr nummultirange,
    e mood, dom positive, co pair, o oid, g int GENERATED ALWAYS AS (twice(i4)) STORED, bp bpchar, "odd "" name" text COLLATE german,
    js jsonpath, lsn pg_lsn
);
INSERT INTO every (b) VALUES (NULL);
INSERT INTO every (b, i2, i4, i8, n, n2, f4, f8, t, v, c, name, raw, d, ti, tz, ts, tstz, iv, j, jb, u, ip, net, mac, money, x,
    ts_v, ts_q, p, poly, bits, vb, ia, ta, r, mr, e, dom, co, o, bp, "odd "" name", js, lsn)
VALUES
(true, -32768, 1000000000, -9223372036854775808, 'NaN', -0.50, 'NaN', '-Infinity', E'tab\t line\n \\ back\b\f\v "quote" ''', '', 'a', 'n',
    '\x00ff5c0a', 'infinity', '24:00', '23:59:59.999999+14', '-infinity', 'infinity', '-1 mon +2 days -03:04:05.000006',
    '{ "a" : 1,  "a":2}', '{"ü": [1, null, "😀"]}', '00000000-0000-0000-0000-000000000001', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03',
    -92233720368547758.08, '<a>ü</a>', 'a:1A fat:2B', 'fat & !rat', '(1.5,-2)', '((0,0),(1,1),(1,0))', '10101', '',
    '{{1,NULL},{3,4}}', '{"NULL",NULL,"a,b","\"q\"",""}', '[1,5)', '{(,1),[2,3]}', 'ok', 1e-20, '(1,"a,b")', 4294967295, 'trailing ', 'Ärger',
    '$.a[*] ? (@ > 1)', '16/B374D848'),
(false, 32767, -1000000000, 9223372036854775807, 'Infinity', 99999999.99, 3.4028235e38, 4.9e-324, '😀', repeat('ü', 20), 'ab  ', 'x',
    '', '4713-01-01 BC', '00:00', '00:00:00-12', '294276-12-31 23:59:59.999999', '0001-01-01 00:00:00+00 BC', '178000000 years',
    'null', 'null', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '192.168.0.1', '::/0', 'ff:ff:ff:ff:ff:ff', 1.005, NULL,
    '', '', '(NaN,Infinity)', NULL, '00000', '1', '{}', '{}', 'empty', '{}', 'sad', 99999999999999999999, '(,)', 0, '', 'Zebra', '$', '0/0'),
(NULL, 0, 0, 0, 123456789012345678901234567890.123456789012345678901234567890, 0, 1.1, 0.1, NULL, 'x', '', '', '\x', '9999-12-31',
    '12:00:00.1', '12:00+00', 'epoch', '2026-11-21 13:20:00.000001+01', '1.5 seconds', '[]', '1.10', NULL, NULL, NULL, NULL, 0, '',
    NULL, NULL, NULL, NULL, NULL, NULL, '[0:2]={1,2,3}', NULL, '(,)', NULL, 'happy', NULL, NULL, NULL, NULL, 'apfel', NULL, NULL),
(NULL, NULL, NULL, NULL, '-Infinity', NULL, '-0', '-0', NULL, NULL, NULL, NULL, NULL, '-infinity', NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL);
CREATE TABLE by_text (k text COLLATE german, c char(4), w timestamptz, n numeric, f float8, PRIMARY KEY (k, c, w, n, f));
INSERT INTO by_text SELECT x, y, w::timestamptz, n, f FROM unnest(ARRAY['Ärger','apfel','Zebra','z','', E'a\x01', 'a', 'a ', '😀', 'ａ']) x,
    unnest(ARRAY['a', E'a\x01', 'ab']) y, unnest(ARRAY['infinity', '-infinity', '2026-01-01', '12026-01-01', '0044-01-01 BC']) w,
    unnest(ARRAY['NaN', '-Infinity', 'Infinity', '-10.5', '-9', '0.00', '9', '10', '1e100']::numeric[]) n,
    unnest(ARRAY['NaN', '-Infinity', '0', '1e-300', '-2']::float8[]) f;
CREATE TABLE keyless (a int, b text);
INSERT INTO keyless SELECT n % 3, 'x' FROM generate_series(1, 700) n;
CREATE TABLE other.nothing (id serial PRIMARY KEY);
CREATE TABLE measure (at date NOT NULL, v int, PRIMARY KEY (at)) PARTITION BY RANGE (at);
CREATE TABLE measure_1 PARTITION OF measure FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE measure_rest PARTITION OF measure DEFAULT;
INSERT INTO measure SELECT date '2026-12-30' + n, n FROM generate_series(0, 9) n;
CREATE TABLE parent (id int PRIMARY KEY, s text);
CREATE TABLE a_child (more text) INHERITS (parent);
INSERT INTO parent VALUES (1, 'p'); INSERT INTO a_child VALUES (2, 'c', 'm');
CREATE TABLE author (id int PRIMARY KEY, boss int REFERENCES author, name text);
CREATE TABLE a_book (id uuid UNIQUE NOT NULL, author int REFERENCES author ON DELETE CASCADE, title text);
INSERT INTO author VALUES (1, 2, 'a'), (2, 1, 'b'); INSERT INTO a_book VALUES (gen_random_uuid(), 2, 't');
CREATE TRIGGER stamp BEFORE INSERT ON author FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE INDEX by_name ON author (lower(name)) WHERE boss IS NOT NULL;
CREATE VIEW authors AS SELECT * FROM author;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM every;
CREATE SEQUENCE lone START 5 INCREMENT 7; SELECT nextval('lone'), nextval('lone');
COMMENT ON TABLE author IS 'who writes';
SELECT lo_from_bytea(4711, repeat('large ', 2000)::bytea), lo_create(4712), lo_from_bytea(4713, 'x');
SELECT lo_put(4713, 100000, 'beyond a hole');
"#;

/// Everything that a database shows, in text, by means of its own.
pub(super) fn shown(server: &Postgres, database: &str) -> String {
    let tables = "SELECT format('SELECT %L, count(*), md5(string_agg(t::text, E''\\n'' ORDER BY t::text COLLATE \"C\")) FROM ONLY %s t', oid::regclass, oid::regclass) \
        FROM pg_class WHERE relkind IN ('r', 'm', 'v') AND relnamespace::regnamespace::text IN ('public', 'other') ORDER BY 1 \\gexec\n\
        SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2;\n\
        SELECT conrelid::regclass, conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace::regnamespace::text IN ('public', 'other') ORDER BY conrelid::regclass::text, conname;\n\
        SELECT indexdef FROM pg_indexes WHERE schemaname IN ('public', 'other') ORDER BY 1;\n\
        SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgrelid::regclass::text, tgname;\n\
        SELECT ev_class::regclass, rulename, ev_enabled FROM pg_rewrite WHERE rulename <> '_RETURN' AND ev_class >= 16384 ORDER BY ev_class::regclass::text, rulename;\n\
        SELECT attrelid::regclass, attname, attidentity, attgenerated FROM pg_attribute WHERE attidentity <> '' OR attgenerated <> '' ORDER BY attrelid::regclass::text, attname;\n\
        SELECT inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits ORDER BY 1; SELECT obj_description('author'::regclass); SELECT oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1;";
    server.sql(database, &format!("SET extra_float_digits = 3; {tables}"))
}

#[test]
fn every_value_comes_back_as_it_was() {
    let server = Postgres::start();
    server.database("from");
    server.sql("from", EVERYTHING);
    server.database("to");
    let read = read(&rows_of(&server, "from"));
    assert_eq!(read.schema.engine, "postgresql");
    let (every, rows, end) = read.table("every");
    assert_eq!((end.rows, end.counter, rows.len()), (5, Some(6), 5));
    assert_eq!(every.key, ["id"]);
    assert_eq!(rows[1][5], Value::Decimal("NaN".into()));
    assert_eq!(rows[1][13], Value::Bytes(vec![0, 0xff, 0x5c, 0x0a]));
    assert_eq!(rows[3][7], Value::Float(f64::from(1.1_f32)));
    assert_eq!(read.table("a_book").0.key, ["id"], "a unique column that is never NULL is a key");
    assert!(read.table("keyless").0.key.is_empty());
    let before = shown(&server, "from");
    for round in ["into nothing", "over what is there"] {
        assert_eq!(write(&rows_of(&server, "to"), &read, OPTIONS, WriteMode::Insert).unwrap(), []);
        assert_eq!(shown(&server, "to"), before, "{round}");
    }
}

#[test]
fn rows_come_in_the_order_of_their_bytes() {
    let server = Postgres::start();
    server.database("from");
    server.sql("from", EVERYTHING);
    let read = read(&rows_of(&server, "from"));
    let (table, rows, _) = read.table("by_text");
    assert_eq!((table.key.len(), rows.len()), (5, 10 * 3 * 5 * 9 * 5));
    let text = |value: &Value| match value {
        Value::Text(text) | Value::Time(_, text) => text.clone().into_bytes(),
        other => panic!("{other:?}"),
    };
    let number = |value: &Value| match value {
        Value::Decimal(text) => text.parse::<f64>().unwrap(),
        Value::Float(number) => *number,
        other => panic!("{other:?}"),
    };
    // `NaN` is above all numbers, in both types.
    let order = |a: &Vec<Value>, b: &Vec<Value>| {
        text(&a[0])
            .cmp(&text(&b[0]))
            .then(text(&a[1]).cmp(&text(&b[1])))
            .then(text(&a[2]).cmp(&text(&b[2])))
            .then(number(&a[3]).total_cmp(&number(&b[3])))
            .then(number(&a[4]).total_cmp(&number(&b[4])))
    };
    assert!(rows.windows(2).all(|pair| order(&pair[0], &pair[1]).is_lt()), "rows are not in order");
}

#[test]
fn one_view_holds_over_all_tables() {
    let server = Postgres::start();
    server.database("app");
    server.sql("app", "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)");
    let mut is_first = true;
    let mut meanwhile = || {
        if std::mem::take(&mut is_first) {
            server.sql("app", "INSERT INTO b VALUES (2); DELETE FROM a");
        }
    };
    let read = try_read(&rows_of(&server, "app"), &mut meanwhile).unwrap();
    assert_eq!((read.table("a").2.rows, read.table("b").2.rows), (1, 1));
}

#[test]
fn rows_are_merged_kept_and_refused() {
    let server = Postgres::start();
    server.database("app");
    let made = "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s text CHECK (s <> 'bad'), up text GENERATED ALWAYS AS (upper(s)) STORED);";
    server
        .sql("app", &format!("{made} INSERT INTO t (s) SELECT 'old ' || n FROM generate_series(1, 1000) n"));
    let spec = rows_of(&server, "app");
    let old = read(&spec);
    let changed = || {
        server.sql("app", "UPDATE t SET s = 'new' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t (s) VALUES ('more')")
    };
    let seen = || {
        server.sql("app", "SELECT count(*), count(*) FILTER (WHERE s = 'new'), count(*) FILTER (WHERE s = 'more'), count(*) FILTER (WHERE up = upper(s)) FROM t")
    };
    changed();
    let merge = ImportOptions { import: Import::Merge, ..OPTIONS };
    assert_eq!(write(&spec, &old, merge, WriteMode::Keep).unwrap(), []);
    assert_eq!(seen(), "1001|1|1|1001");
    assert_eq!(write(&spec, &old, merge, WriteMode::Upsert).unwrap(), []);
    assert_eq!(seen(), "1001|0|1|1001");
    // A row that is there already: told by its place, nothing of the whole is kept.
    let append = ImportOptions { import: Import::Append, batch_rows: 2000, ..OPTIONS };
    let refused = write(&spec, &old, append, WriteMode::Insert).unwrap();
    assert_eq!(refused, [(0, "there is one with this key already, constraint t_pkey".to_owned())]);
    assert_eq!(seen(), "1001|0|1|1001");
    // Bad rows are passed over where that is wanted, and only they.
    let mut bad = read(&spec);
    for at in [0, 500, 1000] {
        bad.tables[0].1[at][1] = Value::Text("bad".into());
    }
    let goes_on = ImportOptions { row_errors: OnError::Continue, batch_rows: 2000, ..OPTIONS };
    for transaction in [true, false] {
        let refused =
            write(&spec, &bad, ImportOptions { transaction, ..goes_on }, WriteMode::Insert).unwrap();
        let places: Vec<usize> = refused.iter().map(|(at, _)| *at).collect();
        assert_eq!(places, [0, 500, 1000]);
        assert!(
            refused.iter().all(|(_, why)| why.starts_with("a check says no") && !why.contains("bad")),
            "{refused:?}"
        );
        assert_eq!(server.sql("app", "SELECT count(*) FROM t"), "998");
    }
    let around = around();
    let world = World { around: &around, cancelled: &|| false };
    let mut target = PostgresTarget::open(&spec, world).unwrap();
    target.begin(&OPTIONS).unwrap();
    let keys = vec![vec![Value::Int(3)], vec![Value::Int(4)], vec![Value::Int(999_999)]];
    assert_eq!(target.delete(&bad.tables[0].0, &keys).unwrap(), 2);
    drop(target);
    assert_eq!(server.sql("app", "SELECT count(*) FROM t"), "998", "what was not committed is taken back");
}

#[test]
fn faults_are_errors_and_never_fewer_rows() {
    let mut server = Postgres::start();
    server.database("app");
    server.sql("app", LARGE);
    let mut spec = rows_of(&server, "app");
    spec.idle_limit = Duration::from_secs(1);
    let failed = |result: Result<Read, SourceError>| result.err().expect("a fault was not noticed");
    let hit = Cell::new(0);
    let error = failed(try_read(&spec, &mut || hit.set(server.disconnect("app"))));
    assert!(
        hit.get() > 0
            && ["terminating connection", "broke off"].iter().any(|words| error.to_string().contains(words)),
        "{error}"
    );
    let error = failed(try_read(&spec, &mut || hit.set(server.freeze("app"))));
    assert!(hit.get() > 0 && error.to_string().contains("said nothing for"), "{error}");
    server.thaw();
    // A table that the view needs cannot be altered while it is read.
    let read = try_read(&spec, &mut || {
        let error =
            server.try_sql("app", "SET lock_timeout = 100; ALTER TABLE large DROP COLUMN text").unwrap_err();
        assert!(error.contains("lock timeout"), "{error}");
    });
    assert_eq!(read.unwrap().table("large").2.rows, 20000);
    let around = around();
    let world = World { around: &around, cancelled: &|| false };
    // One that is not read yet can neither be dropped nor emptied, which the view would not survive.
    let mut source = PostgresRecords::open(&spec, world).unwrap();
    for sql in ["DROP TABLE large", "TRUNCATE large", "ALTER TABLE large ALTER n TYPE text"] {
        let error = server.try_sql("app", &format!("SET lock_timeout = 100; {sql}")).unwrap_err();
        assert!(error.contains("lock timeout"), "{error}");
    }
    let names = source.tables().unwrap();
    let table = source.table(&names[0]).unwrap();
    let mut rows = 0;
    let mut count = |_: &[Value]| {
        rows += 1;
        Ok(())
    };
    source.rows(&table, None, &mut count).unwrap();
    assert_eq!(rows, 20000);
    drop(source);
    // One that is not there.
    let mut source = PostgresRecords::open(&spec, world).unwrap();
    let mut other = table.clone();
    other.name = TableName::new(vec!["public".into(), "larger".into()]).unwrap();
    let error = source.rows(&other, None, &mut |_| Ok(())).unwrap_err();
    assert!(
        error.to_string().contains("read table public.larger")
            && error.to_string().contains("does not exist"),
        "{error}"
    );
    drop(source);
    server.sql("app", "DROP TABLE large");
    // Rights, passwords, names.
    server.user("clerk", "Geheim7");
    server.sql("app", "CREATE TABLE hidden AS SELECT 1 AS n");
    let as_clerk = |password: &str, database: &str| {
        let How::Postgresql(mut spec) = clerk(&server, password, database).how else { panic!() };
        spec.form = Form::Records;
        failed(try_read(&spec, &mut || {}))
    };
    let error = as_clerk("Geheim7", "app");
    assert!(
        error.to_string().contains("permission denied") && error.kind() == Kind::Permission
            || error.to_string().contains("pg_dump"),
        "{error}"
    );
    let error = as_clerk("Falsch9", "app");
    assert!(error.to_string().contains("28P01") && !error.to_string().contains("Falsch9"), "{error}");
    assert_eq!(error.kind(), Kind::Permission);
    assert!(matches!(as_clerk("Geheim7", "nothing"), SourceError::NoSuchDatabase { .. }));
    let cancelled = World { around: &around, cancelled: &|| true };
    let error = PostgresRecords::open(&spec, cancelled).err().unwrap();
    assert_eq!(error.kind(), Kind::Cancelled);
    server.sql("app", LARGE);
    let error = failed(try_read(&spec, &mut || server.kill()));
    assert_eq!(error.kind(), Kind::Io);
    let error = failed(try_read(&spec, &mut || {}));
    assert!(error.to_string().contains("cannot reach PostgreSQL"), "{error}");
}
