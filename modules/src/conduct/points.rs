//! Hooks before the work.

use super::{Cancelled, Conduct};
use crate::hooks::{HookEnd, run_hook};
use crate::manifest::hooks::HookPhase;
use crate::manifest::programs::Severity;
use crate::member::Point;
use crate::planted::{Bug, planted};

impl Conduct<'_, '_> {
    /// Runs the hooks before the work of one phase, of the members that still take part, in order.
    ///
    /// # Errors
    /// Cancelled, also while the last of them ran: what it failed for was not its own fault.
    pub fn run_pre(&mut self, phase: HookPhase) -> Result<(), Cancelled> {
        let members = self.members;
        for at in self.members_in() {
            for point in members[at].pre.iter().filter(|point| point.phase == phase) {
                self.unless_cancelled()?;
                self.run_pre_hook(at, point);
                if !self.standings[at].is_in() {
                    break;
                }
            }
        }
        self.unless_cancelled()
    }

    fn run_pre_hook(&mut self, at: usize, point: &Point) {
        let context = self.context(Some(at), None);
        let id = self.members[at].id();
        match run_hook(&point.hook, &context, self.machine) {
            HookEnd::Done => {}
            HookEnd::SkipModule => {
                self.log(Severity::Notice, Some(id), "left out: its hook ended with status 75");
                self.standings[at].skip("its hook ended with status 75: skip this module");
            }
            HookEnd::Failed(why) if point.goes_on || planted(Bug::GoOnAfterHook) => {
                self.log(Severity::Error, Some(id), &format!("its hook failed: {why}"));
                self.standings[at].warn(format!("a hook failed: {why}"));
            }
            HookEnd::Failed(why) => {
                self.log(Severity::Error, Some(id), &format!("left out: its hook failed: {why}"));
                self.standings[at].fail(format!("a hook failed: {why}"));
            }
        }
    }
}
