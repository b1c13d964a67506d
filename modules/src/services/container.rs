//! Single containers, by docker or podman, whichever has them.

use super::engine::Engine;
use super::{Controller, Noted, ServiceError, ServiceSpec, Target};
use crate::machine::Machine;

/// A container.
pub(super) struct Container;

fn pauses(service: &ServiceSpec) -> bool {
    matches!(service.target, Target::Container { pause: true })
}

impl Controller for Container {
    fn note(&self, service: &ServiceSpec, machine: &Machine<'_>) -> Result<Noted, ServiceError> {
        let (_, container) = Engine::having(&service.name, machine)?;
        container.must_outlive_its_stop(pauses(service))?;
        Ok(Noted::parts(container.runs().then(|| container.name().to_owned()).into_iter().collect()))
    }

    fn stop(&self, service: &ServiceSpec, _: &Noted, machine: &Machine<'_>) -> Result<(), ServiceError> {
        let (engine, container) = Engine::having(&service.name, machine)?;
        engine.stop(&container, pauses(service), service, machine)
    }

    fn start(&self, service: &ServiceSpec, _: &Noted, machine: &Machine<'_>) -> Result<(), ServiceError> {
        let (engine, container) = Engine::having(&service.name, machine)?;
        engine.start(container.name(), service, machine)
    }
}
