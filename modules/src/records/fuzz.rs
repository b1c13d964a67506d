//! What fuzzing does with stored records: each is held to having one encoding. Returns whether the bytes were taken.

use super::codec::{decode_end, decode_source, decode_table, encode_end, encode_source, encode_table};
use super::key::{put_table, put_value, read_table, read_value};
use super::row::{Long, put_row};
use super::row_values::{check_row, read_row};
use super::{RecordSpec, TableName, Value};
use dedup_engine::error::Corrupt;
use dedup_engine::wire::Reader;

/// Reads so many values of a row into room that others had, which changes nothing.
pub(super) fn read_values(bytes: &[u8], count: usize) -> Result<(Vec<Value>, Vec<Long>), Corrupt> {
    let places: Vec<usize> = (0..count).collect();
    let (mut values, mut others) = (vec![Value::Null; count], vec![Value::Text("before".into()); count]);
    let read = read_row(bytes, &places, &mut values);
    for _ in 0..2 {
        let again = read_row(bytes, &places, &mut others);
        assert_eq!(read.as_ref().ok(), again.as_ref().ok());
        assert!(read.is_err() || values == others);
        // Each in the room of its neighbour.
        others.rotate_right(1.min(count));
    }
    read.map(|longs| (values, longs))
}

/// A key: the name of a table, the kind of the entry, values.
pub fn key(bytes: &[u8]) -> bool {
    let mut reader = Reader::new("key", bytes);
    let Ok((name, kind)) = read_table(&mut reader) else { return false };
    let mut again = Vec::new();
    put_table(&name, &mut again);
    again.push(kind as u8);
    assert_eq!(TableName::parse(&name.to_string()), Some(name));
    while reader.left() > 0 {
        let before = (reader.position(), again.len());
        let Ok(value) = read_value(&mut reader) else { return false };
        assert_eq!(put_value(&value, &mut again).map_err(|error| error.to_string()), Ok(()));
        assert_eq!(bytes[before.0..reader.position()], again[before.1..]);
    }
    assert_eq!(again, bytes);
    true
}

/// A row, after the number of its values.
pub fn row(bytes: &[u8]) -> bool {
    let Some((count, bytes)) = bytes.split_first() else { return false };
    // Both find the same, the one without making anything of it.
    let checked = check_row(bytes, usize::from(*count)).ok();
    let read = read_values(bytes, usize::from(*count)).ok();
    assert_eq!(checked, read.as_ref().map(|(_, longs)| longs.clone()));
    let Some((values, longs)) = read else { return false };
    assert_eq!(values.len(), usize::from(*count));
    if longs.is_empty() {
        let mut again = Vec::new();
        assert_eq!(put_row(values.iter(), &mut again).map_err(|error| error.to_string()), Ok(()));
        assert_eq!(again, bytes);
    }
    true
}

/// Schemas of tables and sources, ends of tables, after a byte that says which.
pub fn schema(bytes: &[u8]) -> bool {
    let Some((which, bytes)) = bytes.split_first() else { return false };
    match which {
        0 => {
            let Ok(name) = TableName::simple("t") else { return false };
            let Ok(table) = decode_table(name, bytes) else { return false };
            // What it says may have another form only in extensions that are passed over.
            assert!(encode_table(&table).is_ok_and(|again| again.len() <= bytes.len()));
        }
        1 => {
            let Ok((source, tables)) = decode_source(bytes) else { return false };
            assert!(encode_source(&source, tables).is_ok_and(|again| again.len() <= bytes.len()));
        }
        _ => {
            let Ok((end, digest)) = decode_end(bytes) else { return false };
            assert!(encode_end(&end, &digest).len() <= bytes.len());
        }
    }
    true
}

/// What a person names.
pub fn spec(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| RecordSpec::parse(text).is_ok())
}
