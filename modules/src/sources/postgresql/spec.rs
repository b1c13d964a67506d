//! What a manifest wants of a server.

use super::super::{IDLE_LIMIT, SourceError};
use crate::endpoint::Reach;
use crate::manifest::drivers::{Format, Import};
use crate::manifest::sections::SectionKind;
use crate::manifest::sources::Source;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is wanted of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresSpec {
    /// Where it is.
    pub reach: Reach,
    /// What of it.
    pub databases: Databases,
    /// How it is stored.
    pub form: Form,
    /// Only these tables, and those of a prefix or schema.
    pub tables: Vec<String>,
    /// Only tables whose names begin so.
    pub prefix: String,
    /// Only these schemas.
    pub schemas: Vec<String>,
    /// Not these tables.
    pub ignore: Vec<String>,
    /// Whether the passwords of roles are dumped: only in section secrets.
    pub with_passwords: bool,
    /// How long a program may do nothing.
    pub idle_limit: Duration,
}

/// How a database is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// As the archive of `pg_dump`, uncompressed.
    Archive,
    /// As SQL text.
    Text,
    /// Row by row.
    Records,
}

/// Which databases of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Databases {
    /// One: one stream.
    One(String),
    /// Several, each a stream.
    Named(Vec<String>),
    /// All but these, and the roles.
    All(Vec<String>),
    /// The roles alone.
    Roles,
}

/// The stream of the roles.
const ROLES: &str = "roles";
/// What the streams of databases begin with.
const DATABASE: &str = "database=";

impl PostgresSpec {
    /// Resolves a source of a manifest, at this place.
    pub(in super::super) fn of(source: &Source, reach: Reach) -> Result<Self, SourceError> {
        let impossible = |what: &str| {
            Err(SourceError::Impossible { what: what.to_owned(), format: source.format.to_string() })
        };
        let select = &source.select;
        let form = match source.format {
            Format::Records => Form::Records,
            Format::Sql => Form::Text,
            Format::Directory => {
                return impossible(
                    "streams: pg_dump needs room on a disk for it, and format custom holds the same",
                );
            }
            _ => Form::Archive,
        };
        let is_stream = form != Form::Records;
        for (is_wanted, what) in [
            (is_stream && !select.rows_where.is_empty(), "`select.where`"),
            (
                is_stream && !(select.columns.is_empty() && select.omit_columns.is_empty()),
                "a choice of columns",
            ),
            (is_stream && source.import != Import::Replace, "imports other than replace"),
            (!select.ids.is_empty() || !select.keys.is_empty(), "a choice of keys"),
        ] {
            if is_wanted {
                return impossible(what);
            }
        }
        let databases = match &select.databases[..] {
            [] => match reach.database.clone() {
                Some(database) => Databases::One(database),
                None => return Err(SourceError::NoDatabase),
            },
            all if all.iter().any(|name| name == "all") => Databases::All(select.skip.clone()),
            [one] => Databases::One(one.clone()),
            several => {
                let mut names = several.to_vec();
                names.sort();
                names.dedup();
                Databases::Named(names)
            }
        };
        Ok(Self {
            reach,
            databases,
            form,
            tables: select.tables.clone(),
            prefix: select.prefix.clone(),
            schemas: select.schemas.clone(),
            ignore: select.ignore.clone(),
            with_passwords: source.section == SectionKind::Secrets,
            idle_limit: IDLE_LIMIT,
        })
    }

    /// Returns whether all of a database is wanted.
    pub(super) fn is_whole(&self) -> bool {
        self.tables.is_empty() && self.prefix.is_empty() && self.schemas.is_empty() && self.ignore.is_empty()
    }

    /// Returns whether a table is wanted.
    pub(super) fn takes(&self, schema: &str, table: &str) -> bool {
        let full = format!("{schema}.{table}");
        let named = |list: &[String]| list.iter().any(|one| one == table || *one == full);
        let by_prefix =
            !self.prefix.is_empty() && (table.starts_with(&self.prefix) || full.starts_with(&self.prefix));
        let is_open = self.tables.is_empty() && self.prefix.is_empty();
        (is_open || named(&self.tables) || by_prefix)
            && (self.schemas.is_empty() || self.schemas.iter().any(|one| one == schema))
            && !named(&self.ignore)
    }

    /// Returns what one stream of several is wanted for; none if this source has no such stream.
    pub(in super::super) fn part(&self, stream: &str) -> Option<Self> {
        let databases = match (&self.databases, stream.strip_prefix(DATABASE).and_then(unescape)) {
            (Databases::All(_), None) if stream == ROLES => Databases::Roles,
            (Databases::All(skip), Some(name)) if !skip.contains(&name) => Databases::One(name),
            (Databases::Named(names), Some(name)) if names.contains(&name) => Databases::One(name),
            _ => return None,
        };
        Some(Self { databases, ..self.clone() })
    }

    /// Returns the names of the streams of these databases, and of the roles if they are wanted, rising.
    pub(super) fn streams(&self, databases: &[String]) -> Vec<String> {
        let mut streams: Vec<_> =
            databases.iter().map(|name| format!("{DATABASE}{}", escape(name))).collect();
        if matches!(self.databases, Databases::All(_)) {
            streams.push(ROLES.to_owned());
        }
        streams.sort();
        streams
    }
}

/// Returns whether a stream must be loaded before others: databases belong to roles.
pub(in super::super) fn is_loaded_first(stream: &str) -> bool {
    stream == ROLES
}

/// Writes a name of a database as part of the name of a file: `/`, `%` and control characters as `%2F`.
fn escape(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '/' | '%' | '\0'..='\x1f' | '\x7f' => format!("%{:02X}", u32::from(c)),
            _ => c.to_string(),
        })
        .collect()
}

/// Reads what [`escape`] wrote, and nothing else.
fn unescape(text: &str) -> Option<String> {
    let (mut name, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('%') {
        name.push_str(before);
        let code = u8::from_str_radix(after.get(..2)?, 16).ok().filter(u8::is_ascii)?;
        name.push(char::from(code));
        rest = after.get(2..)?;
    }
    name.push_str(rest);
    (!name.is_empty() && escape(&name) == text).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_databases_are_names_of_files() {
        for name in ["app", "a/b", "100%", "..", "ü/%", "line\nbreak"] {
            let text = escape(name);
            assert!(!text.contains('/'), "{text}");
            assert_eq!(unescape(&text).as_deref(), Some(name), "{text}");
        }
        for wrong in ["", "%", "%2", "%zz", "a/b", "%41", "%2f", "%C3%BC"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }
}
