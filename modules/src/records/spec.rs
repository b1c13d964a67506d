//! What a person names of a dump: a source, a table of it, rows by their keys.

use super::schema::read_part;
use super::{StoredTable, TableName, TimeKind, TypeClass, Value};

/// `source:NAME`, `source:NAME:TABLE`, `source:NAME:TABLE[KEY]…`; columns of a key are separated by commas, and a part
/// with a comma, a bracket or a quote in it stands between double quotes, which are doubled within.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSpec {
    /// The source.
    pub source: String,
    /// The table.
    pub table: Option<TableName>,
    /// The keys, as they were typed.
    pub keys: Vec<Vec<String>>,
}

impl RecordSpec {
    /// Reads what was typed; an error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("source:").filter(|rest| !rest.is_empty());
        let rest = rest.ok_or_else(|| format!("{text:?} does not begin with `source:` and a name"))?;
        let Some((source, rest)) = rest.split_once(':') else {
            return Ok(Self { source: rest.to_owned(), table: None, keys: Vec::new() });
        };
        let end = end_of_name(rest);
        let (name, mut keys_text) = rest.split_at(end);
        let table = TableName::parse(name).ok_or_else(|| format!("{name:?} is no name of a table"))?;
        let mut keys = Vec::new();
        while !keys_text.is_empty() {
            let (key, left) = key(keys_text)
                .ok_or_else(|| format!("{keys_text:?} is no key: write [VALUE] or [VALUE,VALUE]"))?;
            keys.push(key);
            keys_text = left;
        }
        Ok(Self { source: source.to_owned(), table: Some(table), keys })
    }
}

fn end_of_name(text: &str) -> usize {
    let mut is_quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'[' if !is_quoted => return at,
            _ => {}
        }
    }
    text.len()
}

/// Reads one key; returns what is left.
fn key(text: &str) -> Option<(Vec<String>, &str)> {
    let (mut rest, mut parts) = (text.strip_prefix('[')?, Vec::new());
    loop {
        let (part, after) = read_part(rest, &[',', ']', '"', '['])?;
        parts.push(part);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Some((parts, after.strip_prefix(']')?)),
        }
    }
}

/// Most keys that what was typed may mean: its parts may be read as values of several types.
const MAX_MEANINGS: usize = 256;

/// Returns the keys that may be meant, the likeliest first; none if the table has no such key.
pub fn meanings(table: &StoredTable, typed: &[String]) -> Vec<Vec<Value>> {
    let schema = &table.schema;
    if schema.key.len() != typed.len() {
        return Vec::new();
    }
    let mut all: Vec<Vec<Value>> = vec![Vec::new()];
    for (name, text) in schema.key.iter().zip(typed) {
        let class = schema.columns.iter().find(|column| column.name == *name).map(|column| column.class);
        let values = values(class.unwrap_or(TypeClass::Any), text);
        let extended = all
            .iter()
            .flat_map(|key| values.iter().map(move |value| [&key[..], std::slice::from_ref(value)].concat()));
        all = extended.take(MAX_MEANINGS).collect();
    }
    all
}

/// Returns what a text may be as a value of a column.
fn values(class: TypeClass, text: &str) -> Vec<Value> {
    let integer = || {
        let signed = text.parse().ok().map(Value::Int);
        signed.or_else(|| text.parse().ok().map(Value::from_u64))
    };
    let bytes = || {
        let hex = text.strip_prefix("0x").filter(|hex| hex.is_ascii() && hex.len().is_multiple_of(2))?;
        let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        (0..hex.len()).step_by(2).map(byte).collect::<Option<_>>().map(Value::Bytes)
    };
    let time = |kind| Some(Value::Time(kind, text.to_owned()));
    let first = match class {
        TypeClass::Bool => text.parse().ok().map(Value::Bool),
        TypeClass::Integer => integer(),
        TypeClass::Decimal => Value::decimal(text),
        TypeClass::Float => text.parse().ok().map(Value::Float),
        TypeClass::Bytes => bytes(),
        TypeClass::Date => time(TimeKind::Date),
        TypeClass::Time => time(TimeKind::Time),
        TypeClass::TimeZoned => time(TimeKind::TimeZoned),
        TypeClass::Timestamp => time(TimeKind::Timestamp),
        TypeClass::Moment => time(TimeKind::Moment),
        TypeClass::Interval => time(TimeKind::Interval),
        TypeClass::Text | TypeClass::Json | TypeClass::Any | TypeClass::Other => None,
    };
    let others = match class {
        TypeClass::Any => vec![integer(), text.parse().ok().map(Value::Float), bytes()],
        _ => vec![integer()],
    };
    let mut all: Vec<Value> = first.into_iter().collect();
    let is_text = matches!(class, TypeClass::Text | TypeClass::Json | TypeClass::Other);
    let text = Some(Value::Text(text.to_owned()));
    let rest = if is_text { [vec![text], others].concat() } else { [others, vec![text]].concat() };
    for value in rest.into_iter().flatten() {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::{Column, TableSchema};
    use super::*;

    #[test]
    fn what_is_typed_is_understood() {
        let spec = |source: &str, table: Option<&str>, keys: &[&[&str]]| RecordSpec {
            source: source.into(),
            table: table.map(|table| TableName::parse(table).unwrap()),
            keys: keys.iter().map(|key| key.iter().map(|part| (*part).to_owned()).collect()).collect(),
        };
        for (text, meant) in [
            ("source:db", spec("db", None, &[])),
            ("source:db:people", spec("db", Some("people"), &[])),
            ("source:db:a.b[1][2,x]", spec("db", Some("a.b"), &[&["1"], &["2", "x"]])),
            ("source:db:\"x[1]\"[\"a,\"\"b\",]", spec("db", Some("\"x[1]\""), &[&["a,\"b", ""]])),
        ] {
            assert_eq!(RecordSpec::parse(text), Ok(meant), "{text}");
        }
        for wrong in [
            "",
            "db",
            "source:",
            "source:db:",
            "source:db:t[",
            "source:db:t[1",
            "source:db:t[1]x",
            "source:db:t]",
        ] {
            assert!(RecordSpec::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_read_as_their_columns_say_and_then_as_what_they_look_like() {
        let columns = vec![
            Column::new("a", TypeClass::Integer, ""),
            Column::new("b", TypeClass::Text, ""),
            Column::new("c", TypeClass::Any, ""),
        ];
        let schema = TableSchema::new(TableName::simple("t").unwrap(), columns, &["b", "c"]);
        let table = StoredTable { schema, condition: None };
        let found = meanings(&table, &["7".into(), "0x00ff".into()]);
        assert_eq!(found[0], [Value::Text("7".into()), Value::Bytes(vec![0, 255])]);
        assert!(found.contains(&vec![Value::Int(7), Value::Text("0x00ff".into())]));
        assert_eq!(meanings(&table, &["7".into()]), Vec::<Vec<Value>>::new());
    }
}
