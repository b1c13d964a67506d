//! Format `sql`: what the server's own dump program prints, whole or void.
//!
//! Uncompressed, rows in the order of their primary keys, without a date: what did not change is the same bytes again.

use super::super::{Dump, Head, Said, SourceError, World};
use super::MariadbSpec;
use super::choice::Choice;
use super::tools::{Tool, Tools};
use crate::child::ChildError;
use crate::endpoint::Running;
use crate::manifest::drivers::Format;
use std::io::{self, Read};
use std::time::Duration;

/// What a dump for the way back begins with, if it has all of its database: then nothing else was there.
pub(super) const WHOLE: &[u8] = b"-- All of the database: what else is there goes.\n";
/// The last line of a whole dump.
const TRAILER: &[u8] = b"-- Dump completed\n";
/// Most tables or columns that are named.
const NAMED: usize = 5;

/// What every dump is made with, whatever a configuration says.
const ALWAYS: [&str; 14] = [
    "--default-character-set=utf8mb4",
    "--quick",
    "--extended-insert",
    "--triggers",
    "--hex-blob",
    "--order-by-primary",
    "--skip-dump-date",
    "--comments",
    "--tz-utc",
    "--create-options",
    "--set-charset",
    "--add-drop-table",
    "--no-tablespaces",
    "--max-allowed-packet=1G",
];

/// A dump that runs.
pub(in super::super) struct MariadbDump<'a> {
    stream: std::io::Chain<&'static [u8], Running<'a>>,
    head: Head,
    /// What was read last.
    tail: Vec<u8>,
    bytes: u64,
    at_end: bool,
    failed: Option<SourceError>,
}

impl<'a> MariadbDump<'a> {
    pub(in super::super) fn start(
        spec: &MariadbSpec,
        limit: Option<Duration>,
        world: World<'a>,
        said: &'a mut Said<'a>,
    ) -> Result<Self, SourceError> {
        // What a load brings back if it must not stand is SQL, whatever the load itself is.
        if spec.format != Format::Sql && !spec.loads {
            return Err(SourceError::CannotBe(format!("format = \"{}\" is no stream of bytes", spec.format)));
        }
        let tools = Tools::new(spec, limit, world)?;
        let (choice, known) = tools.choose()?;
        if spec.consistent && !known.without_view.is_empty() {
            said(&without_view(&known.without_view));
        }
        if !known.rounded.is_empty() {
            let columns = listed(&known.rounded);
            said(&format!(
                "rounded to six digits by the server's dump program (format = \"records\" keeps all): {columns}"
            ));
        }
        let client = tools.call(Tool::Dump, &arguments(&tools, &choice))?;
        let of = match &choice {
            Choice::One { database, .. } => database.clone(),
            Choice::Several(databases) => databases.join(" "),
        };
        let facts = [("format", "sql".into()), ("databases", of), ("tables", known.tables.to_string())];
        let head = Head {
            kind: spec.driver.to_string(),
            version: known.version,
            estimated_bytes: Some(known.bytes),
            facts: facts.map(|(name, value)| (name.to_owned(), value)).into(),
            ..Head::default()
        };
        let stream = client.stream(world.around, tools.limits, world.cancelled, said)?;
        let is_whole = matches!(&choice, Choice::One { only: None, ignored, .. } if ignored.is_empty());
        let stream = if spec.loads && is_whole { WHOLE } else { b"" }.chain(stream);
        Ok(Self { stream, head, tail: Vec::new(), bytes: 0, at_end: false, failed: None })
    }
}

/// Names the first few.
fn listed(names: &[String]) -> String {
    let and = names.len().checked_sub(NAMED + 1).map(|more| format!(" and {} more", more + 1));
    format!("{}{}", names[..names.len().min(NAMED)].join(", "), and.unwrap_or_default())
}

/// Says of which tables a view is not.
pub(super) fn without_view(tables: &[String]) -> String {
    format!("of another moment than the rest, since their engine has no transactions: {}", listed(tables))
}

fn arguments(tools: &Tools<'_>, choice: &Choice) -> Vec<String> {
    let mut words: Vec<String> = ALWAYS.map(String::from).to_vec();
    words.push(if tools.spec.consistent { "--single-transaction" } else { "--skip-lock-tables" }.into());
    if tools.is_mysql() {
        words.extend(["--set-gtid-purged=OFF", "--column-statistics=0"].map(String::from));
    }
    let whole = ["--routines", "--events"].map(String::from);
    match choice {
        Choice::Several(databases) => {
            words.extend(whole);
            words.push("--databases".into());
            words.push("--".into());
            words.extend(databases.iter().cloned());
        }
        Choice::One { database, only: None, ignored } => {
            words.extend(whole);
            words.extend(ignored.iter().map(|table| format!("--ignore-table={database}.{table}")));
            words.extend(["--".into(), database.clone()]);
        }
        Choice::One { database, only: Some(tables), .. } => {
            words.extend(["--skip-routines", "--skip-events", "--"].map(String::from));
            words.push(database.clone());
            words.extend(tables.iter().cloned());
        }
    }
    words
}

impl MariadbDump<'_> {
    fn read_more(&mut self, out: &mut [u8]) -> Result<usize, SourceError> {
        let count = self.stream.read(out).map_err(|error| match error.downcast::<ChildError>() {
            Ok(child) => child.into(),
            Err(other) => SourceError::Stream(other),
        })?;
        if count == 0 {
            if self.tail != TRAILER {
                return Err(SourceError::Cut { program: self.head.kind.clone() + "'s dump program" });
            }
            self.at_end = true;
            return Ok(0);
        }
        self.bytes = self.bytes.saturating_add(count as u64);
        self.tail.extend_from_slice(&out[count.saturating_sub(TRAILER.len())..count]);
        let over = self.tail.len().saturating_sub(TRAILER.len());
        self.tail.drain(..over);
        Ok(count)
    }
}

impl Read for MariadbDump<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(failed) = &self.failed {
            return Err(io::Error::other(failed.to_string()));
        }
        if out.is_empty() || self.at_end {
            return Ok(0);
        }
        self.read_more(out).map_err(|error| {
            let told = io::Error::other(error.to_string());
            self.failed = Some(error);
            told
        })
    }
}

impl Dump for MariadbDump<'_> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn finish(self: Box<Self>) -> Result<u64, SourceError> {
        match self.failed {
            Some(failed) => Err(failed),
            None if self.at_end => Ok(self.bytes),
            None => Err(SourceError::Unfinished),
        }
    }
}
