//! Which databases and tables a dump has.

use super::super::SourceError;
use super::tools::Tools;
use super::{MariadbSpec, literal};
use std::collections::BTreeSet;

/// Databases that are the server's own; what people may want of `mysql` (users, time zones) is not tables to load.
pub(super) const OWN: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];

/// What a dump has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// One database, which may be loaded into one of another name: only these tables, or all but these.
    One { database: String, only: Option<Vec<String>>, ignored: Vec<String> },
    /// Several, each whole, loaded by their own names.
    Several(Vec<String>),
}

/// What is known of a choice.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// What the server says it is.
    pub(super) version: String,
    /// Length of data and indexes in bytes, about.
    pub(super) bytes: u64,
    pub(super) tables: u64,
    /// Tables whose engine knows no transactions.
    pub(super) without_view: Vec<String>,
    /// Columns whose values the dump program rounds.
    pub(super) rounded: Vec<String>,
}

impl MariadbSpec {
    /// Returns the databases that are meant; `None`: all.
    pub(super) fn databases(&self) -> Option<&[String]> {
        match (&self.select.databases[..], &self.into) {
            ([_], Some(into)) => Some(std::slice::from_ref(into)),
            (named, _) => (!named.iter().any(|name| name == "all")).then_some(named),
        }
    }

    /// Returns the database that a dump of one is loaded into; none for a dump of several.
    pub(super) fn target(&self) -> Option<String> {
        match self.databases() {
            Some([one]) => Some(one.clone()),
            _ => None,
        }
    }
}

impl Tools<'_> {
    /// Finds out what the dump is to have.
    pub(super) fn choose(&self) -> Result<(Choice, Known), SourceError> {
        let select = &self.spec.select;
        if !select.rows_where.is_empty() || !select.columns.is_empty() || !select.omit_columns.is_empty() {
            return Err(SourceError::CannotBe(
                "`where`, `columns` and `omit_columns` are for format = \"records\"; a dump in SQL has whole tables".into(),
            ));
        }
        let named = self.spec.databases();
        let there: BTreeSet<String> = self
            .ask("SELECT HEX(SCHEMA_NAME) FROM information_schema.SCHEMATA")?
            .iter()
            .filter_map(|row| unhex(row.first()?))
            .collect();
        if let Some(absent) = named.unwrap_or_default().iter().find(|name| !there.contains(*name)) {
            return Err(self.not_there(format!("database {absent}")));
        }
        let databases: Vec<String> = match named {
            None => there
                .into_iter()
                .filter(|name| !OWN.contains(&name.as_str()) && !select.skip.contains(name))
                .collect(),
            Some(named) => named.to_vec(),
        };
        let (tables, known) = self.look(&databases)?;
        self.must_see_triggers(&databases)?;
        let is_narrow = !select.tables.is_empty() || !select.prefix.is_empty();
        let choice = match &databases[..] {
            [one] if named.is_some() => {
                let is_taken = |table: &String| {
                    let by_prefix = !select.prefix.is_empty() && table.starts_with(&select.prefix);
                    (select.tables.contains(table) || by_prefix) && !select.ignore.contains(table)
                };
                let absent = select.tables.iter().find(|table| !tables.contains(table));
                // For the way back of a load, tables that are not there yet are none to keep.
                if let Some(absent) = absent.filter(|_| !self.spec.loads) {
                    return Err(self.not_there(format!("table {one}.{absent}")));
                }
                let ignored = select.ignore.iter().filter(|table| tables.contains(table)).cloned().collect();
                let only: Option<Vec<String>> =
                    is_narrow.then(|| tables.into_iter().filter(is_taken).collect());
                // The dump program would take all.
                if only.as_ref().is_some_and(Vec::is_empty) {
                    return Err(self.not_there(format!("any of the selected tables of {one}")));
                }
                Choice::One { database: one.clone(), only, ignored }
            }
            _ if is_narrow || !select.ignore.is_empty() => {
                return Err(SourceError::CannotBe(
                    "`tables`, `prefix` and `ignore` are for one database".into(),
                ));
            }
            _ => Choice::Several(databases),
        };
        Ok((choice, known))
    }

    /// Looks at the tables of databases; returns the names of those of the first.
    fn look(&self, databases: &[String]) -> Result<(Vec<String>, Known), SourceError> {
        let version = self.ask_one("SELECT VERSION()")?.unwrap_or_default();
        let mut known = Known { version, ..Known::default() };
        let mut of_first = Vec::new();
        for (at, database) in databases.iter().enumerate() {
            let sql = format!(
                "SELECT HEX(TABLE_NAME), IFNULL(TRANSACTIONS, 'NO'), TABLE_TYPE, \
                 IFNULL(DATA_LENGTH, 0) + IFNULL(INDEX_LENGTH, 0) FROM information_schema.TABLES \
                 LEFT JOIN information_schema.ENGINES ON TABLES.ENGINE = ENGINES.ENGINE \
                 WHERE TABLE_SCHEMA = {} ORDER BY TABLE_NAME",
                literal(database)
            );
            for row in self.ask(&sql)? {
                let [name, transactions, kind, bytes] = &row[..] else { continue };
                let Some(name) = unhex(name) else { continue };
                known.tables += 1;
                known.bytes = known.bytes.saturating_add(bytes.parse().unwrap_or(0));
                if kind == "BASE TABLE" && transactions != "YES" {
                    known.without_view.push(format!("{database}.{name}"));
                }
                if at == 0 {
                    of_first.push(name);
                }
            }
        }
        for database in databases {
            let sql = format!(
                "SELECT HEX(TABLE_NAME), HEX(COLUMN_NAME) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND DATA_TYPE = 'float'",
                literal(database)
            );
            for row in self.ask(&sql)? {
                let mut names = row.iter().map(|name| unhex(name).unwrap_or_default());
                let (table, column) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
                known.rounded.push(format!("{database}.{table}.{column}"));
            }
        }
        Ok((of_first, known))
    }

    /// The server leaves triggers out for users without the right to them, and says nothing.
    fn must_see_triggers(&self, databases: &[String]) -> Result<(), SourceError> {
        // Older servers know no roles.
        let who = self.ask(WHO[0]).or_else(|_| self.ask(WHO[1]))?;
        let Some([user, role]) = who.first().map(Vec::as_slice) else { return Ok(()) };
        // What a role may is not told to everybody.
        if role != "NONE" {
            return Ok(());
        }
        for database in databases {
            let sql = count_trigger_rights(database);
            if self.ask_one(&sql)?.as_deref() == Some("0") {
                let hint = format!("GRANT TRIGGER ON {}.* lets it", super::quoted(database));
                let user = user.clone();
                return Err(SourceError::NotSeen {
                    user,
                    what: "triggers",
                    server: self.spec.reach.shown(),
                    hint,
                });
            }
        }
        Ok(())
    }

    fn not_there(&self, what: String) -> SourceError {
        SourceError::NotThere { what, server: self.spec.reach.shown() }
    }
}

/// What every server answers with who we are, and our role.
pub(super) const WHO: [&str; 2] =
    ["SELECT CURRENT_USER(), IFNULL(CURRENT_ROLE(), 'NONE')", "SELECT CURRENT_USER(), 'NONE'"];

/// Returns the question how many rights to see the triggers of a database this user was given.
pub(super) fn count_trigger_rights(database: &str) -> String {
    let name = literal(database);
    let granted = |table: &str, of: &str| {
        format!(
            "SELECT GRANTEE FROM information_schema.{table}_PRIVILEGES WHERE PRIVILEGE_TYPE = 'TRIGGER'{of}"
        )
    };
    // A grantee is 'user'@'host', and a user may have an @ in it.
    format!(
        "SELECT CAST(COUNT(*) AS CHAR) FROM ({} UNION ALL {} UNION ALL {}) AS granted WHERE GRANTEE = \
         CONCAT('\\'', LEFT(CURRENT_USER(), LENGTH(CURRENT_USER()) - LENGTH(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)) - 1), \
         '\\'@\\'', SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '\\'')",
        granted("USER", ""),
        granted("SCHEMA", &format!(" AND {name} LIKE TABLE_SCHEMA")),
        granted("TABLE", &format!(" AND TABLE_SCHEMA = {name}")),
    )
}

/// Reads what `HEX()` wrote.
fn unhex(text: &str) -> Option<String> {
    let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digits).collect();
    String::from_utf8(bytes?).ok()
}
