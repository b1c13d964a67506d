//! Units of systemd as `systemctl show` tells them, and which of them stop together.

use super::ServiceError;
use super::tool::{ask, program, said};
use crate::machine::Machine;
use std::collections::BTreeSet;

/// Most units that may be looked at for one service.
const MAX_UNITS: usize = 500;

/// Units without which nothing runs.
const VITAL: [&str; 7] =
    ["sysinit.target", "basic.target", "local-fs.target", "init.scope", "-.mount", "-.slice", "system.slice"];

/// What is asked for. The six of dependencies are those along which systemd passes on a stop.
const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,Transient,Result,ControlGroup,TriggeredBy,\
     RequiredBy,RequisiteOf,BoundBy,ConsistsOf,PropagatesStopTo";

/// A unit.
#[derive(Debug, Default)]
pub(super) struct Unit {
    pub(super) id: String,
    pub(super) load: String,
    pub(super) active: String,
    pub(super) sub: String,
    pub(super) result: String,
    pub(super) control_group: String,
    pub(super) is_transient: bool,
    /// Units that stop if this one is stopped.
    dependents: Vec<String>,
    /// Units that start this one when something happens.
    triggered_by: Vec<String>,
}

impl Unit {
    /// Returns whether it runs.
    pub(super) fn runs(&self) -> bool {
        matches!(&self.active[..], "active" | "activating" | "reloading" | "refreshing")
    }

    /// Returns whether it has neither ended nor failed.
    pub(super) fn is_busy(&self) -> bool {
        self.runs() || self.active == "deactivating"
    }

    /// Returns its state for people.
    pub(super) fn state(&self) -> String {
        format!("{} ({})", self.active, self.sub)
    }

    fn set(&mut self, key: &str, value: &str) {
        let value_of = || value.to_owned();
        let names = || value.split_whitespace().map(ToOwned::to_owned);
        match key {
            "Id" => self.id = value_of(),
            "LoadState" => self.load = value_of(),
            "ActiveState" => self.active = value_of(),
            "SubState" => self.sub = value_of(),
            "Result" => self.result = value_of(),
            "ControlGroup" => self.control_group = value_of(),
            "Transient" => self.is_transient = value == "yes",
            "TriggeredBy" => self.triggered_by = names().collect(),
            "RequiredBy" | "RequisiteOf" | "BoundBy" | "ConsistsOf" | "PropagatesStopTo" => {
                self.dependents.extend(names());
            }
            _ => {}
        }
    }
}

/// Returns whether a unit is one that starts others.
pub(super) fn is_trigger(name: &str) -> bool {
    [".socket", ".timer", ".path", ".automount"].iter().any(|suffix| name.ends_with(suffix))
}

/// Asks for units, in the order of their names.
pub(super) fn show(names: &[String], machine: &Machine<'_>) -> Result<Vec<Unit>, ServiceError> {
    let fixed = ["systemctl", "show", "--no-pager", "--property", PROPERTIES, "--"];
    let program = program(fixed.into_iter().chain(names.iter().map(String::as_str)));
    let captured = ask(&program, machine)?;
    if !captured.finished.is_success() {
        return Err(ServiceError::NoManager { said: said(&captured.finished, &program) });
    }
    let units = parse(&String::from_utf8_lossy(&captured.stdout));
    if units.len() == names.len() && !captured.was_cut {
        return Ok(units);
    }
    let detail = format!("{} units instead of {}", units.len(), names.len());
    Err(ServiceError::Answer { program: "systemctl", name: names.join(" "), detail })
}

/// Reads blocks of `Key=value`, with an empty line between units.
pub(super) fn parse(text: &str) -> Vec<Unit> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    let read = |block: &str| {
        let mut unit = Unit::default();
        for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
            unit.set(key, value);
        }
        unit
    };
    blocks.map(read).collect()
}

/// Returns what runs of a unit, of those that systemd would stop with it, and of those that would start any of them:
/// the unit first, then by distance.
///
/// A stop passes through units that do not run to their dependents, so those are looked at too.
pub(super) fn what_runs(unit: &Unit, machine: &Machine<'_>) -> Result<Vec<String>, ServiceError> {
    let mut running: Vec<String> = unit.runs().then(|| unit.id.clone()).into_iter().collect();
    let mut seen = BTreeSet::from([unit.id.clone()]);
    let mut next = unit.triggered_by.clone();
    if unit.is_busy() {
        next.extend(unit.dependents.iter().cloned());
    }
    loop {
        let fresh: Vec<String> = next.drain(..).filter(|name| seen.insert(name.clone())).collect();
        if let Some(vital) = fresh.iter().find(|name| VITAL.contains(&name.as_str())) {
            return Err(ServiceError::Vital { name: unit.id.clone(), vital: vital.clone() });
        }
        if seen.len() > MAX_UNITS {
            let vital = format!("more than {MAX_UNITS} units");
            return Err(ServiceError::Vital { name: unit.id.clone(), vital });
        }
        if fresh.is_empty() {
            return Ok(running);
        }
        for unit in show(&fresh, machine)? {
            // By its own name, which may be another than that it was asked by.
            seen.insert(unit.id.clone());
            if unit.runs() && !running.contains(&unit.id) {
                running.push(unit.id.clone());
            } else if is_trigger(&unit.id) {
                // It will not be stopped, so nothing stops with it.
                continue;
            }
            next.extend(unit.dependents);
            next.extend(unit.triggered_by);
        }
    }
}
