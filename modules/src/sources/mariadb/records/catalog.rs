//! What the server says of tables and of what is made of programs.

use super::super::{literal, quoted};
use super::connect::Session;
use super::names::{Names, Row, at};
use super::values::Reading;
use crate::records::{Column, Filled, Object, RecordError, SourceSchema, TableName, TableSchema, TypeClass};
use dedup_engine::error::Kind;

/// What stands before a statement that makes a routine, trigger or event: what it is read with, which the server keeps
/// with it.
const READ_WITH: &str = "SET sql_mode = ";

/// A column and how its values are read.
pub(super) struct Known {
    pub(super) column: Column,
    pub(super) reading: Reading,
}

/// A table as the server knows it.
pub(super) struct Table {
    pub(super) schema: TableSchema,
    pub(super) readings: Vec<(String, Reading)>,
}

impl Session<'_> {
    /// Returns what is known of a table; `None` if there is none.
    pub(super) fn table(&mut self, names: &Names, name: &TableName) -> Result<Option<Table>, RecordError> {
        let (database, table) = names.split(name)?;
        let doing = format!("look at table {name}");
        let of = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", literal(database), literal(table));
        let sql = format!(
            "SELECT TABLE_COLLATION, TABLE_TYPE FROM information_schema.TABLES WHERE {of} \
             AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"
        );
        let Some(about) = self.ask(&doing, &sql)?.into_iter().next() else { return Ok(None) };
        let known = self.columns(&doing, &of)?;
        let (key, unique) = self.keys(&doing, &of, &known)?;
        let made = self.ask(&doing, &format!("SHOW CREATE TABLE {}", names.sql(name)?))?;
        let create = made.first().map(|row| without_counter(at(row, 1))).unwrap_or_default();
        let readings = known.iter().map(|one| (one.column.name.clone(), one.reading)).collect();
        let schema = TableSchema {
            name: name.clone(),
            columns: known.into_iter().map(|known| known.column).collect(),
            key,
            unique,
            collation: about.into_iter().next().flatten(),
            create,
            after: self.triggers(&doing, database, table)?,
        };
        Ok(Some(Table { schema, readings }))
    }

    fn columns(&mut self, doing: &str, of: &str) -> Result<Vec<Known>, RecordError> {
        let sql = format!(
            "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, COLLATION_NAME, \
             IFNULL(DATETIME_PRECISION, 0) FROM information_schema.COLUMNS WHERE {of} ORDER BY ORDINAL_POSITION"
        );
        let rows = self.ask(doing, &sql)?;
        let column = |row: Row| {
            let (reading, class) = Reading::of(&at(&row, 1).to_lowercase(), at(&row, 7).parse().unwrap_or(0));
            let extra = at(&row, 5).to_uppercase();
            let filled = if extra.contains("AUTO_INCREMENT") {
                Filled::Counted
            } else if extra.contains("STORED GENERATED") {
                Filled::Stored
            } else if extra.contains("VIRTUAL GENERATED") {
                Filled::Computed
            } else {
                Filled::Written
            };
            let column = Column {
                name: at(&row, 0).to_owned(),
                class,
                type_text: at(&row, 2).to_owned(),
                nullable: at(&row, 3) == "YES",
                default: row.get(4).cloned().flatten(),
                filled,
                collation: row.get(6).cloned().flatten(),
            };
            Known { column, reading }
        };
        Ok(rows.into_iter().map(column).collect())
    }

    /// Returns the primary key, or the first unique one without NULL, and the other unique ones.
    fn keys(
        &mut self,
        doing: &str,
        of: &str,
        known: &[Known],
    ) -> Result<(Vec<String>, Vec<Vec<String>>), RecordError> {
        let sql = format!(
            "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS WHERE {of} AND NON_UNIQUE = 0 \
             ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX"
        );
        let mut indexes: Vec<(String, Vec<String>, bool)> = Vec::new();
        for row in self.ask(doing, &sql)? {
            let (index, column, is_part) =
                (at(&row, 0), at(&row, 1), row.get(2).is_some_and(Option::is_some));
            match indexes.last_mut() {
                Some((name, columns, parts)) if name == index => {
                    columns.push(column.to_owned());
                    *parts |= is_part;
                }
                _ => indexes.push((index.to_owned(), vec![column.to_owned()], is_part)),
            }
        }
        let plain = |column: &String| {
            known.iter().any(|one| {
                // What only the engine compares (geometries), or makes when it is read, is no key of ours.
                one.column.name == *column
                    && !one.column.nullable
                    && one.column.filled != Filled::Computed
                    && (one.column.class != TypeClass::Other || one.reading == Reading::Text)
            })
        };
        let key = indexes.iter().position(|(_, columns, _)| columns.iter().all(plain));
        let key = key.map(|place| indexes.remove(place).1).unwrap_or_default();
        let whole = indexes.into_iter().filter(|(_, _, is_part)| !is_part);
        Ok((key, whole.map(|(_, columns, _)| columns).collect()))
    }

    /// Returns the triggers of a table, in the order in which they act.
    pub(super) fn triggers(
        &mut self,
        doing: &str,
        database: &str,
        table: &str,
    ) -> Result<Vec<Object>, RecordError> {
        let sql = format!(
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {} AND \
             EVENT_OBJECT_TABLE = {} ORDER BY EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER",
            literal(database),
            literal(table)
        );
        let rows = self.ask(doing, &sql)?;
        rows.iter().map(|row| self.program(doing, "trigger", database, at(row, 0))).collect()
    }

    /// Returns what makes a trigger, routine or event, with the mode it is read in.
    fn program(
        &mut self,
        doing: &str,
        kind: &str,
        database: &str,
        name: &str,
    ) -> Result<Object, RecordError> {
        let sql = format!("SHOW CREATE {kind} {}.{}", quoted(database), quoted(name));
        let row = self.ask(doing, &sql)?.into_iter().next().unwrap_or_default();
        // Name, mode, [time zone,] statement.
        let ddl = row.get(if kind == "event" { 3 } else { 2 }).cloned().flatten().ok_or_else(|| {
            RecordError::Engine {
                doing: doing.to_owned(),
                message: format!("this user may not see what {kind} {name} of {database} is made of; GRANT SELECT ON mysql.proc lets it"),
                kind: Kind::Permission,
                source: None,
            }
        })?;
        let zone = if kind == "event" { format!(", time_zone = '{}'", at(&row, 2)) } else { String::new() };
        let ddl = format!("{READ_WITH}'{}'{zone};\n{ddl}", at(&row, 1));
        Ok(Object { kind: kind.to_owned(), name: name.to_owned(), ddl })
    }

    /// Returns what is known of the source, with what is made of programs if `whole`.
    pub(super) fn source(
        &mut self,
        names: &Names,
        engine: String,
        whole: bool,
    ) -> Result<SourceSchema, RecordError> {
        let doing = "look at the server";
        let about = self.ask(
            doing,
            "SELECT VERSION(), @@GLOBAL.sql_mode, @@GLOBAL.lower_case_table_names, @@GLOBAL.time_zone",
        )?;
        let about = about.into_iter().next().unwrap_or_default();
        let mut schema =
            SourceSchema { engine, version: at(&about, 0).to_owned(), ..SourceSchema::default() };
        let facts = [
            ("sql_mode", at(&about, 1)),
            ("lower_case_table_names", at(&about, 2)),
            ("time_zone", at(&about, 3)),
        ];
        schema.facts = facts.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        for database in &names.databases {
            let sql = format!(
                "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}",
                literal(database)
            );
            if let Some(row) = self.ask(doing, &sql)?.first() {
                let value = format!("{} {}", at(row, 0), at(row, 1));
                schema.facts.push((format!("database {database}"), value));
            }
            if whole && names.one.is_some() {
                self.run(doing, &format!("USE {}", quoted(database)))?;
                self.sequences(doing, database, &mut schema.before)?;
                self.programs(doing, database, &mut schema.after)?;
            }
        }
        Ok(schema)
    }

    fn sequences(&mut self, doing: &str, database: &str, into: &mut Vec<Object>) -> Result<(), RecordError> {
        let sql = format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_TYPE = 'SEQUENCE' ORDER BY 1",
            literal(database)
        );
        for row in self.ask(doing, &sql)? {
            let (name, sql) = (at(&row, 0), format!("{}.{}", quoted(database), quoted(at(&row, 0))));
            let made = self.ask(doing, &format!("SHOW CREATE SEQUENCE {sql}"))?;
            let ddl = made.first().map(|row| at(row, 1).to_owned()).unwrap_or_default();
            into.push(Object { kind: "sequence".into(), name: name.to_owned(), ddl });
            let next = self.ask(doing, &format!("SELECT CAST(next_not_cached_value AS CHAR) FROM {sql}"))?;
            let next = next.first().map(|row| at(row, 0).to_owned()).unwrap_or_default();
            let ddl = format!("SELECT SETVAL({}, {next}, 0)", quoted(name));
            into.push(Object { kind: "sequence value".into(), name: name.to_owned(), ddl });
        }
        Ok(())
    }

    fn programs(&mut self, doing: &str, database: &str, into: &mut Vec<Object>) -> Result<(), RecordError> {
        let name = literal(database);
        let sql = format!(
            "SELECT LOWER(ROUTINE_TYPE), ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {name} \
             AND ROUTINE_TYPE IN ('FUNCTION', 'PROCEDURE') ORDER BY 1, 2"
        );
        for row in self.ask(doing, &sql)? {
            into.push(self.program(doing, at(&row, 0), database, at(&row, 1))?);
        }
        let sql =
            format!("SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {name} ORDER BY 1");
        for row in self.ask(doing, &sql)? {
            let view = at(&row, 0);
            let made = self.ask(doing, &format!("SHOW CREATE VIEW {}", quoted(view)))?;
            let ddl = made.first().map(|row| at(row, 1).to_owned()).unwrap_or_default();
            into.push(Object { kind: "view".into(), name: view.to_owned(), ddl });
        }
        let sql = format!(
            "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {name} ORDER BY 1"
        );
        for row in self.ask(doing, &sql)? {
            into.push(self.program(doing, "event", database, at(&row, 0))?);
        }
        Ok(())
    }
}

/// Splits off what a statement is read with.
pub(super) fn read_with(ddl: &str) -> (Option<&str>, &str) {
    match ddl.split_once(";\n") {
        Some((with, statement)) if with.starts_with(READ_WITH) => (Some(with), statement),
        _ => (None, ddl),
    }
}

/// Leaves out what the table's counter gives next, which is kept beside the rows: the schema does not change with it.
fn without_counter(create: &str) -> String {
    let Some(options) = create.rfind("\n) ENGINE=") else { return create.to_owned() };
    let (columns, options) = create.split_at(options);
    let end = options.get(1..).and_then(|rest| rest.find('\n')).map_or(options.len(), |end| end + 1);
    let (line, rest) = options.split_at(end);
    let Some(counter) = line.find(" AUTO_INCREMENT=") else { return create.to_owned() };
    let (before, after) = line.split_at(counter);
    let after = after[1..].split_once(' ').map_or(String::new(), |(_, after)| format!(" {after}"));
    format!("{columns}{before}{after}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_no_part_of_the_schema() {
        for (create, without) in [
            (
                "CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=5'\n) ENGINE=InnoDB AUTO_INCREMENT=77 DEFAULT CHARSET=utf8mb4",
                "CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=5'\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
            ),
            (
                "CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB AUTO_INCREMENT=7\n PARTITION BY",
                "CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB\n PARTITION BY",
            ),
            (
                "CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB",
                "CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB",
            ),
        ] {
            assert_eq!(without_counter(create), without);
        }
        let made = "SET sql_mode = 'A,B';\nCREATE x;\ny";
        assert_eq!(read_with(made), (Some("SET sql_mode = 'A,B'"), "CREATE x;\ny"));
        assert_eq!(read_with("CREATE x;\ny"), (None, "CREATE x;\ny"));
    }
}
