//! Rows into a database whose tables are there: what stands around them stays as it was.

use super::super::{PostgresRecords, PostgresTarget};
use super::records::{EVERYTHING, OPTIONS, rows_of, shown};
use super::*;
use crate::manifest::drivers::{ExtraRows, Import, MissingColumns, Scope};
use crate::manifest::sources::Select;
use crate::records::testing::Stored;
use crate::records::{ImportOptions, ImportRequest, Imported, RecordError, Selection, import};

/// Stores a database, as a backup does.
pub(super) fn store(spec: &PostgresSpec) -> Stored {
    let around = around();
    let world = World { around: &around, cancelled: &|| false };
    Stored::of(Box::new(PostgresRecords::open(spec, world).unwrap()), &Selection::all()).unwrap()
}

/// Puts it back, as a restore does, but for some tables.
pub(super) fn put(
    spec: &PostgresSpec,
    stored: &Stored,
    options: ImportOptions,
    ignore: &[&str],
) -> Result<Imported, RecordError> {
    let around = around();
    let world = World { around: &around, cancelled: &|| false };
    let target = PostgresTarget::open(spec, world).unwrap();
    let ignore = ignore.iter().map(|table| (*table).to_owned()).collect();
    let request = ImportRequest {
        options,
        missing_columns: MissingColumns::Fail,
        extra_rows: ExtraRows::Warn,
        selection: Selection {
            select: Select { own_tables: true, ignore, ..Select::default() },
            ..Selection::default()
        },
        only: None,
    };
    import(&stored.reader(), &stored.exported.schema, Box::new(target), &request)
}

/// What makes it hard: parts of parts, which are loaded before what they refer to; tables that others inherit from, with
/// keys to others; columns that count or compute for themselves, rules, triggers in all their states.
const HARD: &str = r#"
CREATE TABLE z_region (code text PRIMARY KEY, note text);
CREATE TABLE visit (id bigint NOT NULL, at date NOT NULL, region text REFERENCES z_region, twice text GENERATED ALWAYS AS (region || region) STORED,
    PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE visit_old PARTITION OF visit FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE visit_new PARTITION OF visit FOR VALUES FROM ('2026-01-01') TO (MAXVALUE) PARTITION BY HASH (id);
CREATE TABLE visit_new_0 PARTITION OF visit_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE visit_new_1 PARTITION OF visit_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE INDEX visit_region ON visit (region);
INSERT INTO z_region VALUES ('a', 'x'), ('b', NULL);
INSERT INTO visit SELECT n, date '2025-12-20' + n, CASE n % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' END FROM generate_series(1, 40) n;
CREATE TABLE a_remark (id int PRIMARY KEY, visit bigint, at date, FOREIGN KEY (visit, at) REFERENCES visit ON DELETE CASCADE);
INSERT INTO a_remark SELECT n, n, date '2025-12-20' + n FROM generate_series(1, 40) n;
CREATE TRIGGER visited BEFORE INSERT ON visit FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE visit_old DISABLE TRIGGER visited;
CREATE TABLE base (id int GENERATED ALWAYS AS IDENTITY (START 7 INCREMENT 3) PRIMARY KEY, owner int REFERENCES author, name text CHECK (name <> ''));
CREATE TABLE base_child (more serial, PRIMARY KEY (id), FOREIGN KEY (owner) REFERENCES author DEFERRABLE) INHERITS (base);
INSERT INTO base (owner, name) VALUES (1, 'x'), (2, 'y'); INSERT INTO base_child (id, owner, name) VALUES (70, 1, 'z');
CREATE TRIGGER always BEFORE INSERT ON base FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE base ENABLE ALWAYS TRIGGER always;
CREATE TABLE numbered (k text PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 5), up text GENERATED ALWAYS AS (upper(k)) STORED);
INSERT INTO numbered (k) VALUES ('a'), ('b'), ('c');
CREATE RULE none_more AS ON INSERT TO numbered DO INSTEAD NOTHING;
ALTER TABLE numbered ENABLE ALWAYS RULE none_more;
CREATE TABLE down (id int PRIMARY KEY, CHECK (id < 100)); CREATE SEQUENCE down_seq INCREMENT -1 OWNED BY down.id;
ALTER TABLE down ALTER id SET DEFAULT nextval('down_seq'); INSERT INTO down DEFAULT VALUES; INSERT INTO down DEFAULT VALUES;
ALTER TABLE down ADD CONSTRAINT later CHECK (id > -1000) NOT VALID;
CREATE VIEW visits AS SELECT region, count(*) FROM visit GROUP BY region;
CREATE MATERIALIZED VIEW visited AS SELECT * FROM visits; CREATE UNIQUE INDEX visited_key ON visited (region);
CREATE TEXT SEARCH CONFIGURATION other.plain (COPY = simple);
CREATE STATISTICS of_visits ON region, at FROM visit;
ALTER TABLE author ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON author USING (name = current_user);
"#;

fn hard() -> (Postgres, String, Stored) {
    let server = Postgres::start();
    server.database("app");
    server.sql("app", EVERYTHING);
    server.sql("app", HARD);
    let (before, stored) = (shown(&server, "app"), store(&rows_of(&server, "app")));
    (server, before, stored)
}

/// Rows edited and removed, of tables that everything refers to.
const WRECKED: &str = "DELETE FROM a_remark; DELETE FROM visit WHERE id > 5; UPDATE visit SET region = NULL; UPDATE z_region SET note = 'new'; DELETE FROM z_region WHERE code = 'a'; \
    UPDATE every SET t = 'other', i4 = 5; DELETE FROM every WHERE id = 2; DELETE FROM a_book; UPDATE author SET boss = NULL; DELETE FROM base_child; DELETE FROM base; \
    UPDATE ONLY parent SET s = 'new'; DELETE FROM by_text WHERE f > 0; DELETE FROM measure; ALTER TABLE numbered DISABLE RULE none_more; DELETE FROM numbered WHERE k = 'b'; \
    UPDATE numbered SET n = DEFAULT WHERE k = 'a'; ALTER TABLE numbered ENABLE ALWAYS RULE none_more; DELETE FROM down; SELECT lo_unlink(4713); SELECT lo_put(4711, 3, 'other'); \
    REFRESH MATERIALIZED VIEW visited;";

#[test]
fn what_is_there_is_replaced() {
    let (server, before, stored) = hard();
    let spec = rows_of(&server, "app");
    let more = "DELETE FROM keyless WHERE a = 1; INSERT INTO parent VALUES (50, 'more'); SELECT nextval('lone'), nextval('other.nothing_id_seq'), nextval('down_seq');";
    for scope in [Scope::Module, Scope::Table, Scope::Database] {
        server.sql("app", WRECKED);
        server.sql("app", more);
        if scope == Scope::Database {
            server.sql("app", "CREATE TABLE stray (id int PRIMARY KEY REFERENCES parent); CREATE TABLE stray_roof (id int) PARTITION BY LIST (id); \
                ALTER TABLE every DROP COLUMN t CASCADE; DROP TABLE visit_new_1 CASCADE; ALTER TABLE author ADD extra text NOT NULL DEFAULT 'x'; DROP MATERIALIZED VIEW visited");
        }
        assert_ne!(shown(&server, "app"), before);
        put(&spec, &stored, ImportOptions { scope, ..OPTIONS }, &[]).unwrap();
        assert_eq!(shown(&server, "app"), before, "{scope:?}");
    }
    assert!(store(&spec).entries == stored.entries, "another map");
    // And into nothing.
    server.sql(SUPERUSER, "DROP DATABASE app; CREATE DATABASE app");
    put(&spec, &stored, OPTIONS, &[]).unwrap();
    assert_eq!(shown(&server, "app"), before);
}

#[test]
fn what_is_there_is_merged_and_appended_to() {
    let (server, before, stored) = hard();
    let spec = rows_of(&server, "app");
    // Whatever has a key is merged.
    server.sql("app", WRECKED);
    assert_ne!(shown(&server, "app"), before);
    let merge = ImportOptions { import: Import::Merge, ..OPTIONS };
    put(&spec, &stored, merge, &["keyless", "a_child"]).unwrap();
    // The counter of the column that was made anew goes on.
    let same = |text: &str| text.replace("public|numbered_n_seq|115", "public|numbered_n_seq|110");
    assert_eq!(same(&shown(&server, "app")), before);
    // Tables that were emptied are filled.
    let all = "SELECT format('TRUNCATE ONLY %s CASCADE', oid::regclass) FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('public', 'other') \\gexec\n\
        SELECT lo_unlink(oid) FROM pg_largeobject_metadata;";
    server.sql("app", all);
    put(&spec, &stored, ImportOptions { import: Import::Append, ..OPTIONS }, &[]).unwrap();
    assert_eq!(same(&shown(&server, "app")), before);
}

#[test]
fn a_foreign_key_that_would_be_broken_takes_everything_back() {
    let (server, _, stored) = hard();
    let spec = rows_of(&server, "app");
    // Rows of the target's own refer to what the dump does not have.
    server.sql(
        "app",
        "INSERT INTO z_region VALUES ('c', 'later'); ALTER TABLE visit DISABLE TRIGGER visited; INSERT INTO visit VALUES (900, '2026-05-05', 'c'); ALTER TABLE visit ENABLE TRIGGER visited; ALTER TABLE visit_old DISABLE TRIGGER visited",
    );
    let before = shown(&server, "app");
    let visits = ["visit_old", "visit_new_0", "visit_new_1"];
    let error = put(&spec, &stored, OPTIONS, &visits).unwrap_err();
    assert!(error.to_string().contains("23503") || error.to_string().contains("is not there"), "{error}");
    assert_eq!(shown(&server, "app"), before);
}

/// What a restore of either form keeps of what was there, it can bring back: the keys of parts belong to the whole table's.
#[test]
fn partitioned_and_inherited_tables_go_back_over_themselves() {
    let (server, before, _) = hard();
    for form in [Form::Archive, Form::Text] {
        let mut spec = wanted(&server, Databases::One("app".into()));
        spec.form = form;
        let spec = source(spec);
        let kept = dump(&spec).unwrap();
        for wrecked in ["", WRECKED, "DROP TABLE visit_new CASCADE"] {
            server.sql("app", wrecked);
            load(&spec, &kept).unwrap();
            assert_eq!(shown(&server, "app"), before, "{form:?} {wrecked:?}");
        }
        // What needs a key, and is not of the dump, still keeps everything as it is.
        server.sql("app", "CREATE TABLE stray (at date, id bigint, FOREIGN KEY (id, at) REFERENCES visit)");
        let error = load(&spec, &kept).unwrap_err().to_string();
        assert!(error.contains("stray") || error.contains("depend"), "{error}");
        server.sql("app", "DROP TABLE stray");
        assert_eq!(shown(&server, "app"), before);
    }
}
