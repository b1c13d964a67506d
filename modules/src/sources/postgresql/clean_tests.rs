//! Archives are made here entry by entry; those of `pg_dump` itself are in `tests/`, where they are loaded.

use super::super::ready::Bits;
use super::*;

fn number(version: u8, value: i64) -> Vec<u8> {
    let mut bytes = vec![u8::from(value < 0)];
    bytes.extend_from_slice(&value.unsigned_abs().to_le_bytes()[..4]);
    assert!(version >= 12);
    bytes
}

fn text(value: Option<&str>) -> Vec<u8> {
    match value {
        None => number(14, -1),
        Some(value) => [number(14, value.len() as i64), value.as_bytes().to_vec()].concat(),
    }
}

fn archive(version: u8, entries: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = [b"PGDMP" as &[u8], &[1, version, 0, 4, 8, 1]].concat();
    bytes.extend(if version >= 15 { vec![0] } else { number(version, 0) });
    (0..7).for_each(|part| bytes.extend(number(version, part)));
    for about in ["app", "15.1", "15.1"] {
        bytes.extend(text(Some(about)));
    }
    bytes.extend(number(version, entries.len() as i64));
    for (at, (kind, removes)) in entries.iter().enumerate() {
        bytes.extend(number(version, at as i64));
        bytes.extend(number(version, 0));
        for part in ["1259", "16384", "a name", kind] {
            bytes.extend(text(Some(part)));
        }
        bytes.extend(number(version, 2));
        bytes.extend(text(Some("CREATE …")));
        bytes.extend(text((!removes.is_empty()).then_some(*removes)));
        let more = [None, Some("public"), Some("")];
        more.iter().for_each(|part| bytes.extend(text(*part)));
        if version >= 14 {
            bytes.extend(text(Some("heap")));
        }
        if version >= 16 {
            bytes.extend(number(version, 114));
        }
        [Some("me"), Some("false"), Some("7"), None].iter().for_each(|part| bytes.extend(text(*part)));
        bytes.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    bytes.extend_from_slice(b"data, CONSTRAINT and all");
    bytes
}

/// Reads all of it, a few bytes at a time.
fn all(mut reader: impl Read) -> Vec<u8> {
    let (mut bytes, mut some) = (Vec::new(), [0; 7]);
    loop {
        match reader.read(&mut some).unwrap() {
            0 => return bytes,
            count => bytes.extend_from_slice(&some[..count]),
        }
    }
}

#[test]
fn keys_and_indexes_are_not_removed_by_themselves_and_all_else_is() {
    for version in 12..=16 {
        let entries = |key: &'static str, index: &'static str| {
            [
                ("TABLE", "DROP TABLE public.t;\n"),
                ("CONSTRAINT", key),
                ("INDEX", index),
                ("INDEX", ""),
                ("FK CONSTRAINT", "ALTER TABLE ONLY public.t DROP CONSTRAINT f;\n"),
            ]
        };
        let given = archive(version, &entries("ALTER TABLE a DROP CONSTRAINT b;\n", "DROP INDEX a;"));
        let wanted = archive(version, &entries("--                              \n", "--           "));
        assert_eq!(all(Cleaned::archive(&given[..])), wanted, "1.{version}");
        assert_eq!(all(Cleaned::archive(Bits::new(&given, 5))), wanted, "1.{version}");
        // What breaks off, or is not what it seems, stays as it is.
        for end in 0..given.len() {
            let cleaned = all(Cleaned::archive(&given[..end]));
            let known = |at: usize| cleaned[at] == given[at] || cleaned[at] == wanted[at];
            assert!(cleaned.len() == end && (0..end).all(known), "1.{version} up to {end}");
        }
    }
    for version in [11, 17] {
        let given = archive(version.clamp(12, 16), &[("INDEX", "DROP INDEX a;")]);
        let mut other = given.clone();
        other[6] = version;
        assert_eq!(all(Cleaned::archive(&other[..])), other);
    }
    for other in [&b""[..], b"PGDMP", b"no archive at all, but text of some length"] {
        assert_eq!(all(Cleaned::archive(other)), other);
    }
}

#[test]
fn text_forgives_what_the_whole_table_has() {
    let given = "--\n-- PostgreSQL database dump\n--\n\nSET x = 1;\n\
        ALTER TABLE IF EXISTS ONLY public.a DROP CONSTRAINT IF EXISTS a_pkey;\n\
        ALTER TABLE IF EXISTS ONLY public.\"b\nc\" DROP CONSTRAINT IF EXISTS \"x;\ny\";\nDROP INDEX IF EXISTS public.i;\n\
        DROP TABLE IF EXISTS public.a;\n--\n-- Name: a; Type: TABLE\n--\n\nDROP INDEX IF EXISTS public.i;\n";
    let wrapped = |line: &str| {
        let end =
            "EXCEPTION WHEN invalid_table_definition OR dependent_objects_still_exist THEN NULL; END$clean$;";
        format!("DO $clean$BEGIN {line} {end}\n")
    };
    let (key, index) = (
        "ALTER TABLE IF EXISTS ONLY public.a DROP CONSTRAINT IF EXISTS a_pkey;",
        "DROP INDEX IF EXISTS public.i;",
    );
    let wanted = given.replacen(&format!("{key}\n"), &wrapped(key), 1).replacen(
        &format!("{index}\n"),
        &wrapped(index),
        1,
    );
    assert_eq!(String::from_utf8(all(Cleaned::text(given.as_bytes()))).unwrap(), wanted);
    assert_eq!(String::from_utf8(all(Cleaned::text(Bits::new(given.as_bytes(), 5)))).unwrap(), wanted);
    assert_eq!(all(Cleaned::text(&b"no end"[..])), b"no end");
    let long = [vec![b'x'; 3 * BLOCK], b"\n-- Name: \nDROP INDEX IF EXISTS i;\n".to_vec()].concat();
    assert_eq!(all(Cleaned::text(&long[..])), long);
}
