//! The services that a run stops: those of all its members, each once.

use super::{Member, MemberError};
use crate::manifest::drivers::OnError;
use crate::manifest::services::{Operation, Restart, start_order};
use crate::services::ServiceSpec;

/// A service that a run stops.
#[derive(Clone, Debug)]
pub struct Halt {
    /// The service.
    pub spec: ServiceSpec,
    /// The members that declare it, by their places in the run; at least one.
    pub members: Vec<usize>,
    /// Whether its modules fail if it cannot be stopped.
    pub must_stop: bool,
    /// Whether its modules are partial if it cannot be started again; it is an error of the run in any case.
    pub must_start: bool,
    /// When it is started again.
    pub restart: Restart,
    /// Whether it goes on running if a filesystem snapshot is what the run reads.
    pub not_with_snapshot: bool,
}

/// Returns the services that a run over these members stops, in the order in which it starts them; it stops them in
/// reverse.
///
/// A service that several members declare has the place of the first of them, since that one's services that come after
/// it need it. Of what the members say of it, the strictest word counts.
pub fn halts(members: &[Member<'_>], operation: Operation) -> Result<Vec<Halt>, MemberError> {
    let mut halts: Vec<Halt> = Vec::new();
    for (at, member) in members.iter().enumerate() {
        for own in start_order([member.manifest], operation) {
            let service = own.service;
            let spec = ServiceSpec::of(service, member.variables).map_err(|source| MemberError::Service {
                module: member.id().clone(),
                service: service.name.clone(),
                source,
            })?;
            let (must_stop, must_start) =
                (service.on_stop_error == OnError::Fail, service.on_start_error == OnError::Fail);
            match halts.iter_mut().find(|halt| halt.spec.is_same_service(&spec)) {
                Some(halt) => {
                    if !halt.members.contains(&at) {
                        halt.members.push(at);
                    }
                    halt.must_stop |= must_stop;
                    halt.must_start |= must_start;
                    halt.not_with_snapshot &= service.not_with_snapshot;
                }
                None => halts.push(Halt {
                    spec,
                    members: vec![at],
                    must_stop,
                    must_start,
                    restart: service.restart,
                    not_with_snapshot: service.not_with_snapshot,
                }),
            }
        }
    }
    Ok(halts)
}
