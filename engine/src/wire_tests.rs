//! Every encoding both ways, and what is refused.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn numbers_round_trip(a in any::<u64>(), b in any::<i64>(), text in ".{0,40}") {
        let mut out = Vec::new();
        out.put_varint(a);
        out.put_zigzag(b);
        out.put_bytes(text.as_bytes());
        let mut reader = Reader::new("test", &out);
        prop_assert_eq!(reader.varint().unwrap(), a);
        prop_assert_eq!(reader.zigzag().unwrap(), b);
        prop_assert_eq!(reader.text(1000, "text").unwrap(), text);
        reader.finish().unwrap();
    }

    #[test]
    fn a_number_has_one_encoding(input in proptest::collection::vec(any::<u8>(), 0..12)) {
        let mut reader = Reader::new("test", &input);
        if let Ok(value) = reader.varint() {
            let mut again = Vec::new();
            again.put_varint(value);
            prop_assert_eq!(&again[..], &input[..reader.position()]);
        }
    }
}

#[test]
fn lengths_are_checked_before_anything_is_taken() {
    let mut long = Vec::new();
    long.put_varint(u64::MAX);
    assert!(Reader::new("test", &long).bytes(usize::MAX, "bytes").is_err());
    assert!(Reader::new("test", &long).count(usize::MAX, 32, "ids").is_err());
    assert!(Reader::new("test", &[1, 2]).u32().is_err());
    assert!(Reader::new("test", &[0]).finish().is_err());
}

#[test]
fn odd_extensions_are_newer_features_and_even_ones_are_skipped() {
    assert!(Reader::new("test", &[1, 2, 1, 9]).extensions().is_ok());
    let error = Reader::new("test", &[1, 3, 1, 9]).extensions().unwrap_err();
    assert!(error.wrong.contains("feature 3"), "{error}");
    assert!(Reader::new("test", &[2, 4, 0, 2, 0]).extensions().is_err(), "tags must rise");
    for (len, fits) in [(MAX_EXTENSION, true), (MAX_EXTENSION + 1, false)] {
        let mut long = vec![1, 2];
        long.put_bytes(&vec![0; len]);
        assert_eq!(Reader::new("test", &long).extensions().is_ok(), fits, "{len} bytes");
    }
}

#[test]
fn numbers_are_written_little_endian_and_as_short_as_they_go() {
    let mut out = Vec::new();
    out.put_u8(0x81);
    out.put_u16(0x0102);
    out.put_i16(-2);
    out.put_u32(0x0102_0304);
    out.put_u64(0x0102_0304_0506_0708);
    out.put_i64(-2);
    out.put(b"raw");
    out.put_bytes(b"counted");
    out.put_no_extensions();
    [0, 127, 128, 16_383, 16_384].into_iter().for_each(|value| out.put_varint(value));
    [0, -1, 1, -64, 64].into_iter().for_each(|value| out.put_zigzag(value));
    let parts: [&[u8]; 11] = [
        &[0x81, 2, 1, 0xFE, 0xFF, 4, 3, 2, 1],
        &[8, 7, 6, 5, 4, 3, 2, 1],
        &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        b"raw",
        b"\x07counted",
        &[0],
        &[0, 0x7F],
        &[0x80, 1],
        &[0xFF, 0x7F, 0x80, 0x80, 1],
        &[0, 1, 2, 0x7F],
        &[0x80, 1],
    ];
    assert_eq!(out, parts.concat());
    let mut reader = Reader::new("test", &out);
    assert_eq!((reader.u8().unwrap(), reader.u16().unwrap(), reader.i16().unwrap()), (0x81, 0x0102, -2));
    assert_eq!((reader.u32().unwrap(), reader.u64().unwrap()), (0x0102_0304, 0x0102_0304_0506_0708));
    assert_eq!((reader.i64().unwrap(), reader.take(3).unwrap()), (-2, &b"raw"[..]));
    assert_eq!(reader.text(7, "text").unwrap(), "counted");
    reader.extensions().unwrap();
    for value in [0, 127, 128, 16_383, 16_384] {
        assert_eq!(reader.at_most(value, "number").unwrap(), value);
    }
    for value in [0, -1, 1, -64, 64] {
        assert_eq!(reader.zigzag().unwrap(), value);
    }
    assert_eq!((reader.left(), reader.position()), (0, out.len()));
    reader.finish().unwrap();
}

#[test]
fn each_refusal_says_what_and_where() {
    let wrong = |input: &[u8], read: fn(&mut Reader<'_>) -> Result<(), Corrupt>| {
        let mut reader = Reader::new("test", input);
        reader.take(1).unwrap();
        let error = read(&mut reader).unwrap_err();
        assert_eq!(error.what, "test");
        (error.offset, error.wrong)
    };
    let at = |offset, wrong: &str| (Some(offset), wrong.to_owned());
    assert_eq!(wrong(&[0, 1, 2], |it| it.take(3).map(drop)), at(1, "3 bytes are needed, 2 are left"));
    assert_eq!(wrong(&[0, 0x80, 0], |it| it.varint().map(drop)), at(3, "number is not in its shortest form"));
    assert_eq!(
        wrong(&[0, 6], |it| it.at_most(5, "size").map(drop)),
        at(2, "size is 6, at most 5 is allowed")
    );
    let two = |it: &mut Reader<'_>| it.count(9, 2, "ids").map(drop);
    assert_eq!(wrong(&[0, 2, 1, 1, 1], two), at(2, "2 ids do not fit the 3 bytes left"));
    assert_eq!(wrong(&[0, 2, 0xFF, 0xFF], |it| it.text(2, "name").map(drop)), at(4, "name is not UTF-8"));
    assert_eq!(wrong(&[0, 0, 3, 0], |it| it.zeros(2)), at(3, "reserved bytes are not zero"));
    assert_eq!(wrong(&[0, 5, 6], |it| it.clone().finish()), at(1, "2 bytes too many"));

    // Each of these is right to the last.
    let mut right = Reader::new("test", &[2, 1, 1, 1, 1, 0, 0, 2, b'o', b'k']);
    assert_eq!(right.count(2, 2, "ids").unwrap(), 2);
    assert_eq!(right.take(4).unwrap(), [1; 4]);
    right.zeros(2).unwrap();
    assert_eq!(right.text(2, "text").unwrap(), "ok");
    right.finish().unwrap();
}

#[test]
fn numbers_end_at_64_bits() {
    let longest = |last: u8| [&[0xFF; 9][..], &[last]].concat();
    assert_eq!(Reader::new("test", &longest(1)).varint().unwrap(), u64::MAX);
    for wrong in [longest(2), longest(3), longest(0x81), longest(0x80)] {
        assert!(Reader::new("test", &wrong).varint().is_err(), "{wrong:?}");
    }
    for number in [i64::MIN, i64::MAX] {
        let mut out = Vec::new();
        out.put_zigzag(number);
        assert_eq!((out.len(), Reader::new("test", &out).zigzag().unwrap()), (10, number));
    }
}

#[test]
fn extensions_are_handed_out_in_order_and_their_number_is_bounded() {
    let mut seen = Vec::new();
    let bytes = [2, 2, 1, 9, 4, 2, 7, 8];
    let mut reader = Reader::new("test", &bytes);
    let mut note = |tag: u64, value: &mut Reader<'_>| {
        seen.push((tag, value.take(value.left())?.to_vec()));
        Ok(())
    };
    reader.known_extensions(&mut note).unwrap();
    assert_eq!(seen, [(2, vec![9]), (4, vec![7, 8])]);
    assert!(Reader::new("test", &[2, 2, 0, 2, 0]).extensions().is_err(), "a tag comes once");
    for (count, fits) in [(MAX_EXTENSIONS, true), (MAX_EXTENSIONS + 1, false)] {
        let mut many = vec![count as u8];
        (0..count as u64).for_each(|number| {
            many.put_varint(2 * number);
            many.put_bytes(&[]);
        });
        assert_eq!(Reader::new("test", &many).extensions().is_ok(), fits, "{count} extensions");
    }
}
