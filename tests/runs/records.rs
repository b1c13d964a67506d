//! A database as records: daily dumps, what differs between them, what a row was, single rows back.

use super::app::Machine;
use crate::cli::support::Run;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::PathBuf;

/// An application with calls, as a telephone exchange has them, and people.
struct Exchange(Machine);

impl Exchange {
    fn new(calls: i64) -> Self {
        let machine = Machine::new();
        let exchange = Self(machine);
        let source = format!(
            "[[source]]\nname = \"db\"\ndriver = \"sqlite\"\nformat = \"records\"\npath = {:?}\n",
            exchange.database()
        );
        exchange.0.module("pbx", &source);
        exchange.sql(&format!(
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, photo BLOB);
             INSERT INTO people VALUES (1, 'Ann', zeroblob(9000)), (2, 'Bob, \"the\" {{quiet}}', NULL), (3, 'Čeněk', x'00ff');
             CREATE TABLE cdr (calldate TEXT, src TEXT, dst TEXT, seconds INT);
             CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT);
             CREATE INDEX by_name ON people (name);
             WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n WHERE x < {})
             INSERT INTO cdr SELECT datetime(1700000000 + x * 37, 'unixepoch'), 200 + x % 17, abs(random() % 99999), x % 600 FROM n;
             INSERT INTO log SELECT NULL, 'line ' || abs(random()) FROM cdr;",
            calls - 1
        ));
        exchange
    }

    fn database(&self) -> PathBuf {
        self.0.place.path("pbx.db")
    }

    fn sql(&self, text: &str) {
        Connection::open(self.database()).unwrap().execute_batch(text).unwrap();
    }

    fn ask(&self, sql: &str) -> String {
        let connection = Connection::open(self.database()).unwrap();
        connection
            .query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0).map(|v| format!("{v:?}")))
            .unwrap()
    }

    fn backup(&self) -> Value {
        self.0.dedup(&["backup", "--json"]).ok().summary()
    }

    fn dump(&self, what: &str, format: &str) -> String {
        let run = self.0.dedup(&["dump", "latest", "-m", "pbx", what, "--format", format]).ok();
        String::from_utf8_lossy(&run.out_bytes).into_owned()
    }

    fn diff(&self, old: &str) -> Value {
        self.0.dedup(&["diff", old, "latest", "-m", "pbx", "--json"]).ok().json()
    }

    fn only(&self, what: &str, more: &[&str]) -> Run {
        self.0.dedup(&[&["restore", "latest", "-m", "pbx", "--only", what, "--yes"], more].concat())
    }
}

/// Everything in the database, in an order of its own.
fn contents(exchange: &Exchange) -> Vec<String> {
    ["people", "cdr", "log", "sqlite_sequence", "sqlite_schema"]
        .map(|table| {
            let columns = match table {
                "people" => "id || name || quote(photo)",
                "cdr" => "calldate || src || dst || seconds",
                "log" => "id || line",
                "sqlite_sequence" => "name || seq",
                _ => "type || name || sql",
            };
            exchange.ask(&format!(
                "SELECT group_concat(x, '|') FROM (SELECT {columns} AS x FROM {table} ORDER BY x)"
            ))
        })
        .to_vec()
}

#[test]
fn a_database_of_records_comes_back_with_its_module() {
    let exchange = Exchange::new(300);
    exchange.backup();
    let good = contents(&exchange);
    exchange.sql("DELETE FROM people; DROP TABLE cdr; INSERT INTO log VALUES (900, 'later'); DELETE FROM log WHERE id < 9");
    exchange.0.dedup(&["restore", "latest", "-m", "pbx", "--yes"]).ok();
    let mut after = contents(&exchange);
    // Numbers that were given are not given again.
    assert_eq!(exchange.ask("SELECT seq FROM sqlite_sequence WHERE name = 'log'"), "Integer(900)");
    after[3].clone_from(&good[3]);
    assert_eq!(after, good);
    // What cannot be put in place changes nothing.
    exchange.sql("DROP TABLE people; CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT UNIQUE CHECK (name <> 'Ann'), photo)");
    let before = contents(&exchange);
    exchange.0.dedup(&["restore", "latest", "-m", "pbx", "--yes"]).says(&["CHECK constraint failed"]);
    assert_eq!(contents(&exchange), before);
}

#[test]
fn an_edited_database_stores_what_changed_and_says_what() {
    let exchange = Exchange::new(20_000);
    let first = exchange.backup();
    let old = first["snapshot_id"].as_str().unwrap().to_owned();
    exchange.sql(
        "UPDATE cdr SET seconds = 9999 WHERE rowid % 1000 = 0;
         INSERT INTO cdr SELECT '2030-01-01 00:00:' || rowid, src, dst, seconds FROM cdr WHERE rowid <= 200;
         UPDATE people SET name = 'Bo' WHERE id = 2; UPDATE people SET photo = zeroblob(9001) WHERE id = 1;
         DELETE FROM people WHERE id = 3; CREATE TABLE more (x); INSERT INTO more VALUES (1), (2);",
    );
    let second = exchange.backup();
    let share = second["new_bytes"].as_u64().unwrap() as f64 / first["new_bytes"].as_u64().unwrap() as f64;
    assert!(share < 0.2, "{share} of the first backup is new");
    let diff = exchange.diff(&old);
    assert_eq!(
        (&diff["rows_added"], &diff["rows_removed"], &diff["rows_modified"]),
        (&json!(202), &json!(1), &json!(22))
    );
    let changes = diff["changes"].as_array().unwrap();
    let person = |id: i64| {
        let is = |change: &&Value| change["new"]["id"] == id || change["old"]["id"] == id;
        changes.iter().find(|change| change["table"] == "people" && is(change)).unwrap()
    };
    assert_eq!((&person(2)["columns"], &person(2)["new"]["name"]), (&json!(["name"]), &json!("Bo")));
    assert_eq!(
        (&person(1)["columns"], &person(1)["new"]["photo"]),
        (&json!(["photo"]), &json!({ "$long": 9001 }))
    );
    assert_eq!(person(3)["change"], "removed");
    assert!(changes.iter().any(|change| change["table"] == "more" && change["rows"] == 2));
    exchange
        .0
        .dedup(&["diff", &old, "latest", "-m", "pbx"])
        .ok()
        .shows(&["M source:db:people[2]  name", "- source:db:people[3]"]);

    let history = exchange.0.dedup(&["history", "-m", "pbx", "source:db:people[2]", "--json"]).ok().json();
    let names: Vec<_> =
        history["versions"].as_array().unwrap().iter().map(|version| &version["row"]["name"]).collect();
    assert_eq!(names, [&json!("Bob, \"the\" {quiet}"), &json!("Bo")]);
    exchange
        .0
        .dedup(&["history", "-m", "pbx", "source:db:people[3]"])
        .ok()
        .shows(&["name=Čeněk", "not there"]);
    exchange
        .0
        .dedup(&["history", "-m", "pbx", "source:db:nobody[3]"])
        .ends(1)
        .says(&["no snapshot has table nobody"]);
    exchange.0.dedup(&["check", "--read-data"]).ok();
}

#[test]
fn rows_are_written_for_people_and_programs() {
    let exchange = Exchange::new(3);
    exchange.backup();
    assert_eq!(
        exchange.dump("source:db:people[2][3]", "csv"),
        "id,name,photo\r\n2,\"Bob, \"\"the\"\" {quiet}\",\r\n3,Čeněk,\\x00ff\r\n"
    );
    let lines = exchange.dump("source:db:people", "jsonl");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["columns"], json!(["id", "name", "photo"]));
    assert_eq!(lines[3], json!([3, "Čeněk", { "$b": "AP8=" }]));
    assert_eq!(lines[4], json!({ "rows": 3 }));
    // The statements make the same database.
    let good = contents(&exchange);
    let script = exchange.dump("source:db", "sql");
    std::fs::remove_file(exchange.database()).unwrap();
    exchange.sql(&script);
    let mut after = contents(&exchange);
    after[3].clone_from(&good[3]);
    assert_eq!(after, good);
    let several = exchange.0.dedup(&["dump", "latest", "-m", "pbx", "source:db", "--format", "csv"]);
    several.ends(2).says(&["CSV holds one table"]);
    exchange
        .0
        .dedup(&["dump", "latest", "-m", "pbx", "source:db"])
        .ends(2)
        .says(&["--format csv, jsonl or sql"]);
}

#[test]
fn single_rows_and_tables_are_put_beside_what_is_there() {
    let exchange = Exchange::new(3);
    exchange.backup();
    exchange.sql("UPDATE people SET name = 'wrong'; DELETE FROM people WHERE id = 3; INSERT INTO people VALUES (9, 'new', NULL)");
    exchange.only("source:db:people[1][3]", &[]).ok().shows(&["put back 2 rows"]);
    let names = "SELECT group_concat(name, ',') FROM (SELECT name FROM people ORDER BY id)";
    assert_eq!(exchange.ask(names), "Text(\"Ann,wrong,Čeněk,new\")");
    exchange
        .only("source:db:people", &["--on-conflict", "keep-existing"])
        .ok()
        .shows(&["put back 0 rows, 3 kept"]);
    assert_eq!(exchange.ask(names), "Text(\"Ann,wrong,Čeněk,new\")");
    exchange.sql("DROP TABLE log");
    exchange.only("source:db:log", &[]).ok();
    assert_eq!(exchange.ask("SELECT count(*) FROM log"), "Integer(3)");
    exchange.only("source:db:people[77]", &[]).ends(1).says(&["the row 77 of table people", "is not there"]);
    exchange.only("source:db:people", &["--on-conflict", "keep-newer"]).ends(2).says(&["none is newer"]);
    exchange.only("source:db", &[]).ends(2).says(&["no table of source db is named"]);
    let names: Vec<_> = std::fs::read_dir(exchange.0.place.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with(".dedup")), "{names:?}");
}

#[test]
fn sources_that_cannot_be_records_are_told_with_what_can_be_done() {
    let exchange = Exchange::new(1);
    exchange.sql("CREATE VIRTUAL TABLE notes USING fts5(body)");
    exchange.0.dedup(&["backup"]).ends(3).says(&[
        "table notes is virtual",
        "format = \"custom\"",
        "select.ignore = [\"notes\"]",
    ]);
    std::fs::remove_file(exchange.database()).unwrap();
    exchange.sql("CREATE TABLE empty (x)");
    let summary = exchange.backup();
    assert_eq!(summary["exit_code"], 0);
    std::fs::remove_file(exchange.database()).unwrap();
    Connection::open(exchange.database()).unwrap().execute_batch("PRAGMA user_version = 3").unwrap();
    let items = exchange.backup()["modules"][0]["items"].clone();
    let source = items.as_array().unwrap().iter().find(|item| item["name"] == "source:db").unwrap();
    assert_eq!(source["outcome"], "empty", "a database without tables is empty, not absent");
}
