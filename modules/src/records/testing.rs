//! Values for tests, their order as a naive reader of the format would have it, and a repository of one dump.

use super::row::MAX_SHORT;
use super::{
    Exported, PutEntry, RecordError, RecordReader, RecordSource, Selection, SortRoom, TimeKind, Value, export,
};
use dedup_engine::error::Kind;
use dedup_engine::map::memory::{MemoryChunks, MemoryError};
use dedup_engine::map::{Builder, LeafTarget, Root};
use proptest::prelude::*;
use std::cmp::Ordering;

/// Any value that a key may have.
pub(super) fn any_scalar() -> impl Strategy<Value = Value> {
    let bytes = || proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..6);
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![any::<i64>(), -3i64..3, Just(i64::MIN), Just(i64::MAX)].prop_map(Value::Int),
        any::<u64>().prop_map(Value::from_u64),
        ("-?[0-9]{1,3}(\\.[0-9]{1,4})?|-?0\\.0{0,3}[0-9]|NaN|-?Infinity")
            .prop_map(|text| Value::decimal(&text).unwrap()),
        any::<f64>().prop_map(Value::Float),
        prop_oneof![Just(f64::NAN), Just(-0.0), Just(0.0), Just(f64::INFINITY)].prop_map(Value::Float),
        "[a\u{0}\u{1}é😀]{0,4}".prop_map(Value::Text),
        bytes().prop_map(Value::text),
        bytes().prop_map(Value::Bytes),
        (0usize..6, "[-0-9: ]{0,12}").prop_map(|(kind, text)| Value::Time(TimeKind::ALL[kind], text)),
    ]
}

/// Any value.
pub(super) fn any_value() -> impl Strategy<Value = Value> {
    let long = (0usize..3, any::<u8>()).prop_map(|(more, byte)| {
        let bytes = vec![byte; MAX_SHORT + more];
        if byte % 3 == 0 { Value::Bytes(bytes) } else { Value::text(bytes) }
    });
    let leaf = prop_oneof![9 => any_scalar(), 1 => long];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::vec(("[a$]{0,2}", inner), 0..4).prop_map(Value::Map),
        ]
    })
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::UInt(_) => 2,
        Value::Decimal(_) => 3,
        Value::Float(_) => 4,
        Value::Text(_) | Value::RawText(_) => 5,
        Value::Bytes(_) => 6,
        Value::Time(kind, _) => 7 + *kind as u8,
        Value::List(_) | Value::Map(_) => 255,
    }
}

fn number(value: &Value) -> i128 {
    match value {
        Value::Int(number) => (*number).into(),
        Value::UInt(number) => (*number).into(),
        _ => 0,
    }
}

/// A short decimal in ten-thousandths, with its digits after the point.
fn decimal(text: &str) -> (i128, usize) {
    match text {
        "-Infinity" => return (i128::MIN, 0),
        "Infinity" => return (i128::MAX - 1, 0),
        "NaN" => return (i128::MAX, 0),
        _ => {}
    }
    let (minus, number) = text.strip_prefix('-').map_or((1, text), |number| (-1, number));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scaled: i128 = format!("{whole}{fraction:0<6}").parse().unwrap();
    (minus * scaled, fraction.len())
}

fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::Text(text) | Value::Time(_, text) => text.as_bytes(),
        Value::RawText(bytes) | Value::Bytes(bytes) => bytes,
        _ => &[],
    }
}

/// The order of two values that a key may have.
pub(super) fn compare(a: &Value, b: &Value) -> Ordering {
    let ranks = rank(a).cmp(&rank(b));
    ranks.then_with(|| match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Decimal(a), Value::Decimal(b)) => decimal(a).cmp(&decimal(b)),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Int(_) | Value::UInt(_), _) => number(a).cmp(&number(b)),
        _ => bytes(a).cmp(bytes(b)),
    })
}

impl From<MemoryError> for RecordError {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::Corrupt(corrupt) => corrupt.into(),
            other => Self::engine("read a chunk", Kind::Missing, other),
        }
    }
}

/// The entries of a map, as they came.
#[derive(Default)]
struct Listed(Vec<(Vec<u8>, Vec<u8>)>);

impl PutEntry for Listed {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), RecordError> {
        assert!(self.0.last().is_none_or(|(last, _)| &last[..] < key), "keys rise");
        self.0.push((key.to_vec(), value.to_vec()));
        Ok(())
    }
}

pub(super) fn leaf_target() -> LeafTarget {
    LeafTarget::new(1024).unwrap()
}

pub(super) fn build(chunks: &MemoryChunks, entries: &[(Vec<u8>, Vec<u8>)]) -> Root {
    let mut builder = Builder::new(chunks, &[7; 32], leaf_target());
    entries.iter().for_each(|(key, value)| builder.push(key, value).unwrap());
    builder.finish().unwrap()
}

/// A source that was stored: in a map, sorted where it had to be in almost no memory.
pub(crate) struct Stored {
    pub(crate) chunks: MemoryChunks,
    pub(crate) entries: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) exported: Exported,
}

impl Stored {
    pub(crate) fn of(source: Box<dyn RecordSource + '_>, selection: &Selection) -> Result<Self, RecordError> {
        let dir = tempfile::tempdir().unwrap();
        let room = SortRoom { directory: dir.path().to_owned(), bytes: 4000 };
        let mut listed = Listed::default();
        let exported = export(source, selection, &mut listed, &room)?;
        Ok(Self { chunks: MemoryChunks::new(), entries: listed.0, exported })
    }

    pub(crate) fn reader(&self) -> RecordReader<'_, MemoryChunks> {
        RecordReader::new(&self.chunks, build(&self.chunks, &self.entries), leaf_target())
    }
}
