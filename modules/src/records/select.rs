//! Which tables of a source, which of their columns, which of their rows.

use super::{RecordError, TableName, TableSchema};
use crate::manifest::sources::Select;
use crate::planted::{Bug, planted};

/// The rules of a manifest, with what only its surroundings know.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// What the manifest says.
    pub select: Select,
    /// The module's own tables, where the platform knows them. With `own_tables` and `None` every table is meant,
    /// unless `tables` or `prefix` name some.
    pub own: Option<Vec<String>>,
    /// Tables that other installed modules declare by their names: a prefix does not take them.
    pub of_others: Vec<String>,
}

impl Selection {
    /// Selects everything.
    pub fn all() -> Self {
        Self { select: Select { own_tables: true, ..Select::default() }, ..Self::default() }
    }

    /// Returns whether a table is meant. Rules name it by its last part, or by all of them joined by points.
    pub fn takes(&self, name: &TableName) -> bool {
        let (Select { tables, prefix, own_tables, ignore, .. }, full) = (&self.select, name.to_string());
        let named = |list: &[String]| list.iter().any(|one| *one == full || one == name.table());
        if named(ignore) {
            return false;
        }
        let begins = |text: &str| match planted(Bug::PrefixIsPattern) {
            true => {
                text.len() >= prefix.len()
                    && prefix.bytes().zip(text.bytes()).all(|(a, b)| a == b'_' || a == b)
            }
            false => text.starts_with(&**prefix),
        };
        let by_prefix =
            !prefix.is_empty() && (begins(name.table()) || begins(&full)) && !named(&self.of_others);
        let by_platform = *own_tables
            && match &self.own {
                Some(own) => named(own),
                None => tables.is_empty() && prefix.is_empty(),
            };
        named(tables) || by_prefix || by_platform
    }

    /// Returns the tables that the manifest names and that are not among `there`.
    pub fn absent(&self, there: &[TableName]) -> Vec<String> {
        let is_there =
            |one: &String| there.iter().any(|name| name.table() == one || name.to_string() == *one);
        self.select.tables.iter().filter(|one| !is_there(one)).cloned().collect()
    }

    /// Returns the condition, in the engine's SQL, that rows of the table must meet.
    pub fn condition(&self, name: &TableName) -> Option<&str> {
        of_table(&self.select.rows_where, name).map(|condition| &condition[..])
    }

    /// Takes out the columns that are not to be dumped. Those of the key stay.
    ///
    /// # Errors
    /// The manifest names a column that the table does not have, or leaves out one of its key.
    pub fn trim(&self, table: &mut TableSchema) -> Result<(), RecordError> {
        let kept = of_table(&self.select.columns, &table.name);
        let omitted = of_table(&self.select.omit_columns, &table.name);
        for named in kept.into_iter().chain(omitted).flatten() {
            if !table.columns.iter().any(|column| column.name == *named) {
                return Err(RecordError::Absent { what: format!("column {named} of table {}", table.name) });
            }
        }
        let stays = |name: &String| {
            kept.is_none_or(|list| list.contains(name)) && !omitted.is_some_and(|list| list.contains(name))
        };
        let TableSchema { columns, key, unique, .. } = table;
        // Without its columns there is no key, and rows count by what is left of them.
        if !key.iter().all(stays) {
            key.clear();
        }
        columns.retain(|column| stays(&column.name));
        unique.retain(|columns| columns.iter().all(stays));
        Ok(())
    }
}

fn of_table<'a, T>(rules: &'a [(String, T)], name: &TableName) -> Option<&'a T> {
    let full = name.to_string();
    rules.iter().find(|(table, _)| *table == full || table == name.table()).map(|(_, rule)| rule)
}

#[cfg(test)]
mod tests {
    use super::super::{Column, TypeClass};
    use super::*;

    fn name(text: &str) -> TableName {
        TableName::parse(text).unwrap()
    }

    #[test]
    fn tables_are_chosen_by_name_prefix_and_platform() {
        let select = |tables: &[&str], prefix: &str| Select {
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
            prefix: prefix.to_owned(),
            own_tables: true,
            ignore: vec!["q_log".into()],
            ..Select::default()
        };
        let mut selection = Selection { select: select(&[], ""), ..Selection::default() };
        assert!(selection.takes(&name("a")) && !selection.takes(&name("db.q_log")));
        selection.select = select(&["users", "db.exact"], "q_");
        selection.of_others = vec!["q_theirs".into()];
        for (table, taken) in [
            ("db.users", true),
            ("db.exact", true),
            ("other.exact", false),
            ("db.q_config", true),
            ("db.qxconfig", false),
            ("db.q_theirs", false),
            ("db.q_log", false),
            ("db.else", false),
        ] {
            assert_eq!(selection.takes(&name(table)), taken, "{table}");
        }
        selection.own = Some(vec!["else".into()]);
        assert!(selection.takes(&name("db.else")));
        assert_eq!(selection.absent(&[name("db.users")]), ["db.exact"]);
    }

    #[test]
    fn columns_left_out_take_a_key_with_them() {
        let columns = ["a", "b", "c"].map(|name| Column::new(name, TypeClass::Text, "text")).to_vec();
        let table = TableSchema::new(name("t"), columns, &["a"]);
        let omit = |columns: &[&str]| Selection {
            select: Select {
                omit_columns: vec![("t".into(), columns.iter().map(|one| (*one).to_owned()).collect())],
                ..Select::default()
            },
            ..Selection::default()
        };
        let mut trimmed = table.clone();
        omit(&["b"]).trim(&mut trimmed).unwrap();
        assert_eq!((trimmed.columns.len(), &trimmed.key[..]), (2, &["a".to_owned()][..]));
        let mut trimmed = table.clone();
        omit(&["a"]).trim(&mut trimmed).unwrap();
        assert_eq!((trimmed.columns.len(), trimmed.key.len()), (2, 0));
        assert!(omit(&["d"]).trim(&mut table.clone()).is_err());
    }
}
