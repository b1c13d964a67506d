use super::super::content::content_key;
use super::super::fuzz::read_values;
use super::super::key::PREFIX_BYTES;
use super::super::row_values::{check_row, read_row};
use super::super::testing::any_value;
use super::super::value::TimeKind;
use super::*;
use proptest::prelude::*;

fn encoded(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    put_row(values.iter(), &mut out).unwrap();
    out
}

proptest! {
    #[test]
    fn rows_are_read_as_they_were_written(values in proptest::collection::vec(any_value(), 0..6)) {
        let bytes = encoded(&values);
        let (mut read, longs) = read_values(&bytes, values.len()).unwrap();
        let named = longs.clone();
        for long in longs {
            let at = usize::from(long.at);
            let (kind, content) = long_bytes(&values[at]).unwrap();
            prop_assert_eq!((kind, content.len() as u64), (long.kind, long.len));
            read[at] = of_long(kind, content.to_vec()).unwrap();
        }
        prop_assert_eq!(&read, &values);
        prop_assert_eq!(check_row(&bytes, values.len()).unwrap(), named);
        prop_assert!(read_values(&bytes, values.len() + 1).is_err(), "a value more");
        prop_assert!(values.is_empty() || read_values(&bytes, values.len() - 1).is_err(), "a value fewer");
    }

    #[test]
    fn a_row_has_one_encoding(bytes in proptest::collection::vec(0u8..20, 0..40), count in 0usize..8) {
        let checked = check_row(&bytes, count).ok();
        prop_assert_eq!(checked, read_values(&bytes, count).ok().map(|(_, longs)| longs));
        if let Ok((values, longs)) = read_values(&bytes, count)
            && longs.is_empty()
        {
            prop_assert_eq!(encoded(&values), bytes);
        }
    }
}

proptest! {
    #[test]
    fn a_row_takes_the_room_of_another(rows in proptest::collection::vec(proptest::collection::vec(any_value(), 4..5), 2..6)) {
        let mut values = vec![Value::Null; 4];
        for row in rows {
            let bytes = encoded(&row);
            let longs = read_row(&bytes, &[0, 1, 2, 3], &mut values).unwrap();
            let is_long = |at: usize| longs.iter().any(|long| usize::from(long.at) == at);
            for (at, (value, wanted)) in values.iter().zip(&row).enumerate() {
                prop_assert_eq!(value, if is_long(at) { &Value::Null } else { wanted });
            }
        }
    }
}

#[test]
fn room_is_used_again_unless_it_is_much_more_than_is_needed() {
    let text = |len: usize| encoded(&[Value::Text("x".repeat(len))]);
    let mut values = vec![Value::Null];
    let mut room = |len: usize| {
        read_row(&text(len), &[0], &mut values).unwrap();
        match &values[0] {
            Value::Text(text) => (text.as_ptr(), text.capacity()),
            other => panic!("{other:?}"),
        }
    };
    let first = room(100);
    assert_eq!(room(7), first);
    assert_eq!(room(100), first);
    let long = room(4000);
    assert_eq!(room(2500), long);
    assert!(room(100).1 < 1000);
    // A value that has no place is no value that can be passed over.
    assert!(read_row(&text(1), &[1], &mut values).is_err());
}

#[test]
fn depth_is_held_without_recursion() {
    for (depth, fits) in [(MAX_DEPTH, true), (MAX_DEPTH + 1, false), (1 << 20, false)] {
        let mut bytes = [11, 1].repeat(depth);
        bytes.push(0);
        assert_eq!(read_values(&bytes, 1).is_ok(), fits, "{depth}");
        assert_eq!(check_row(&bytes, 1).is_ok(), fits, "{depth}");
        if depth < 100 {
            let value = (0..depth).fold(Value::Null, |inner, _| Value::List(vec![inner]));
            let mut out = Vec::new();
            assert_eq!(put_row([value].iter(), &mut out).is_ok(), fits, "{depth}");
            assert!(!fits || out == bytes);
        }
    }
}

/// The bytes themselves, so that nobody changes them by accident.
#[test]
fn golden_rows() {
    let long = "x".repeat(MAX_SHORT + 1);
    let values = [
        Value::Null,
        Value::Int(-1),
        Value::UInt(1 << 63),
        Value::decimal("-1.50").unwrap(),
        Value::Float(1.5),
        Value::Text("é".into()),
        Value::Bytes(vec![0, 255]),
        Value::Time(TimeKind::Moment, "2026".into()),
        Value::Map(vec![("a".into(), Value::List(vec![Value::Bool(true)]))]),
        Value::Text(long),
    ];
    assert_eq!(
        dedup_engine::id::to_hex(&encoded(&values)),
        "000301048080808080808080800105052d312e353006000000000000f83f0702c3a9090200ff0a0404323032360c0101610b01020d8120"
    );
    let key = content_key(&values[1..], &encoded(&values));
    assert_eq!(key.len(), PREFIX_BYTES + 16);
    assert!(
        dedup_engine::id::to_hex(&key).starts_with("107fffffffffffffff118000000000000000140"),
        "{key:x?}"
    );
    let hash = dedup_engine::id::to_hex(&content_key(&[Value::Null], &[0]));
    assert_eq!(hash, "004dca59f5c64500332374129aac08e164");
}
