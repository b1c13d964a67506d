//! Any bytes as what a server says: rows of COPY, and the text that makes tables; and as a dump that is loaded.

use super::clean::Cleaned;
use super::copy::{read_row, write_row};
use super::ddl::{Belongings, Definitions, Role};
use super::transaction::OneTransaction;
use crate::records::{Column, TypeClass};
use std::io::Read;

/// Holds the parsers to what they promise.
pub fn parse(bytes: &[u8]) {
    clean(bytes);
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let columns: Vec<Column> = (0..usize::from(*first % 18))
        .map(|at| {
            let class = TypeClass::ALL[at % TypeClass::ALL.len()];
            Column::new("c", class, if at > 14 { "real" } else { "" })
        })
        .collect();
    let columns: Vec<&Column> = columns.iter().collect();
    let (mut row, mut line, mut again) = (Vec::new(), Vec::new(), Vec::new());
    if read_row(rest, &columns, &mut row).is_ok() {
        assert_eq!(row.len(), columns.len());
        // What was read has a text, which is read as the same.
        assert!(write_row(&row, &mut line));
        assert!(read_row(&line, &columns, &mut again).is_ok());
        assert_eq!(again, row);
    }
    let text = String::from_utf8_lossy(bytes);
    let mut known = Belongings::default();
    for (name, role) in [("a", Role::Single), ("a b", Role::Parent), ("r", Role::Roof)] {
        known.tables.insert(("public".into(), name.into()), role);
    }
    if let Some(all) = Definitions::of(&text, &known) {
        // Nothing is told twice.
        assert!(
            all.before.iter().chain(&all.after).map(|object| object.ddl.len()).sum::<usize>() <= text.len()
        );
    }
}

/// An archive keeps its length, and each of its bytes or has a part of a comment in its place; text only gets longer.
fn clean(bytes: &[u8]) {
    let mut archive = Vec::new();
    assert!(Cleaned::archive(bytes).read_to_end(&mut archive).is_ok());
    assert_eq!(archive.len(), bytes.len());
    assert!(archive.iter().zip(bytes).all(|(new, old)| new == old || matches!(new, b'-' | b' ')));
    let mut text = Vec::new();
    assert!(Cleaned::text(bytes).read_to_end(&mut text).is_ok());
    assert!(text.len() >= bytes.len());
    // Nothing but words of transactions goes, however the bytes come.
    let (mut one, mut again) = (Vec::new(), Vec::new());
    assert!(OneTransaction::new(bytes).read_to_end(&mut one).is_ok());
    let gone = bytes.len() - one.len();
    assert!(gone == 0 || gone >= b"BEGIN;".len());
    let (first, second) = bytes.split_at(bytes.len() / 2);
    assert!(OneTransaction::new(first.chain(second)).read_to_end(&mut again).is_ok());
    assert_eq!(one, again);
}
