use super::super::memory::{MemoryDatabase, MemorySource};
use super::super::testing::{Stored, any_scalar, build, leaf_target};
use super::super::{Column, RowOrder, Selection, TableSchema, TypeClass};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn changes(old: &Stored, new: &Stored) -> Vec<RecordChange> {
    let roots = [old, new].map(|stored| build(&old.chunks, &stored.entries));
    let readers = roots.map(|root| RecordReader::new(&old.chunks, root, leaf_target()));
    let walk = Diff::new((&old.chunks, roots[0]), (&old.chunks, roots[1]), leaf_target());
    let mut found = Vec::new();
    let mut each = |change| {
        found.push(change);
        ControlFlow::Continue(())
    };
    diff_maps(walk, (&old.chunks, &old.chunks), (&readers[0], &readers[1]), &mut each).unwrap();
    found
}

/// A table: its name, its columns, its rows.
type Table<'t> = (&'t str, &'t [&'t str], Vec<Vec<Value>>);

fn stored(tables: &[Table<'_>]) -> Stored {
    let mut database = MemoryDatabase::default();
    for (name, columns, rows) in tables {
        let columns = columns.iter().map(|name| Column::new(name, TypeClass::Any, "")).collect();
        let schema = TableSchema::new(TableName::simple(name).unwrap(), columns, &["id"]);
        database.add(schema, rows.clone());
    }
    Stored::of(Box::new(MemorySource::new(&database, RowOrder::Any)), &Selection::all()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn what_differs_is_what_a_naive_comparison_finds(
        rows in proptest::collection::btree_map(0i64..60, (any_scalar(), 0u8..3, 0u8..2), 0..40),
        edits in proptest::collection::btree_map(0i64..60, prop::option::of((any_scalar(), 0u8..3, 0u8..2)), 0..10),
    ) {
        // The last column is a long text, a longer one, or another one of the same length.
        type Rows = BTreeMap<i64, (Value, u8, u8)>;
        let values = |rows: &Rows| -> Vec<Vec<Value>> {
            let long = |kind: u8, byte: u8| Value::Text(["a", "b"][usize::from(byte)].repeat(3000 * usize::from(kind)));
            rows.iter().map(|(id, (a, kind, byte))| vec![Value::Int(*id), a.clone(), long(*kind, *byte)]).collect()
        };
        let mut edited = rows.clone();
        for (id, edit) in edits {
            match edit {
                Some(row) => edited.insert(id, row),
                None => edited.remove(&id),
            };
        }
        let columns = ["id", "a", "long"];
        let [old, new] = [values(&rows), values(&edited)].map(|rows| {
            stored(&[("before", &columns, vec![]), ("t", &columns, rows), ("z", &columns, vec![])])
        });
        let by_id = |rows: Vec<Vec<Value>>| -> BTreeMap<String, Vec<Value>> {
            rows.into_iter().map(|row| (format!("{:?}", row[0]), row)).collect()
        };
        let (was, is) = (by_id(values(&rows)), by_id(values(&edited)));
        let mut expected = BTreeSet::new();
        for id in was.keys().chain(is.keys()) {
            let differs: Vec<&str> = match (was.get(id), is.get(id)) {
                (Some(a), Some(b)) => (0..3).filter(|at| a[*at] != b[*at]).map(|at| columns[at]).collect(),
                (None, _) => vec!["added"],
                _ => vec!["removed"],
            };
            if !differs.is_empty() {
                expected.insert((id.clone(), differs.join("+")));
            }
        }
        let mut found = BTreeSet::new();
        for change in changes(&old, &new) {
            let RecordChange::Row { table, old, new, mut columns, .. } = change else { panic!("{change:?}") };
            prop_assert_eq!(table.to_string(), "t");
            let id = |row: &ShownRow| match row.iter().find(|(name, _)| name == "id") {
                Some((_, Shown::Value(id))) => format!("{id:?}"),
                other => panic!("{other:?}"),
            };
            columns.sort();
            let (id, word) = match (&old, &new) {
                (Some(old), Some(new)) => { assert_eq!(id(old), id(new)); (id(new), columns.join("+")) }
                (None, Some(new)) => (id(new), "added".into()),
                (Some(old), None) => (id(old), "removed".into()),
                (None, None) => panic!("a change of nothing"),
            };
            prop_assert!(found.insert((id, word)), "a row is told once");
        }
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn tables_that_come_go_or_are_altered_are_told_once() {
    let row = |id| vec![Value::Int(id), Value::Bool(true)];
    let old = stored(&[("a", &["id", "x"], vec![row(1), row(2)]), ("b", &["id", "x"], vec![row(1)])]);
    let new = stored(&[("b", &["id", "y"], vec![row(1), row(3)]), ("c", &["id", "x"], vec![row(1)])]);
    let name = |text| TableName::simple(text).unwrap();
    let found = changes(&old, &new);
    assert_eq!(found[0], RecordChange::TableRemoved { table: name("a"), rows: 2 });
    assert_eq!(found[1], RecordChange::TableAltered { table: name("b") });
    // The row that is on both sides has nothing in common that differs.
    assert!(
        matches!(&found[2], RecordChange::Row { table, old: None, new: Some(_), .. } if *table == name("b"))
    );
    assert_eq!(found[3], RecordChange::TableAdded { table: name("c"), rows: 1 });
    assert_eq!(found.len(), 4);
    assert_eq!(changes(&new, &new), []);
}

#[test]
fn equal_subtrees_are_not_read() {
    let rows = |changed: i64| -> Vec<Vec<Value>> {
        (0..30_000).map(|id| vec![Value::Int(id), Value::Bool(id == changed)]).collect()
    };
    let (old, new) = (stored(&[("t", &["id", "x"], rows(-1))]), stored(&[("t", &["id", "x"], rows(17_000))]));
    build(&old.chunks, &new.entries);
    old.chunks.take_loads();
    assert_eq!(changes(&old, &new).len(), 1);
    let loads = old.chunks.take_loads();
    assert!(loads < 40, "{loads} of {} chunks", old.chunks.len());
}
