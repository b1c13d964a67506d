use super::super::content::content_key;
use super::super::key::PREFIX_BYTES;
use super::super::testing::any_value;
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
        let (mut read, longs) = read_row(&bytes, values.len()).unwrap();
        let named = longs.clone();
        for long in longs {
            let at = usize::from(long.at);
            let (kind, content) = long_bytes(&values[at]).unwrap();
            prop_assert_eq!((kind, content.len() as u64), (long.kind, long.len));
            read[at] = of_long(kind, content.to_vec()).unwrap();
        }
        prop_assert_eq!(&read, &values);
        prop_assert_eq!(check_row(&bytes, values.len()).unwrap(), named);
        prop_assert!(read_row(&bytes, values.len() + 1).is_err(), "a value more");
        prop_assert!(values.is_empty() || read_row(&bytes, values.len() - 1).is_err(), "a value fewer");
    }

    #[test]
    fn a_row_has_one_encoding(bytes in proptest::collection::vec(0u8..20, 0..40), count in 0usize..8) {
        let checked = check_row(&bytes, count).ok();
        prop_assert_eq!(checked, read_row(&bytes, count).ok().map(|(_, longs)| longs));
        if let Ok((values, longs)) = read_row(&bytes, count)
            && longs.is_empty()
        {
            prop_assert_eq!(encoded(&values), bytes);
        }
    }
}

#[test]
fn depth_is_held_without_recursion() {
    for (depth, fits) in [(MAX_DEPTH, true), (MAX_DEPTH + 1, false), (1 << 20, false)] {
        let mut bytes = [11, 1].repeat(depth);
        bytes.push(0);
        assert_eq!(read_row(&bytes, 1).is_ok(), fits, "{depth}");
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
