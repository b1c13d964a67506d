//! Statements that make a table again, in the words of the engine it was read from.

use super::super::{Object, SourceSchema, StoredTable, TableEnd, TableName, Value};
use super::{hex, plain};

/// How an engine writes names and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// MariaDB and MySQL, whatever their `sql_mode`.
    Mariadb,
    /// PostgreSQL.
    Postgresql,
}

impl Dialect {
    /// Returns that of an engine, if it is known.
    pub fn of(source: &SourceSchema) -> Option<Self> {
        match &source.engine[..] {
            "sqlite" => Some(Self::Sqlite),
            "mariadb" | "mysql" => Some(Self::Mariadb),
            "postgresql" => Some(Self::Postgresql),
            _ => None,
        }
    }

    fn name(self, name: &str) -> String {
        match self {
            Self::Mariadb => format!("`{}`", name.replace('`', "``")),
            _ => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    fn table(self, table: &TableName) -> String {
        let skipped = match self {
            // The database is the one that is connected to.
            Self::Postgresql if table.parts().len() == 3 => 1,
            _ => 0,
        };
        table.parts()[skipped..].iter().map(|part| self.name(part)).collect::<Vec<_>>().join(".")
    }

    /// Returns what stands before everything.
    pub fn begin(self, source: &SourceSchema) -> String {
        let first = match self {
            Self::Sqlite => "PRAGMA foreign_keys = OFF;\nBEGIN;\n",
            Self::Mariadb => "SET NAMES utf8mb4;\nSET FOREIGN_KEY_CHECKS = 0;\nBEGIN;\n",
            Self::Postgresql => "SET client_encoding = 'UTF8';\nBEGIN;\n",
        };
        format!("{first}{}", Self::objects(&source.before))
    }

    /// Returns what makes a table.
    pub fn create(self, table: &StoredTable) -> String {
        format!("{};\n", table.schema.create.trim_end().trim_end_matches(';'))
    }

    /// Returns the statement of a row, without values of columns that cannot be written.
    pub fn row(self, table: &StoredTable, values: &[Value]) -> Vec<u8> {
        let (mut names, mut written) = (Vec::new(), Vec::new());
        for (column, value) in table.schema.row_columns().zip(values) {
            if column.is_written() {
                names.push(self.name(&column.name));
                if !written.is_empty() {
                    written.extend_from_slice(b", ");
                }
                self.value(value, &mut written);
            }
        }
        let mut line =
            format!("INSERT INTO {} ({}) VALUES (", self.table(&table.schema.name), names.join(", "))
                .into_bytes();
        line.extend_from_slice(&written);
        line.extend_from_slice(b");\n");
        line
    }

    /// Returns what comes after the rows of a table.
    pub fn end(self, table: &StoredTable, _: &TableEnd) -> String {
        Self::objects(&table.schema.after)
    }

    /// Returns what stands after everything.
    pub fn finish(self, source: &SourceSchema) -> String {
        format!("{}COMMIT;\n", Self::objects(&source.after))
    }

    fn objects(objects: &[Object]) -> String {
        objects.iter().map(|object| format!("{};\n", object.ddl.trim_end().trim_end_matches(';'))).collect()
    }

    fn value(self, value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Null => out.extend_from_slice(b"NULL"),
            Value::Bool(is_true) if self == Self::Postgresql => {
                out.extend_from_slice(is_true.to_string().as_bytes())
            }
            Value::Bool(is_true) => out.push(b'0' + u8::from(*is_true)),
            Value::Int(_) | Value::UInt(_) => {
                out.extend_from_slice(plain(value).unwrap_or_default().as_bytes())
            }
            Value::Decimal(text) if text.ends_with(|digit: char| digit.is_ascii_digit()) => {
                out.extend_from_slice(text.as_bytes());
            }
            Value::Float(number) if number.is_finite() => {
                out.extend_from_slice(format!("{number:?}").as_bytes())
            }
            Value::Float(number) if self == Self::Sqlite => {
                let text = if number.is_nan() {
                    "NULL"
                } else if *number > 0.0 {
                    "9e999"
                } else {
                    "-9e999"
                };
                out.extend_from_slice(text.as_bytes());
            }
            Value::Float(number) => {
                let text = if number.is_nan() {
                    "NaN"
                } else if *number > 0.0 {
                    "Infinity"
                } else {
                    "-Infinity"
                };
                self.quoted(text.as_bytes(), out);
            }
            Value::Bytes(bytes) => {
                let (before, after) =
                    if self == Self::Postgresql { ("'\\x", "'::bytea") } else { ("x'", "'") };
                out.extend_from_slice(format!("{before}{}{after}", hex(bytes)).as_bytes());
            }
            Value::RawText(bytes) => self.quoted(bytes, out),
            value => self.quoted(plain(value).unwrap_or_default().as_bytes(), out),
        }
    }

    /// Writes text so that no mode of the engine reads it otherwise.
    fn quoted(self, bytes: &[u8], out: &mut Vec<u8>) {
        let is_plain = match self {
            // A zero would end it.
            Self::Sqlite => !bytes.contains(&0),
            // A backslash means itself or something else.
            Self::Mariadb => !bytes.contains(&b'\\') && !bytes.contains(&0),
            Self::Postgresql => true,
        };
        match (self, is_plain) {
            (Self::Sqlite, false) => {
                out.extend_from_slice(format!("CAST(x'{}' AS TEXT)", hex(bytes)).as_bytes());
            }
            (Self::Mariadb, false) => {
                out.extend_from_slice(format!("CONVERT(x'{}' USING utf8mb4)", hex(bytes)).as_bytes());
            }
            _ => {
                out.push(b'\'');
                for byte in bytes {
                    out.push(*byte);
                    if *byte == b'\'' {
                        out.push(*byte);
                    }
                }
                out.push(b'\'');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Column, TableSchema, TypeClass};
    use super::*;

    #[test]
    fn values_are_written_so_that_nothing_in_them_is_a_statement() {
        let columns = vec![Column::new("a`\"", TypeClass::Any, "")];
        let schema = TableSchema::new(TableName::parse("db.t").unwrap(), columns, &[]);
        let table = StoredTable { schema, condition: None };
        let row = |dialect: Dialect, text: &str| {
            let line = dialect.row(&table, &[Value::Text(text.into())]);
            String::from_utf8(line).unwrap()
        };
        let hostile = "\\'; DROP TABLE t; --";
        assert_eq!(
            row(Dialect::Sqlite, hostile),
            "INSERT INTO \"db\".\"t\" (\"a`\"\"\") VALUES ('\\''; DROP TABLE t; --');\n"
        );
        assert_eq!(
            row(Dialect::Mariadb, hostile),
            format!(
                "INSERT INTO `db`.`t` (`a``\"`) VALUES (CONVERT(x'{}' USING utf8mb4));\n",
                hex(hostile.as_bytes())
            )
        );
        assert!(row(Dialect::Sqlite, "a\0b").contains("CAST(x'610062' AS TEXT)"));
        assert!(
            row(Dialect::Postgresql, hostile).contains("('\\''; DROP"),
            "standard_conforming_strings is on since 9.1"
        );
    }
}
