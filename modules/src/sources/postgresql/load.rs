//! Dumps put back: by `pg_restore` or `psql`, in one transaction.

use super::super::{Head, ImportInto, Load, Said, SourceError, WayBack, World};
use super::clean::Cleaned;
use super::export::{ask, has_database};
use super::import::PostgresTarget;
use super::programs::Server;
use super::quote::{literal, name as quoted};
use super::restricted::Restricted;
use super::spec::{Databases, Form, PostgresSpec};
use super::transaction::OneTransaction;
use crate::child::{Channel, ChildError, Limits};
use std::io::Read;
use std::time::Duration;

/// SQLSTATE of a role or tablespace that is there already.
const IS_THERE: &str = "42710";

/// A load by programs.
pub(in super::super) struct PostgresLoad<'a> {
    spec: PostgresSpec,
    server: Server<'a>,
    limits: Limits,
    facts: Vec<(String, String)>,
    said: &'a mut Said<'a>,
}

impl<'a> PostgresLoad<'a> {
    pub(in super::super) fn new(
        spec: &PostgresSpec,
        total: Option<Duration>,
        world: World<'a>,
        said: &'a mut Said<'a>,
    ) -> Result<Self, SourceError> {
        let limits = Limits { total, idle: Some(spec.idle_limit) };
        let server = Server::find(&spec.reach, world)?;
        Ok(Self { spec: spec.clone(), server, limits, facts: Vec::new(), said })
    }

    fn database(&self) -> Result<&str, SourceError> {
        match &self.spec.databases {
            Databases::One(name) => Ok(name),
            _ => Err(SourceError::Unfinished),
        }
    }

    fn ask(&self, database: &str, sql: &str) -> Result<Vec<String>, SourceError> {
        ask(&self.server, &self.spec, database, sql)
    }

    /// Makes the database as the one was that was dumped. Returns whether it was not there.
    fn make_database(&self) -> Result<bool, SourceError> {
        let name = self.database()?;
        if has_database(&self.server, &self.spec, name)? {
            return Ok(false);
        }
        let fact = |wanted: &str| {
            self.facts
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| &value[..])
                .filter(|text| !text.is_empty())
        };
        let mut sql = format!("CREATE DATABASE {} TEMPLATE template0", quoted(name));
        for (word, value) in
            [("ENCODING", fact("encoding")), ("LC_COLLATE", fact("collate")), ("LC_CTYPE", fact("ctype"))]
        {
            if let Some(value) = value {
                sql.push_str(&format!(" {word} {}", literal(value)));
            }
        }
        let owner = fact("owner").filter(|owner| {
            let known = format!("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {}", literal(owner));
            self.ask(self.server.maintenance(), &known).is_ok_and(|rows| !rows.is_empty())
        });
        if let Some(owner) = owner {
            sql.push_str(&format!(" OWNER {}", quoted(owner)));
        }
        self.ask(self.server.maintenance(), &sql)?;
        Ok(true)
    }

    /// Does what fills the database, which is made if it is not there, and removed again if that fails.
    fn fill_database(
        &mut self,
        work: impl FnOnce(&mut Self, &str) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        let name = self.database()?.to_owned();
        let is_new = self.make_database()?;
        let done = work(self, &name);
        if done.is_err() && is_new {
            // The first error is the one to tell.
            let sql = format!("DROP DATABASE {}", quoted(&name));
            let _ = self.ask(self.server.maintenance(), &sql);
        }
        done
    }

    /// Lets a program read the stream.
    fn feed(
        &mut self,
        program: &str,
        database: &str,
        words: &[&str],
        bytes: &mut dyn Read,
    ) -> Result<Vec<String>, SourceError> {
        let is_text = program == PSQL;
        let client = self.server.client(program, database, words)?;
        let (program, world, said) = (client.program().clone(), self.server.world(), &mut *self.said);
        let mut errors = Vec::new();
        let mut line = |channel, text: &str| {
            if channel == Channel::Err {
                errors.push(text.to_owned());
                errors.truncate(MAX_LINES);
                said(text);
            }
        };
        let mut restricted;
        let bytes: &mut dyn Read = match is_text {
            true => {
                restricted = Restricted::new(bytes).map_err(SourceError::Stream)?;
                &mut restricted
            }
            false => bytes,
        };
        let fed = client.feed(world.around, self.limits, world.cancelled, bytes, &mut line);
        let (finished, was_fed) = match fed {
            Err(ChildError::Input { source, .. }) => return Err(SourceError::Stream(source)),
            result => result?,
        };
        finished.success(&program)?;
        match was_fed {
            true => Ok(errors),
            false => Err(SourceError::NotAllRead { program: program.name() }),
        }
    }

    fn put_roles(&mut self, bytes: &mut dyn Read) -> Result<(), SourceError> {
        let database = self.server.maintenance().to_owned();
        // Most roles are there, and making one that is cannot be told from other failures in a transaction.
        let errors =
            self.feed(PSQL, &database, &["-X", "-q", "--set=VERBOSITY=sqlstate", "-f", "-"], bytes)?;
        match errors.iter().find(|line| state_of(line).is_some_and(|state| state != IS_THERE)) {
            None => Ok(()),
            Some(line) => Err(SourceError::Roles { said: line.clone() }),
        }
    }
}

/// What reads text.
const PSQL: &str = "psql";
/// Most lines of errors that are looked at.
const MAX_LINES: usize = 10_000;

/// Returns the SQLSTATE at the end of a line of `psql`.
fn state_of(line: &str) -> Option<&str> {
    let word = line.rsplit(' ').next().filter(|word| word.len() == 5)?;
    word.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()).then_some(word)
}

impl Load for PostgresLoad<'_> {
    fn hear(&mut self, head: &Head) {
        self.facts.clone_from(&head.facts);
    }

    fn check(&mut self) -> Result<(), SourceError> {
        let is_text = self.spec.form == Form::Text || matches!(self.spec.databases, Databases::Roles);
        self.server.assert_has("psql")?;
        if !is_text {
            self.server.assert_has("pg_restore")?;
        }
        // Whether it may write there, only writing would tell.
        self.ask(self.server.maintenance(), "SELECT 1").map(drop)
    }

    fn prepare(&mut self, _: &mut dyn Read) -> Result<WayBack, SourceError> {
        Ok(WayBack::DumpFirst)
    }

    fn put(mut self: Box<Self>, bytes: &mut dyn Read) -> Result<(), SourceError> {
        if matches!(self.spec.databases, Databases::Roles) {
            return self.put_roles(bytes);
        }
        self.fill_database(|load, name| {
            match load.spec.form {
                Form::Text => {
                    let words = ["-X", "-q", "-1", "--set=ON_ERROR_STOP=1", "-f", "-"];
                    load.feed(PSQL, name, &words, &mut Cleaned::text(OneTransaction::new(bytes)))
                }
                Form::Archive | Form::Records => {
                    let words = ["--single-transaction", "--exit-on-error", "--clean", "--if-exists"];
                    load.feed("pg_restore", name, &words, &mut Cleaned::archive(bytes))
                }
            }
            .map(drop)
        })
    }

    fn prepare_records(&mut self, _: &mut ImportInto<'_>) -> Result<WayBack, SourceError> {
        Ok(WayBack::DumpFirst)
    }

    fn put_records(mut self: Box<Self>, import: &mut ImportInto<'_>) -> Result<(), SourceError> {
        self.fill_database(|load, _| {
            let target = PostgresTarget::open(&load.spec, load.server.world())?;
            Ok(import(Box::new(target))?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_by_their_state() {
        assert_eq!(state_of("psql:<stdin>:14: ERROR:  42710"), Some("42710"));
        assert_eq!(state_of("psql:<stdin>:14: FEHLER:  42501"), Some("42501"));
        assert_eq!(state_of("psql: warning: extra"), None);
    }
}
