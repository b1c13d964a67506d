use super::super::testing::{any_scalar, compare};
use super::*;
use proptest::prelude::*;

fn encoded(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| put_value(value, &mut out).unwrap());
    out
}

fn decoded(bytes: &[u8], count: usize) -> Vec<Value> {
    let mut reader = Reader::new("key", bytes);
    let values = (0..count).map(|_| read_value(&mut reader).unwrap()).collect();
    reader.finish().unwrap();
    values
}

proptest! {
    #[test]
    fn keys_are_read_as_they_were_written(values in proptest::collection::vec(any_scalar(), 0..5)) {
        prop_assert_eq!(decoded(&encoded(&values), values.len()), values);
    }

    #[test]
    fn the_order_of_bytes_is_that_of_the_values(
        a in proptest::collection::vec(any_scalar(), 2),
        b in proptest::collection::vec(any_scalar(), 2),
    ) {
        let order = compare(&a[0], &b[0]).then(compare(&a[1], &b[1]));
        prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), order);
    }

    #[test]
    fn no_key_begins_another(a in any_scalar(), b in any_scalar()) {
        prop_assert!(a == b || !encoded(std::slice::from_ref(&b)).starts_with(&encoded(&[a])));
    }

    #[test]
    fn a_value_has_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..24), tag in 0u8..0x30) {
        let bytes = [&[tag][..], &bytes].concat();
        let mut reader = Reader::new("key", &bytes);
        if let Ok(value) = read_value(&mut reader) {
            prop_assert_eq!(&encoded(&[value])[..], &bytes[..reader.position()]);
        }
    }

    #[test]
    fn names_of_tables_stand_in_their_order(
        a in proptest::collection::vec("[a\u{0}é]{1,3}", 1..4),
        b in proptest::collection::vec("[a\u{0}é]{1,3}", 1..4),
    ) {
        let of = |parts: &Vec<String>| {
            let name = TableName::new(parts.clone()).unwrap();
            let mut out = Vec::new();
            put_table(&name, &mut out);
            out.push(2);
            let mut reader = Reader::new("key", &out);
            assert_eq!(read_table(&mut reader).unwrap(), (name, EntryKind::Row));
            reader.finish().unwrap();
            out
        };
        prop_assert_eq!(of(&a).cmp(&of(&b)), a.cmp(&b));
    }
}

/// The bytes themselves, so that nobody changes them by accident.
#[test]
fn golden_keys() {
    let decimal = |text: &str| Value::decimal(text).unwrap();
    for (value, hex) in [
        (Value::Null, "00"),
        (Value::Bool(true), "02"),
        (Value::Int(-1), "107fffffffffffffff"),
        (Value::Int(0), "108000000000000000"),
        (Value::UInt(u64::MAX), "11ffffffffffffffff"),
        (decimal("0.00"), "140200000002"),
        (decimal("12.50"), "1403800000020203060000000002"),
        (decimal("-12.5"), "14017ffffffdfdfcf9ff00000001"),
        (decimal("0.001"), "14037ffffffe020000000003"),
        (decimal("-Infinity"), "1400"),
        (Value::Float(1.5), "18bff8000000000000"),
        (Value::Float(-1.5), "184007ffffffffffff"),
        (Value::Text("a\0b".into()), "206100ff620000"),
        (Value::RawText(vec![0xff]), "20ff0000"),
        (Value::Bytes(vec![0, 0]), "2400ff00ff0000"),
        (Value::Time(TimeKind::Date, "2026-11-21".into()), "28323032362d31312d32310000"),
        (Value::Time(TimeKind::Interval, "1 day".into()), "2d31206461790000"),
    ] {
        assert_eq!(dedup_engine::id::to_hex(&encoded(std::slice::from_ref(&value))), hex, "{value:?}");
    }
    let mut out = Vec::new();
    put_table(&TableName::parse("db.t").unwrap(), &mut out);
    assert_eq!(dedup_engine::id::to_hex(&out), "64620001740000");
}

#[test]
fn hostile_decimals_are_refused_before_they_grow() {
    // 10^2147483647, without a point.
    let huge = [&[0x14, 3, 0xff, 0xff, 0xff, 0xff, 2, 0][..], &[0; 4]].concat();
    let fine = [&[0x14, 3, 0x80, 0, 0, 1, 2, 0][..], &[0, 0, 0, 0]].concat();
    let scale = [&[0x14, 2][..], &[0xff; 4]].concat();
    let zeros = [&[0x14, 3, 0x80, 0, 0, 1, 2, 1, 0][..], &[0; 4]].concat();
    for (bytes, reads) in [(huge, false), (fine, true), (scale, false), (zeros, false)] {
        assert_eq!(read_value(&mut Reader::new("key", &bytes)).is_ok(), reads, "{bytes:?}");
    }
}
