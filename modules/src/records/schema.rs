//! What is known of a source and of its tables beside their rows.

use super::RecordError;
use std::fmt;

/// Name of a table: one to three parts, such as database, schema and table; the driver says how many.
///
/// As text the parts are joined by points; a part with a point, a bracket, a quote or a colon in it stands between
/// double quotes, which are doubled within.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName(Vec<String>);

/// What a part of a name has between quotes only.
const SPECIAL: &[char] = &['.', '[', ']', '"', ':'];

impl TableName {
    /// Most bytes of a part.
    pub const MAX_PART: usize = 1024;

    /// Makes a name of one to three parts, each of 1 … [`Self::MAX_PART`] bytes.
    pub fn new(parts: Vec<String>) -> Result<Self, RecordError> {
        let fits = (1..=3).contains(&parts.len())
            && parts.iter().all(|part| (1..=Self::MAX_PART).contains(&part.len()));
        match fits {
            true => Ok(Self(parts)),
            false => Err(RecordError::Unsupported { what: format!("a table of the name {parts:?}") }),
        }
    }

    /// Makes a name of one part.
    pub fn simple(table: &str) -> Result<Self, RecordError> {
        Self::new(vec![table.to_owned()])
    }

    /// Reads a name as [`fmt::Display`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut parts, mut rest) = (Vec::new(), text);
        loop {
            let (part, after) = read_part(rest, SPECIAL)?;
            parts.push(part);
            rest = after;
            match rest.strip_prefix('.') {
                Some(more) => rest = more,
                None if rest.is_empty() => return Self::new(parts).ok(),
                None => return None,
            }
        }
    }

    /// Returns its parts.
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// Returns its last part.
    pub fn table(&self) -> &str {
        self.0.last().map_or("", |table| table)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "." })?;
            match part.contains(SPECIAL) {
                true => write!(f, "\"{}\"", part.replace('"', "\"\""))?,
                false => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// Reads a part of a name or key: what stands between double quotes, which are doubled within, or all before one of
/// `special`. Returns the text after it too; none if a quote does not end.
pub(super) fn read_part<'t>(text: &'t str, special: &[char]) -> Option<(String, &'t str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let (part, rest) = text.split_at(text.find(special).unwrap_or(text.len()));
        return Some((part.to_owned(), rest));
    };
    let mut part = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        part.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => rest = more,
            None => return Some((part, after)),
        }
        part.push('"');
    }
}

/// What a column holds, in words that all engines share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TypeClass {
    /// True or false.
    Bool,
    /// Integers.
    Integer,
    /// Decimal numbers.
    Decimal,
    /// Singles and doubles.
    Float,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// Days.
    Date,
    /// Times of day, or spans in hours.
    Time,
    /// Times of day with their offset.
    TimeZoned,
    /// Days and times of no zone.
    Timestamp,
    /// Moments.
    Moment,
    /// Spans.
    Interval,
    /// JSON as text.
    Json,
    /// Each value may be of another type.
    Any,
    /// What only the engine knows, as the text or bytes it writes.
    Other,
}

impl TypeClass {
    /// Every class, in the order of their stored numbers.
    pub const ALL: [Self; 15] = [
        Self::Bool,
        Self::Integer,
        Self::Decimal,
        Self::Float,
        Self::Text,
        Self::Bytes,
        Self::Date,
        Self::Time,
        Self::TimeZoned,
        Self::Timestamp,
        Self::Moment,
        Self::Interval,
        Self::Json,
        Self::Any,
        Self::Other,
    ];
}

/// How a column gets its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Filled {
    /// By whoever writes the row.
    #[default]
    Written,
    /// By whoever writes the row, or by counting.
    Counted,
    /// By the engine, from other columns, when a row is written. Its values are not in the rows, unless it belongs
    /// to the key.
    Stored,
    /// By the engine, from other columns, when a row is read. Its values are not in the rows.
    Computed,
    /// It is what the engine numbers rows with where the table has no key (SQLite's `rowid`): not among the declared
    /// columns, yet read and written like one.
    Hidden,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub class: TypeClass,
    /// Its type as the engine writes it: `varchar(80)`.
    pub type_text: String,
    /// Whether it may hold NULL.
    pub nullable: bool,
    /// What it holds where nothing is said: the engine's own expression.
    pub default: Option<String>,
    /// How it gets its value.
    pub filled: Filled,
    /// The order of its text, where the engine names one.
    pub collation: Option<String>,
}

impl Column {
    /// Makes a column that may be NULL and has no default.
    pub fn new(name: &str, class: TypeClass, type_text: &str) -> Self {
        Self {
            name: name.to_owned(),
            class,
            type_text: type_text.to_owned(),
            nullable: true,
            default: None,
            filled: Filled::Written,
            collation: None,
        }
    }

    /// Returns whether whoever writes a row may say its value.
    pub fn is_written(&self) -> bool {
        !matches!(self.filled, Filled::Stored | Filled::Computed)
    }
}

/// Something beside tables and rows, as the engine's own text that makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What it is, in the engine's word: `index`, `trigger`, `view`, `sequence`, `type`, `foreign key`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The statement that makes it, as the engine wrote it.
    pub ddl: String,
}

/// What is known of a table beside its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// Its name.
    pub name: TableName,
    /// Its columns in their order.
    pub columns: Vec<Column>,
    /// The columns whose values, in this order, no two rows share and none of which is NULL in any row: the primary
    /// key, else a unique one. Empty: rows are keyed by their whole content.
    pub key: Vec<String>,
    /// Other unique keys.
    pub unique: Vec<Vec<String>>,
    /// The order of its text, where the engine names one.
    pub collation: Option<String>,
    /// The statement that makes the table.
    pub create: String,
    /// What is made when the rows are in it, in this order: indexes, constraints, triggers.
    pub after: Vec<Object>,
}

impl TableSchema {
    /// Makes a table of columns, keyed by some of them.
    pub fn new(name: TableName, columns: Vec<Column>, key: &[&str]) -> Self {
        let key = key.iter().map(|column| (*column).to_owned()).collect();
        let (unique, after) = Default::default();
        Self { name, columns, key, unique, collation: None, create: String::new(), after }
    }

    /// Returns whether rows have a value of the column: all but what the engine makes of others, unless it is of the
    /// key.
    pub fn is_in_rows(&self, column: &Column) -> bool {
        column.is_written() || self.key.contains(&column.name)
    }

    /// Returns the columns that a row has values of, in the order of the values.
    pub fn row_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| self.is_in_rows(column))
    }

    /// Returns for each column of the key where its value stands in a row.
    pub fn key_places(&self) -> Result<Vec<usize>, RecordError> {
        let place = |name: &String| self.row_columns().position(|column| column.name == *name);
        let places: Option<Vec<usize>> = self.key.iter().map(place).collect();
        places.ok_or_else(|| RecordError::Unsupported {
            what: format!("table {}: a key of a column that it does not have", self.name),
        })
    }
}

/// What is known of a table only when its rows are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableEnd {
    /// Its rows.
    pub rows: u64,
    /// What its counter would give next, where it has one.
    pub counter: Option<u64>,
}

/// What is known of a source beside its tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSchema {
    /// The engine: `sqlite`, `mariadb`, `postgresql`.
    pub engine: String,
    /// Its version, as it says it: `10.11.14-MariaDB-0+deb12u2`.
    pub version: String,
    /// Names and values of what else is of use: character sets, modes, time zone.
    pub facts: Vec<(String, String)>,
    /// What must be there before the tables are made, in this order: types, sequences, functions.
    pub before: Vec<Object>,
    /// What is made when all tables are whole, in this order: views, functions, events.
    pub after: Vec<Object>,
    /// Tables that were asked for by their name and were not there.
    pub absent: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for parts in
            [vec!["a"], vec!["db", "public", "t"], vec!["a.b", "c\"d"], vec!["x[1]", ":"], vec![" ", "ü"]]
        {
            let name = TableName::new(parts.iter().map(|part| (*part).to_owned()).collect()).unwrap();
            assert_eq!(TableName::parse(&name.to_string()), Some(name.clone()), "{name}");
        }
        for wrong in ["", ".", "a.", "a..b", "a.b.c.d", "\"a", "\"a\"b", "a[", "a\"b"] {
            assert_eq!(TableName::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rows_have_what_was_written_and_what_the_key_needs() {
        let filled = |name: &str, filled| Column { filled, ..Column::new(name, TypeClass::Any, "") };
        let columns = vec![
            filled("a", Filled::Stored),
            filled("b", Filled::Stored),
            filled("c", Filled::Written),
            filled("d", Filled::Computed),
        ];
        let table = TableSchema::new(TableName::simple("t").unwrap(), columns, &["c", "b"]);
        assert_eq!(table.row_columns().map(|column| &column.name[..]).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(table.key_places().unwrap(), [1, 0]);
        assert!(TableSchema { key: vec!["e".into()], ..table }.key_places().is_err());
    }
}
