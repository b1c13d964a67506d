//! Servers that were started for a load: a container that runs, or a unit that is up, may not answer yet.

use super::Run;
use crate::manifest::programs::Severity;
use crate::sources::{LoadOptions, SourceSpec, World, open_load};
use std::thread::sleep;
use std::time::Duration;

/// How long a server that was just started is waited for.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is asked.
const TICK: Duration = Duration::from_millis(250);

impl Run<'_, '_> {
    /// Waits until the server of a source answers, if something was started for the sources of this module. What else is
    /// wrong with it is told by the load, and so is that it does not come up.
    pub(super) fn wait_for(&self, at: usize, spec: &SourceSpec) {
        if self.puts[at].early.is_empty() {
            return;
        }
        let machine = self.conduct.machine;
        let (cancelled, around) = (|| (machine.cancelled)(), machine.around_of_run());
        let world = World { around: &around, cancelled: &cancelled };
        let mut waited = Duration::ZERO;
        while waited < PATIENCE && !cancelled() {
            let mut said = |_: &str| {};
            let asked =
                open_load(spec, LoadOptions::default(), world, &mut said).and_then(|mut load| load.check());
            match asked {
                Err(error) if error.may_come_up() => {
                    if waited.is_zero() {
                        let id = self.job.members[at].id();
                        let why = format!("waiting for the server of source {}: {error}", spec.name);
                        self.conduct.log(Severity::Info, Some(id), &why);
                    }
                }
                _ => return,
            }
            sleep(TICK);
            waited += TICK;
        }
    }
}
