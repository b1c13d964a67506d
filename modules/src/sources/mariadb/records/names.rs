//! Databases and tables: what there is, how it is named, whether we may see it.

use super::super::choice::{OWN, WHO, count_trigger_rights};
use super::super::{MariadbSpec, literal, quoted};
use super::connect::Session;
use crate::records::{RecordError, TableName};
use dedup_engine::error::Kind;

/// The databases of a source, and how their tables are named.
#[derive(Clone)]
pub(super) struct Names {
    /// The database of names of one part; none: names have two parts.
    pub(super) one: Option<String>,
    pub(super) databases: Vec<String>,
}

impl Names {
    /// Returns the database and the table that a name means.
    pub(super) fn split<'n>(&'n self, name: &'n TableName) -> Result<(&'n str, &'n str), RecordError> {
        match (name.parts(), &self.one) {
            ([table], Some(database)) => Ok((database, table)),
            ([database, table], _) => Ok((database, table)),
            _ => Err(RecordError::Absent { what: format!("table {name}") }),
        }
    }

    /// Returns the name as SQL has it.
    pub(super) fn sql(&self, name: &TableName) -> Result<String, RecordError> {
        let (database, table) = self.split(name)?;
        Ok(format!("{}.{}", quoted(database), quoted(table)))
    }

    pub(super) fn name(&self, database: &str, table: &str) -> Result<TableName, RecordError> {
        match &self.one {
            Some(_) => TableName::simple(table),
            None => TableName::new(vec![database.to_owned(), table.to_owned()]),
        }
    }
}

/// A row of an answer.
pub(super) type Row = Vec<Option<String>>;

/// Returns a value of a row; empty for NULL.
pub(super) fn at(row: &Row, place: usize) -> &str {
    row.get(place).and_then(|value| value.as_deref()).unwrap_or_default()
}

impl Session<'_> {
    /// Returns the databases that the manifest names, or all that are not the server's own.
    pub(super) fn databases(&mut self, spec: &MariadbSpec) -> Result<Names, RecordError> {
        let rows =
            self.ask("list databases", "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY 1")?;
        let there: Vec<String> = rows.iter().map(|row| at(row, 0).to_owned()).collect();
        let Some(named) = spec.databases() else {
            let own = |name: &String| OWN.contains(&name.as_str());
            let databases = there.into_iter().filter(|name| !own(name) && !spec.select.skip.contains(name));
            return Ok(Names { one: None, databases: databases.collect() });
        };
        let one = match named {
            [one] => Some(one.clone()),
            _ => None,
        };
        if let Some(absent) = named.iter().find(|name| !there.contains(name)) {
            return Err(RecordError::Absent { what: format!("database {absent} of {}", self.server()) });
        }
        Ok(Names { one, databases: named.to_vec() })
    }

    /// The server leaves triggers out for users without the right to them, and says nothing.
    pub(super) fn must_see_triggers(&mut self, names: &Names) -> Result<(), RecordError> {
        let doing = "ask for rights";
        let who = self.ask(doing, WHO[0]).or_else(|_| self.ask(doing, WHO[1]))?;
        let Some([Some(user), Some(role)]) = who.first().map(Vec::as_slice) else { return Ok(()) };
        // What a role may is not told to everybody.
        if role != "NONE" {
            return Ok(());
        }
        for database in &names.databases {
            let count = self.ask(doing, &count_trigger_rights(database))?;
            if count.first().is_some_and(|row| at(row, 0) == "0") {
                return Err(RecordError::Engine {
                    doing: format!("read database {database}"),
                    message: format!(
                        "{user} may not see triggers, which would be missing; GRANT TRIGGER ON {}.* lets it",
                        quoted(database)
                    ),
                    kind: Kind::Permission,
                    source: None,
                });
            }
        }
        Ok(())
    }

    /// Returns the tables whose engine has no transactions.
    pub(super) fn without_view(&mut self, names: &Names) -> Result<Vec<TableName>, RecordError> {
        let mut tables = Vec::new();
        for database in &names.databases {
            let sql = format!(
                "SELECT TABLE_NAME FROM information_schema.TABLES LEFT JOIN information_schema.ENGINES \
                 ON TABLES.ENGINE = ENGINES.ENGINE WHERE TABLE_SCHEMA = {} AND TABLE_TYPE = 'BASE TABLE' \
                 AND IFNULL(TRANSACTIONS, 'NO') <> 'YES' ORDER BY 1",
                literal(database)
            );
            for row in self.ask("list engines", &sql)? {
                tables.push(names.name(database, at(&row, 0))?);
            }
        }
        Ok(tables)
    }

    /// Returns the tables of the databases, views and sequences left out.
    pub(super) fn tables(&mut self, names: &Names) -> Result<Vec<TableName>, RecordError> {
        let mut tables = Vec::new();
        for database in &names.databases {
            let sql = format!(
                "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} \
                 AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')",
                literal(database)
            );
            for row in self.ask("list tables", &sql)? {
                tables.push(names.name(database, at(&row, 0))?);
            }
        }
        Ok(tables)
    }
}
