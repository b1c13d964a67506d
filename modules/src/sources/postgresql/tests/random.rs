//! Random databases: every type, odd names, keys of all kinds.

use super::over::{put, store};
use super::records::{OPTIONS, rows_of};
use super::*;
use crate::manifest::drivers::{Import, Scope};
use crate::records::{ImportOptions, RecordError};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

/// What random columns are made of.
const MADE: &str = "CREATE COLLATION german (provider = icu, locale = 'de-DE'); CREATE TYPE \"odd mood\" AS ENUM ('sad', 'Happy', 'a b', ''); \
    CREATE DOMAIN positive AS numeric CHECK (VALUE > 0); CREATE DOMAIN word AS varchar(20); CREATE DOMAIN inner_word AS word; CREATE DOMAIN blanked AS char(5); \
    CREATE TYPE pair AS (a int, b text); CREATE TYPE nested AS (p pair, l text[], m \"odd mood\"); CREATE TYPE span AS RANGE (subtype = float8);";

/// A type, whether it can be a key, and values of it: `#` stands for a random number.
const TYPES: &[(&str, bool, &[&str])] = &[
    ("boolean", true, &["t", "f"]),
    ("smallint", true, &["-32768", "32767", "0"]),
    ("integer", true, &["#", "-#", "-2147483648"]),
    ("bigint", true, &["#", "-9223372036854775808", "9223372036854775807"]),
    ("numeric", true, &["#.#0", "-#", "NaN", "Infinity", "-Infinity", "0.000", "1e-30", "1e100", "-0.#"]),
    ("numeric(12,3)", true, &["#.5", "-0.001", "NaN"]),
    ("real", true, &["1.1", "-0", "NaN", "3.4e38", "-1e-44", "#"]),
    ("double precision", true, &["0.1", "-0", "NaN", "-Infinity", "5e-324", "-#.#"]),
    ("text", true, &["", "#", "Ä#", "ä#", "z\\\\#", "tab\t\n\r\u{b}\u{1}", "😀#", "a", "a ", "\\N", "\\."]),
    ("text COLLATE german", true, &["Zebra", "apfel", "Ärger", "a#", "A#"]),
    ("character varying(9)", true, &["", "x#", " "]),
    ("character(6)", true, &["", "a", "a\u{1}", "ab  ", "#"]),
    ("\"char\"", true, &["", "a", "Z", "~"]),
    ("name", true, &["n#", "", "N"]),
    ("word", true, &["w#", "a", "a "]),
    ("inner_word", true, &["i#", "B", "b"]),
    ("blanked", true, &["a", "a\u{1}", "b"]),
    ("bytea", true, &["\\x", "\\x00ff", "\\x5c6e0a"]),
    ("date", true, &["infinity", "-infinity", "4713-01-01 BC", "12026-01-01", "2026-02-28", "0044-03-15 BC"]),
    ("time", true, &["24:00", "00:00:00.000001", "12:00"]),
    ("time with time zone", true, &["23:59:59.999999+14", "12:00-03:30"]),
    ("timestamp", true, &["infinity", "2026-01-01 00:00:00.1", "294276-12-31", "0001-01-01 BC"]),
    ("timestamp with time zone", true, &["-infinity", "2026-01-01 00:00:00+05", "1900-01-01"]),
    ("interval", true, &["1 mon -2 days 00:00:00.000001", "-178000000 years", "# s", "0"]),
    ("json", false, &["{ \"a\": 1, \"a\":2 }", "null", "[#]"]),
    ("jsonb", true, &["{\"b\": [1.10, null, \"ü\"]}", "\"#\"", "1e300"]),
    ("uuid", true, &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    ("inet", true, &["::1/64", "10.0.0.1", "10.0.0.1/8"]),
    ("cidr", true, &["10.0.0.0/8", "::/0"]),
    ("macaddr", true, &["08:00:2b:01:02:03"]),
    ("money", true, &["-92233720368547758.08", "#.99"]),
    ("xml", false, &["<a>ü#</a>", "text"]),
    ("tsvector", true, &["a:1A fat:2B", ""]),
    ("tsquery", true, &["fat & !rat"]),
    ("point", false, &["(1.5,-2)", "(NaN,Infinity)"]),
    ("polygon", false, &["((0,0),(1,1),(1,0))"]),
    ("bit(5)", true, &["10101", "00000"]),
    ("bit varying", true, &["", "1", "0110"]),
    ("oid", true, &["#", "4294967295"]),
    ("pg_lsn", true, &["16/B374D848"]),
    ("integer[]", true, &["{}", "{{1,NULL},{3,#}}", "[0:2]={1,2,3}", "{#}"]),
    ("text[]", true, &["{\"NULL\",NULL,\"a,b\",\"\\\"q\\\"\",\"\"}", "{{a},{b}}", "{\"\\\\\\\\N\"}"]),
    ("\"odd mood\"", true, &["sad", "Happy", "a b", ""]),
    ("\"odd mood\"[]", true, &["{\"a b\",\"\",NULL}"]),
    ("positive", true, &["0.#1", "1e20"]),
    ("pair", true, &["(#,\"a,b\")", "(,)", "(1,\"\"\"\")"]),
    ("nested", true, &["(\"(1,\"\"x y\"\")\",\"{a,\"\"b c\"\"}\",\"a b\")", "(,,)"]),
    ("pair[]", true, &["{\"(1,x)\",NULL}"]),
    ("int4range", true, &["[1,#5)", "empty", "(,)"]),
    ("nummultirange", true, &["{}", "{(,1],[2,3]}"]),
    ("span", true, &["[1.5,2)", "empty"]),
    ("jsonpath", false, &["$.a[*] ? (@ > 1)"]),
];

/// Names of tables and columns, of which each is taken once.
const NAMES: [&str; 8] = ["select", "Ünï \"x\"", "a b", "a.b", "x'; --", "UPPER", "100%", "line\nend"];

/// What tells the rows of a table from each other: nothing, so many columns, …
#[derive(Clone, Copy, Debug)]
enum Keyed {
    No,
    By(usize),
    /// The first column, which is never NULL.
    Unique,
    /// A column of its own.
    Counted,
}

#[derive(Clone, Debug)]
struct Table {
    columns: Vec<usize>,
    keyed: Keyed,
    rows: Vec<Vec<u16>>,
}

fn any_table() -> impl Strategy<Value = Table> {
    let keyed = prop_oneof![
        Just(Keyed::No),
        (1usize..4).prop_map(Keyed::By),
        Just(Keyed::Unique),
        Just(Keyed::Counted)
    ];
    let columns = proptest::collection::vec(0..TYPES.len(), 1..8);
    let rows = proptest::collection::vec(proptest::collection::vec(any::<u16>(), 8), 0..25);
    (columns, keyed, rows).prop_map(|(columns, keyed, rows)| Table { columns, keyed, rows })
}

fn quoted(text: &str) -> String {
    super::super::quote::name(text)
}

/// Returns a value of a type; none for NULL.
fn value(of: usize, pick: u16) -> Option<String> {
    let (_, _, values) = TYPES[of];
    let at = usize::from(pick) % (values.len() * 8 + 5);
    values.get(at / 8).map(|text| text.replace('#', &(pick / 7).to_string()))
}

/// Returns what makes a table and its rows. Rows of a key that is there already are left out.
fn made(number: usize, table: &Table) -> String {
    let name = format!("public.{}", quoted(NAMES[number]));
    let column = |at: usize| quoted(&format!("{} {at}", NAMES[(number + at) % NAMES.len()]));
    // What has no order of its own cannot be a key.
    let keys = table.columns.iter().take_while(|of| TYPES[**of].1).count();
    let mut parts: Vec<String> =
        table.columns.iter().enumerate().map(|(at, of)| format!("{} {}", column(at), TYPES[*of].0)).collect();
    let list = |count: usize| (0..count).map(column).collect::<Vec<_>>().join(", ");
    let mut needed = 0;
    let mut more = String::new();
    match table.keyed {
        Keyed::By(count) if keys > 0 => {
            needed = count.min(keys);
            parts.push(format!("PRIMARY KEY ({})", list(needed)));
        }
        Keyed::Unique if keys > 0 => {
            needed = 1;
            parts[0].push_str(" NOT NULL");
            more = format!("CREATE UNIQUE INDEX ON {name} ({});", column(0));
        }
        Keyed::Counted => parts.push("counted bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY".into()),
        _ => {}
    }
    let mut sql = format!("CREATE TABLE {name} ({});\n{more}\n", parts.join(", "));
    for row in &table.rows {
        let values =
            table.columns.iter().zip(row).enumerate().map(|(at, (of, pick))| match value(*of, *pick) {
                None if at >= needed => "NULL".to_owned(),
                None => super::super::quote::literal(&TYPES[*of].2[0].replace('#', "3")),
                Some(text) => super::super::quote::literal(&text),
            });
        let values = values.collect::<Vec<_>>().join(", ");
        sql.push_str(&format!(
            "INSERT INTO {name} ({}) VALUES ({values}) ON CONFLICT DO NOTHING;\n",
            list(table.columns.len())
        ));
    }
    sql
}

/// Returns the digest of each table, made by the server.
fn digests(server: &Postgres, database: &str) -> String {
    server.sql(
        database,
        "SET extra_float_digits = 3; SET bytea_output = hex;\n\
         SELECT format('SELECT %L, count(*), md5(string_agg(t::text, E''\\n'' ORDER BY t::text COLLATE \"C\")) FROM ONLY %s t', oid::regclass, oid::regclass) \
         FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname COLLATE \"C\" \\gexec\n\
         SELECT sequencename, last_value FROM pg_sequences ORDER BY 1",
    )
}

/// Cases, each of which is exported twice and imported three times.
const CASES: u32 = 12;

#[test]
fn random_databases_come_back_as_they_were() {
    let server = Postgres::start();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../proptest-regressions/postgresql_random.txt");
    let config = Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
        max_shrink_iters: 60,
        ..Config::with_cases(CASES)
    };
    let tables = proptest::collection::vec(any_table(), 1..5);
    let made_so_far = Cell::new(0);
    TestRunner::new(config)
        .run(&tables, |tables| {
            let number = made_so_far.replace(made_so_far.get() + 1);
            let database = format!("of {number}");
            // Every other one compares text by its bytes.
            let locale = ["C", "C.UTF-8"][number % 2];
            server.sql(SUPERUSER, &format!("CREATE DATABASE \"{database}\" TEMPLATE template0 LOCALE '{locale}'"));
            server.sql(&database, MADE);
            let sql: String = tables.iter().enumerate().map(|(at, table)| made(at, table)).collect();
            server.sql(&database, &sql);
            let before = digests(&server, &database);
            let spec = rows_of(&server, &database);
            let stored = store(&spec);
            let wreck = |sql: &str| {
                let each = format!(
                    "SELECT format('{sql}', oid::regclass) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace \\gexec"
                );
                server.sql(&database, &each);
            };
            let replace = |scope| put(&spec, &stored, ImportOptions { scope, ..OPTIONS }, &[]);
            wreck("DELETE FROM %s");
            replace(Scope::Module).unwrap();
            prop_assert_eq!(digests(&server, &database), before.clone());
            wreck("ALTER TABLE %s ADD stray int");
            replace(Scope::Database).unwrap();
            prop_assert_eq!(digests(&server, &database), before.clone());
            // Those without a key cannot be merged.
            let mut keyless = Vec::new();
            let listed = stored.reader().tables(|table, _| {
                keyless.extend(table.schema.key.is_empty().then(|| table.schema.name.table().to_owned()));
                Ok::<_, RecordError>(())
            });
            listed.unwrap();
            let keyless: Vec<&str> = keyless.iter().map(String::as_str).collect();
            wreck("DELETE FROM %s WHERE ctid::text LIKE ''%%5)''");
            let merge = ImportOptions { import: Import::Merge, ..OPTIONS };
            put(&spec, &stored, merge, &keyless).unwrap();
            if keyless.is_empty() {
                prop_assert_eq!(digests(&server, &database), before.clone());
            }
            replace(Scope::Table).unwrap();
            prop_assert_eq!(digests(&server, &database), before);
            let again = store(&spec);
            prop_assert!(again.entries == stored.entries, "another map");
            server.sql(SUPERUSER, &format!("DROP DATABASE \"{database}\""));
            Ok(())
        })
        .unwrap();
}
