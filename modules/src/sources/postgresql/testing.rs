//! Any bytes as what a server says: rows of COPY, and the text that makes tables.

use super::copy::{read_row, write_row};
use super::ddl::{Belongings, Definitions, Role};
use crate::records::{Column, TypeClass};

/// Holds both parsers to what they promise.
pub fn parse(bytes: &[u8]) {
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
