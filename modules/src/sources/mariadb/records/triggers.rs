//! Triggers of tables that are loaded: they would act on the rows, so they are taken away and made again, whatever
//! happens in between.

use super::super::super::{SourceError, World};
use super::super::MariadbSpec;
use super::super::client::ClientError;
use super::super::quoted;
use super::catalog::read_with;
use super::connect::{STRICT, Session, UTC, Way, failed};
use crate::records::{Object, RecordError};
use serde::{Deserialize, Serialize};

/// A trigger of that name is there.
pub(super) const TRIGGER_EXISTS: u16 = 1359;
/// What a trigger is of is not there: a database, a table.
const NOT_THERE: [u16; 2] = [1049, 1146];
/// How long the sessions of a dead run are waited for, which hold the tables until the server notices.
const LOCK_SECONDS: u32 = 180;

/// The triggers that a target had before a load: everything another process needs to make those again that are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MariadbTriggers {
    spec: MariadbSpec,
    /// In the order in which they act, with their databases.
    triggers: Vec<(String, Kept)>,
}

/// A trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    name: String,
    ddl: String,
}

impl MariadbTriggers {
    /// Looks what a target has; `None` if it has none, or is not there yet.
    pub(in super::super) fn of(spec: &MariadbSpec, world: World<'_>) -> Result<Option<Self>, SourceError> {
        let mut session = Way::new(spec, world)?.open()?;
        let mut wanted = spec.clone();
        if let Some(target) = spec.target() {
            wanted.select.databases = vec![target];
        }
        let names = match session.databases(&wanted) {
            Err(RecordError::Absent { .. }) => return Ok(None),
            names => names?,
        };
        let mut triggers = Vec::new();
        for table in session.tables(&names)? {
            let (database, name) = names.split(&table)?;
            for trigger in session.triggers("look at triggers", database, name)? {
                triggers.push((database.to_owned(), Kept { name: trigger.name, ddl: trigger.ddl }));
            }
        }
        Ok((!triggers.is_empty()).then(|| Self { spec: spec.clone(), triggers }))
    }

    /// Makes those that are missing. After success, or if none was taken away, it does nothing.
    pub(in super::super::super) fn put_back(&self, world: World<'_>) -> Result<(), SourceError> {
        let mut session = Way::new(&self.spec, world)?.open()?;
        session.run("make triggers again", &format!("SET SESSION lock_wait_timeout = {LOCK_SECONDS}"))?;
        for (database, trigger) in &self.triggers {
            let object =
                Object { kind: "trigger".into(), name: trigger.name.clone(), ddl: trigger.ddl.clone() };
            session.make(database, &object, &[&[TRIGGER_EXISTS], &NOT_THERE[..]].concat())?;
        }
        Ok(())
    }
}

impl Session<'_> {
    /// Makes something; `exists` are the errors that say it is there.
    pub(super) fn make(
        &mut self,
        database: &str,
        object: &Object,
        exists: &[u16],
    ) -> Result<(), RecordError> {
        let doing = format!("make {} {}", object.kind, object.name);
        let (with, statement) = read_with(&object.ddl);
        match self.try_run(&format!("USE {}", quoted(database))) {
            Err(ClientError::Said(said)) if exists.contains(&said.code) => return Ok(()),
            used => drop(used.map_err(|error| failed(&doing, error))?),
        }
        if let Some(with) = with {
            self.run(&doing, with)?;
        }
        let made = self.try_run(statement);
        if with.is_some() {
            self.run(&doing, STRICT)?;
            self.run(&doing, UTC)?;
        }
        match made {
            Err(ClientError::Said(said)) if exists.contains(&said.code) => Ok(()),
            made => made.map(drop).map_err(|error| failed(&doing, error)),
        }
    }
}
