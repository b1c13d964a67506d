//! What the client is given back, or rows.
//!
//! In format `sql` tables are replaced one after another, and nothing of that can be one transaction: the server ends one with every
//! statement that makes a table. So what was there must be dumped first.

use super::super::{ImportInto, Load, Said, SourceError, WayBack, World};
use super::dump::WHOLE;
use super::tools::{Tool, Tools};
use super::{MariadbSpec, literal, quoted, records};
use crate::child::{Channel, ChildError};
use crate::manifest::drivers::{Format, Import, Scope};
use std::io::Read;
use std::time::Duration;

/// Where a dump sets the mode in which it is read, and how.
const HEAD_BYTES: u64 = 4096;
const MODE: &[u8] = b"SQL_MODE='NO_AUTO_VALUE_ON_ZERO'";

/// A load.
pub(in super::super) struct MariadbLoad<'a> {
    spec: MariadbSpec,
    limit: Option<Duration>,
    world: World<'a>,
    said: &'a mut Said<'a>,
}

impl<'a> MariadbLoad<'a> {
    pub(in super::super) fn new(
        spec: &MariadbSpec,
        limit: Option<Duration>,
        world: World<'a>,
        said: &'a mut Said<'a>,
    ) -> Self {
        Self { spec: spec.clone(), limit, world, said }
    }
}

impl Tools<'_> {
    /// Returns whether a database is there, and its character set and collation.
    fn database(&self, name: &str) -> Result<Option<(String, String)>, SourceError> {
        let sql = format!(
            "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}",
            literal(name)
        );
        let row = self.ask(&sql)?.into_iter().next();
        Ok(row.and_then(|row| match <[String; 2]>::try_from(row) {
            Ok([charset, collation]) => Some((charset, collation)),
            Err(_) => None,
        }))
    }

    /// Sees to it that the database is there, and empty if the manifest says so.
    fn make_database(&self, name: &str, empties: bool, said: &mut Said<'_>) -> Result<(), SourceError> {
        let there = self.database(name)?;
        let sql = match there {
            Some(_) if !empties => return Ok(()),
            Some((charset, collation)) => format!(
                "DROP DATABASE {0}; CREATE DATABASE {0} CHARACTER SET {charset} COLLATE {collation}",
                quoted(name)
            ),
            None => {
                said(&format!("database {name} is not there and is made"));
                format!("CREATE DATABASE {} CHARACTER SET utf8mb4", quoted(name))
            }
        };
        self.ask(&sql).map(drop)
    }
}

impl Load for MariadbLoad<'_> {
    fn check(&mut self) -> Result<(), SourceError> {
        if self.spec.format == Format::Records {
            return records::look(&self.spec, self.world);
        }
        if self.spec.import != Import::Replace {
            return Err(SourceError::CannotBe(format!(
                "a dump in SQL replaces tables; import = \"{}\" is for format = \"records\"",
                self.spec.import
            )));
        }
        Tools::new(&self.spec, self.limit, self.world)?.ask("SELECT 1").map(drop)
    }

    fn prepare_records(&mut self, _: &mut ImportInto<'_>) -> Result<WayBack, SourceError> {
        Ok(WayBack::DumpFirst)
    }

    fn takes_away(&mut self) -> Result<Option<WayBack>, SourceError> {
        let triggers = records::MariadbTriggers::of(&self.spec, self.world)?;
        Ok(triggers.map(|triggers| WayBack::Triggers(Box::new(triggers))))
    }

    fn put_records(self: Box<Self>, import: &mut ImportInto<'_>) -> Result<(), SourceError> {
        Ok(import(Box::new(records::MariadbTarget::open(&self.spec, self.world)?))?)
    }

    fn prepare(&mut self, _: &mut dyn Read) -> Result<WayBack, SourceError> {
        Ok(WayBack::DumpFirst)
    }

    fn put(self: Box<Self>, bytes: &mut dyn Read) -> Result<(), SourceError> {
        let Self { spec, limit, world, said } = *self;
        let tools = Tools::new(&spec, limit, world)?;
        let target = spec.target();
        let mut first = Vec::new();
        bytes.take(HEAD_BYTES).read_to_end(&mut first).map_err(SourceError::Stream)?;
        if let Some(name) = &target {
            tools.make_database(name, first.starts_with(WHOLE) || spec.scope == Scope::Database, said)?;
        }
        let first = with_all_dates(first);
        let mut bytes = first.as_slice().chain(bytes);
        // Binary mode: nothing in the data is a command of the client, or an end of line to be put right.
        let mut arguments = [
            "--batch",
            // What it cannot run it would print, with the rows.
            "--loose-skip-print-query-on-error",
            "--binary-mode",
            "--default-character-set=utf8mb4",
            "--max-allowed-packet=1G",
        ]
        .map(String::from)
        .to_vec();
        arguments.push("--".into());
        arguments.extend(target);
        let client = tools.call(Tool::Client, &arguments)?;
        let program = client.program().clone();
        let mut line = |channel, text: &str| {
            if channel == Channel::Err {
                said(text);
            }
        };
        let fed = client.feed(world.around, tools.limits, world.cancelled, &mut bytes, &mut line);
        let (finished, was_fed) = match fed {
            Err(ChildError::Input { source, .. }) => return Err(SourceError::Stream(source)),
            result => result?,
        };
        finished.success(&program)?;
        match was_fed {
            true => Ok(()),
            false => Err(SourceError::NotAllRead { program: program.name() }),
        }
    }
}

/// Lets dates such as 31 February in: the mode in which a dump is read, which it sets itself, makes zeros of them.
fn with_all_dates(mut first: Vec<u8>) -> Vec<u8> {
    if let Some(at) = first.windows(MODE.len()).position(|part| part == MODE) {
        let end = at + MODE.len() - 1;
        first.splice(end..end, b",ALLOW_INVALID_DATES".iter().copied());
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_of_a_dump_is_widened_once() {
        let head =
            b"/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\nrest".to_vec();
        let wide = String::from_utf8(with_all_dates(head)).unwrap();
        assert!(wide.ends_with("SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES' */;\nrest"), "{wide}");
        assert_eq!(with_all_dates(b"other".to_vec()), b"other");
    }
}
