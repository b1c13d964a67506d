//! Hooks at the end of a job's run: due from its begin on, also if this process dies.

use super::Hooks;
use crate::conduct::HookEnded;
use crate::hooks::{HookContext, HookEnd, JobHook, run_hook_status};
use crate::machine::Machine;
use crate::manifest::programs::Severity;
use crate::undo::{JournalError, Ticket, Undo, Undoing};

/// A hook that is due.
struct Due {
    hook: JobHook,
    /// Whether it is for runs that ended badly only.
    is_error: bool,
    ticket: Ticket,
}

/// The hooks at the end of one run.
pub struct Ends {
    /// In the order in which they run.
    due: Vec<Due>,
}

/// A hook that ran at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndHook {
    /// How it ended.
    pub ended: HookEnded,
    /// Whether its failure makes the run partial: `on_error = "fail"`.
    pub weighs: bool,
}

impl Ends {
    /// Makes them due: noted before anything of the run is done, so that they come last whoever undoes it.
    pub fn note(hooks: &Hooks, run: &str, undoing: &mut Undoing<'_>) -> Result<Self, JournalError> {
        let in_order = hooks.error.iter().map(|hook| (hook, true));
        let in_order: Vec<_> = in_order.chain(hooks.after.iter().map(|hook| (hook, false))).collect();
        let mut due = Vec::new();
        // The list is carried out from its end: so the first hook is noted last.
        for (hook, is_error) in in_order.into_iter().rev() {
            let context = context(run, false);
            let ticket = undoing.note(Undo::Hook { hook: hook.hook.clone(), context })?;
            due.push(Due { hook: hook.clone(), is_error, ticket });
        }
        due.reverse();
        Ok(Self { due })
    }

    /// Runs those that are due after such an end, also in a run that is cancelled, each whatever becomes of the others.
    pub fn run(self, well: bool, machine: &Machine<'_>, undoing: &mut Undoing<'_>) -> Vec<EndHook> {
        let machine = Machine { cancelled: &|| false, ..*machine };
        let mut ended = Vec::new();
        for Due { hook: JobHook { hook, goes_on }, is_error, ticket } in self.due {
            if !(well && is_error) {
                let (end, status) = run_hook_status(&hook, &context(machine.run, well), &machine);
                let why = match end {
                    HookEnd::Done => None,
                    HookEnd::SkipModule => {
                        Some("it ended with status 75, which only hooks of modules may".into())
                    }
                    HookEnd::Failed(why) => Some(why),
                };
                if let Some(why) = &why {
                    machine.log.log(
                        Severity::Warning,
                        None,
                        &format!("a hook at the end of the job failed: {why}"),
                    );
                }
                let point = if is_error { "error" } else { "after" };
                let name = format!("{point}: {}", hook.program());
                let weighs = why.is_some() && !goes_on;
                ended.push(EndHook { ended: HookEnded { name, status, why }, weighs });
            }
            if let Err(error) = undoing.settle(ticket) {
                machine.log.log(Severity::Warning, None, &error.to_string());
            }
        }
        ended
    }
}

fn context(run: &str, well: bool) -> HookContext {
    HookContext {
        run: run.to_owned(),
        module: None,
        is_restore: false,
        root: "/".into(),
        ended_well: Some(well),
        space: None,
    }
}
