//! What a snapshot holds of modules beside files, as `ls` tells it.

use super::app::Machine;
use serde_json::{Value, json};

/// An application with a directory, a database as records, and what a program prints.
fn machine() -> Machine {
    let machine = Machine::new();
    let db = machine.place.path("rows.db");
    let made =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'Ann'), (2, 'Bob');
                CREATE TABLE u (id INTEGER PRIMARY KEY)";
    rusqlite::Connection::open(&db).unwrap().execute_batch(made).unwrap();
    let sources = format!(
        "[[source]]\nname = \"db\"\ndriver = \"sqlite\"\nformat = \"records\"\npath = {db:?}\n\
         [[source]]\nname = \"out\"\ndriver = \"command\"\ndump = {}\n",
        machine.act("dump-app")
    );
    machine.module("app", &sources);
    machine.module("other", "");
    machine.dedup(&["backup"]).ok();
    machine
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn parts_of_modules_are_listed() {
    let machine = machine();
    let parts = machine.dedup(&["ls", "--parts", "latest", "--json"]).ok().json();
    assert_eq!(parts["type"], "parts");
    let modules = parts["modules"].as_array().unwrap();
    assert_eq!(modules.len(), 2);
    let app = modules.iter().find(|module| module["module"] == "app").unwrap();
    assert_eq!((&app["state"], &app["version"]), (&json!("complete"), &json!("1")));
    assert_eq!(names(&app["dumps"]), ["db", "out"]);
    assert_eq!(app["listings"][0]["section"], "data");
    assert!(names(&app["items"]).contains(&"source:db"), "{app}");
    machine.dedup(&["ls", "--parts", "latest", "-m", "app"]).ok().shows(&[
        "app: complete",
        "--section data: ",
        "source:db: data of sqlite, records",
        "source:out: data of command",
        "item source:db: stored",
    ]);
    // Nobody has to know that to ask for the rest.
    machine.dedup(&["ls", "latest"]).says(&["several modules", "--parts"]);
    machine.dedup(&["ls", "latest", "-m", "app"]).ok().says(&["also has 2 sources"]).shows(&["/file"]);
    machine.dedup(&["ls", "--parts", "latest:/"]).ends(2);
}

#[test]
fn tables_of_a_source_and_its_streams_are_listed() {
    let machine = machine();
    let ls = |more: &[&str]| machine.dedup(&[&["ls", "latest", "-m", "app"], more].concat());
    let tables = ls(&["source:db", "--json"]).ok().json();
    let t = json!({ "table": "t", "rows": 2, "columns": ["id", "name"], "condition": null });
    assert_eq!((&tables["type"], &tables["tables"][0]), (&json!("tables"), &t));
    assert_eq!(tables["tables"].as_array().unwrap().len(), 2);
    ls(&["source:db"]).ok().shows(&["source:db:t: 2 rows", "source:db:u: 0 rows"]);
    let one = ls(&["source:db:t"]).ok();
    assert_eq!(one.out, "source:db:t: 2 rows\n");
    ls(&["source:out"]).ok().shows(&["/out\n"]);
    ls(&["source:out:t"]).ends(2).says(&["no set of records"]);
    assert_ne!(ls(&["source:nobody"]).code, 0);
    assert_ne!(ls(&["source:db:nobody"]).code, 0);
}
