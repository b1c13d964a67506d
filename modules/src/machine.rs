//! What of this machine a run of modules works with: given by the program, so that the library asks nobody.

use crate::child::Surroundings;
use crate::log::Log;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// The variable that a run's hooks, dumps and loads have: they end with the run.
pub const RUN_VARIABLE: &str = "DEDUP_RUN";
/// The variable that programs have which stop or lock something: whoever undoes that waits for their end first.
pub const ACTING_VARIABLE: &str = "DEDUP_ACTING";

/// What of this machine a run works with.
#[derive(Clone, Copy)]
pub struct Machine<'a> {
    /// Id of the run; programs that it starts get it as `DEDUP_RUN`.
    pub run: &'a str,
    /// What those programs get of this process's world.
    pub around: &'a Surroundings,
    /// Where messages go.
    pub log: &'a dyn Log,
    /// Where this program keeps its own state: flags, journals, spaces.
    pub state_dir: &'a Path,
    /// Whether the person asked to stop.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
    /// A monotonic clock.
    pub elapsed: &'a (dyn Fn() -> Duration + Sync),
}

impl Machine<'_> {
    /// Returns the surroundings of programs that end with the run.
    pub fn around_of_run(&self) -> Surroundings {
        let mut around = self.around.clone();
        around.env.push((RUN_VARIABLE.into(), self.run.into()));
        around
    }
}

impl fmt::Debug for Machine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("run", &self.run)
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}
