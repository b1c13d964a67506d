//! Services, stopped and started by the real thing. What a service is doing is asked by the tests' own query, never
//! through the controller that is tested.

mod containers;
mod units;
mod web;

use crate::support::systemd::Systemd;
use dedup_modules::id::ModuleId;
use dedup_modules::log::Log;
use dedup_modules::machine::Machine;
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::programs::Severity;
use dedup_modules::services::{Noted, ServiceError, ServiceSpec, Services};
use std::sync::Mutex;
use std::time::Duration;

/// What a controller is told to do with one service.
struct Rig {
    systemd: Systemd,
    log: Remembered,
}

#[derive(Default)]
struct Remembered(Mutex<Vec<(Severity, String)>>);

impl Log for Remembered {
    fn log(&self, level: Severity, _: Option<&ModuleId>, message: &str) {
        self.0.lock().unwrap().push((level, message.to_owned()));
    }
}

/// Returns a service as a manifest declares it.
fn spec(text: &str) -> ServiceSpec {
    let text = format!(
        "schema = 1\n[module]\nid = \"m\"\n[data]\ndirectories = [\"/srv/m\"]\n[[service]]\n{text}\n"
    );
    let manifest = Manifest::parse("test", text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
    ServiceSpec::of(&manifest.services[0], &manifest.paths).unwrap()
}

fn unit(name: &str) -> ServiceSpec {
    spec(&format!("name = \"{name}\"\nkind = \"system\""))
}

impl Rig {
    fn new(units: &[(&str, &str)]) -> Self {
        let systemd = Systemd::start();
        systemd.units(units);
        Self { systemd, log: Remembered::default() }
    }

    fn with<T>(&self, work: impl FnOnce(&Services<'_, '_>) -> T) -> T {
        let around = self.systemd.surroundings();
        let machine = Machine {
            run: "run-1",
            around: &around,
            log: &self.log,
            state_dir: &self.systemd.path(""),
            cancelled: &|| false,
            elapsed: &|| Duration::ZERO,
        };
        work(&Services::new(&machine))
    }

    fn note(&self, spec: &ServiceSpec) -> Result<Noted, ServiceError> {
        self.with(|services| services.note(spec))
    }

    fn stop(&self, spec: &ServiceSpec, noted: &Noted) -> Result<(), ServiceError> {
        self.with(|services| services.stop(spec, noted))
    }

    fn start(&self, spec: &ServiceSpec, noted: &Noted) -> Result<(), ServiceError> {
        self.with(|services| services.start(spec, noted))
    }

    /// Returns the states of units, by the tests' own query.
    fn states(&self, units: &[&str]) -> Vec<String> {
        units.iter().map(|unit| self.systemd.state(unit)).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let told = self.log.0.lock().unwrap();
        told.iter().filter(|(level, _)| *level <= Severity::Warning).map(|(_, text)| text.clone()).collect()
    }
}
