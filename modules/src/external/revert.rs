//! The way back of an importer: its spaces are put back, then it undoes what is its own.

use super::data::ImportData;
use super::error::ExternalError;
use super::import::{ImportHost, Reading, import};
use super::program::{Job, Spec};
use super::talker::Around;
use crate::machine::Machine;
use crate::manifest::programs::Severity;
use crate::protocol::{Offer, Op};
use crate::spaces::Spaces;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Puts back what an importer changed. `before` are the spaces there were before it began, which are none of its own.
///
/// # Errors
/// Why it failed, for people; the spaces are kept.
pub fn revert(spec: &Spec, before: &[String], machine: &Machine<'_>) -> Result<(), String> {
    let spaces_dir = machine.state_dir.join("spaces");
    let spaces = Spaces::open(&spaces_dir).map_err(|error| error.to_string())?;
    let own = own_spaces(&spaces, spec, before)?;
    let ids: Vec<&str> = own.iter().map(String::as_str).collect();
    for (id, replayed) in spaces.revert(Some(&ids)).map_err(|error| error.to_string())? {
        replayed.map_err(|error| format!("space {id}: {error}"))?;
    }
    let around = machine.around_of_run();
    let log = |level: Severity, text: &str| machine.log.log(level, None, &format!("{}: {text}", spec.module));
    // To be finished whatever the person wants: half of it would be neither.
    let elapsed = || (machine.elapsed)();
    let job = Job {
        spec,
        run: machine.run,
        root: Path::new("/"),
        spaces_dir: &spaces_dir,
        log: &log,
        offer: Offer::default(),
        world: Around { around: &around, cancelled: &|| false, elapsed: &elapsed },
    };
    let data = ImportData { begin: json!({ "space": spec.module }), ..ImportData::default() };
    match import(&job, Op::Revert, &data, &mut Nothing) {
        // What is in spaces is all there is to undo.
        Err(ExternalError::Failed { failure, .. }) if failure.code == "unsupported" => {}
        Err(error) => return Err(error.to_string()),
        Ok(imported) => {
            if let Some(said) = imported.grave.first() {
                return Err(said.text.clone());
            }
        }
    }
    let own = own_spaces(&spaces, spec, before)?;
    own.iter().try_for_each(|id| spaces.remove(id)).map_err(|error| error.to_string())
}

/// Lets go of what an importer put into spaces: persistent ones stay.
///
/// # Errors
/// Why it failed, for people.
pub fn close_spaces(spec: &Spec, before: &[String], state_dir: &Path) -> Result<(), String> {
    let spaces = Spaces::open(&state_dir.join("spaces")).map_err(|error| error.to_string())?;
    for id in own_spaces(&spaces, spec, before)? {
        spaces.close(&id).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn own_spaces(spaces: &Spaces, spec: &Spec, before: &[String]) -> Result<Vec<String>, String> {
    let all = spaces.list().map_err(|error| error.to_string())?;
    let is_own = |id: &String| {
        id.strip_prefix(&spec.module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            && !before.contains(id)
    };
    Ok(all.into_iter().map(|(id, _)| id).filter(is_own).collect())
}

/// A caller that has nothing to give: there is no snapshot that anything could be had of.
pub struct Nothing;

impl ImportHost for Nothing {
    fn dump(&mut self, _name: &str, _reading: &mut Reading<'_>) -> Result<(), ExternalError> {
        Ok(())
    }

    fn file(&mut self, _path: &Path, _reading: &mut Reading<'_>) -> Result<bool, ExternalError> {
        Ok(false)
    }

    fn scratch(&mut self) -> Result<PathBuf, String> {
        Err("there is none in this operation".into())
    }
}
