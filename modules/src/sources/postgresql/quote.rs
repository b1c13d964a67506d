//! Names and texts within SQL.

use crate::records::TableName;

/// Quotes a name.
pub(super) fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Quotes a text; strings mean what they say in every session of ours, and in every client since PostgreSQL 9.1.
pub(super) fn literal(text: &str) -> String {
    match text.contains('\\') {
        false => format!("'{}'", text.replace('\'', "''")),
        true => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
    }
}

/// Quotes a name of several parts.
pub(super) fn path(table: &TableName) -> String {
    table.parts().iter().map(|part| name(part)).collect::<Vec<_>>().join(".")
}

/// Quotes names and joins them by commas.
pub(super) fn names<'n>(all: impl IntoIterator<Item = &'n str>) -> String {
    all.into_iter().map(name).collect::<Vec<_>>().join(", ")
}
