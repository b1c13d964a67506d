//! What modules dump as JSON, as rows of the tables in which FreePBX keeps it.

use super::super::database::Database;
use super::super::error::ForeignError;
use super::{Here, store_table};
use crate::records::Value;
use serde_json::{Map, Value as Json};

/// Columns of the table of feature codes, each with the names that dumps call it by.
const CODE: [(&str, &[&str]); 6] = [
    ("description", &["description"]),
    ("helptext", &["helptext", "help"]),
    ("defaultcode", &["defaultcode", "default"]),
    ("customcode", &["customcode", "custom"]),
    ("enabled", &["enabled", "enable"]),
    ("providedest", &["providedest", "provides_destination"]),
];

/// A value as a column holds it; lists and maps as their JSON.
pub(super) fn scalar(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(yes) => Value::Int((*yes).into()),
        // As it stands there: nothing is rounded.
        Json::Number(number) => number.as_i64().map_or_else(|| Value::Text(number.to_string()), Value::Int),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(_) | Json::Object(_) => Value::Text(value.to_string()),
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Makes a table unless it is there.
pub(super) fn need(
    database: &mut Database,
    name: &str,
    columns: &[&str],
    key: &[&str],
) -> Result<(), ForeignError> {
    if database.table(name).is_some() {
        return Ok(());
    }
    let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    database.create(name, &owned(columns), &owned(key))
}

/// PHP writes an empty map as an empty list.
pub(super) fn map<'j>(what: &str, value: &'j Json) -> Result<Option<&'j Map<String, Json>>, String> {
    match value {
        Json::Object(map) => Ok(Some(map)),
        Json::Array(list) if list.is_empty() => Ok(None),
        _ => Err(format!("{what} are no map")),
    }
}

/// Takes keywords and values of settings. Returns the table.
pub(super) fn settings(here: &Here, dump: &Json, database: &mut Database) -> Result<String, Told> {
    let table = "freepbx_settings";
    need(database, table, &["module", "keyword", "value"], &["keyword"])?;
    database.mark_part(table);
    for (keyword, value) in map("settings", dump)?.into_iter().flatten() {
        let row = [text(here.id.as_str()), text(&here.key(keyword)), scalar(value)];
        database.insert(table, &row)?;
    }
    Ok(table.to_owned())
}

/// Takes feature codes.
pub(super) fn codes(here: &Here, dump: &Json, database: &mut Database) -> Result<String, Told> {
    let table = "featurecodes";
    let columns: Vec<&str> =
        ["modulename", "featurename"].into_iter().chain(CODE.map(|(name, _)| name)).collect();
    need(database, table, &columns, &["modulename", "featurename"])?;
    for (name, code) in map("feature codes", dump)?.into_iter().flatten() {
        let fields = map("the fields of a feature code", code)?;
        let mut row = vec![text(here.id.as_str()), text(name)];
        for (_, called) in CODE {
            let found = fields.and_then(|fields| called.iter().find_map(|name| fields.get(*name)));
            row.push(found.map_or(Value::Null, scalar));
        }
        database.insert(table, &row)?;
    }
    Ok(table.to_owned())
}

/// Takes a key-value store: id → key → value.
pub(super) fn store(here: &Here, dump: &Json, database: &mut Database) -> Result<String, Told> {
    let table = store_table(&here.id);
    need(database, &table, &["key", "val", "type", "id"], &["id", "key"])?;
    for (id, entries) in map("stores", dump)?.into_iter().flatten() {
        for (key, value) in map("the entries of a store", entries)?.into_iter().flatten() {
            let kind = match value {
                Json::Array(_) => text("json-arr"),
                // What PHP writes as a map was an array with keys.
                Json::Object(_) => text("json-arr"),
                _ => Value::Null,
            };
            // The entries without an id stand under an empty one in some dumps.
            let id = if id.is_empty() { "noid" } else { id };
            database.insert(&table, &[text(&here.key(key)), scalar(value), kind, text(id)])?;
        }
    }
    Ok(table)
}

/// Takes the tree of the switch, in both shapes that modules write: a list of maps, or a map.
pub(super) fn tree(dump: &Json, database: &mut Database) -> Result<String, Told> {
    let table = "astdb";
    need(database, table, &["key", "value"], &["key"])?;
    let whole = [dump];
    let maps: Vec<&Json> = if let Json::Array(list) = dump { list.iter().collect() } else { whole.to_vec() };
    for families in maps {
        for (family, children) in map("families", families)?.into_iter().flatten() {
            for (child, value) in map("the entries of a family", children)?.into_iter().flatten() {
                let key = format!("/{}/{}", family.trim_matches('/'), child.trim_start_matches('/'));
                database.insert(table, &[Value::Text(key), scalar(value)])?;
            }
        }
    }
    Ok(table.to_owned())
}

/// Takes one table of the module's own: rows, each a map of its columns. Returns its name here.
pub(super) fn table(here: &Here, name: &str, rows: &Json, database: &mut Database) -> Result<String, Told> {
    let new = here.table(name);
    let Json::Array(rows) = rows else { return Err(format!("the rows of table {name} are no list").into()) };
    let mut columns: Vec<String> = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for row in rows {
        for column in map("the columns of a row", row)?.into_iter().flat_map(Map::keys) {
            if known.insert(column) {
                columns.push(here.column(&new, column));
            }
        }
    }
    // Without a row nobody knows its columns; that it is empty is what there is to know.
    let is_blank = columns.is_empty();
    if is_blank {
        columns.push("rowid".into());
    }
    if database.table(&new).is_some() {
        return Err(format!("table {name} is given by another module too").into());
    }
    database.create(&new, &columns, &[])?;
    if is_blank {
        database.mark_blank(&new);
    }
    let old: Vec<&String> = {
        let mut seen = std::collections::BTreeSet::new();
        rows.iter()
            .filter_map(Json::as_object)
            .flat_map(Map::keys)
            .filter(|column| seen.insert(*column))
            .collect()
    };
    for row in rows.iter().filter_map(Json::as_object) {
        let values: Vec<Value> =
            old.iter().map(|column| row.get(*column).map_or(Value::Null, scalar)).collect();
        database.insert(&new, &values)?;
    }
    Ok(new)
}

/// Why a part was not taken.
pub(super) enum Told {
    /// The part makes no sense; the others may.
    Part(String),
    /// Nothing more can be done.
    All(ForeignError),
}

impl From<String> for Told {
    fn from(why: String) -> Self {
        Self::Part(why)
    }
}

impl From<ForeignError> for Told {
    fn from(error: ForeignError) -> Self {
        match error {
            ForeignError::Malformed { what, wrong } => Self::Part(format!("{what}: {wrong}")),
            error => Self::All(error),
        }
    }
}
