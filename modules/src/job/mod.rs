//! Jobs: what a run of modules does beside its modules, and what follows it.
//!
//! ```text
//! custom.rs     paths of the job's own: a module that nobody declares (step 10)
//! storages.rs   which of its storages is the repository, and which get copies (steps 5, 14)
//! names.rs      the labels under which its snapshots are found again (steps 13, 14)
//! retention.rs  what may be removed after a run, and whether anything may (step 16)
//! ends.rs       hooks at the end (step 18)
//! after.rs      what is said of a run after it was published: its record
//! notify.rs     who is told, and how (step 18)
//! ```
//!
//! The steps are those of `backup`; the program puts them together, since it has the clock, the repository and the person.

pub mod after;
pub mod custom;
pub mod ends;
pub mod names;
pub mod notify;
pub mod retention;
pub mod storages;

use crate::hooks::{HookError, JobHook, ResolvedHook};
use crate::manifest::drivers::OnError;
use crate::manifest::hooks::Hook;
use crate::manifest::job::Job;
use crate::manifest::paths::Variables;

/// The variable by which hooks of a job know it.
pub const JOB_VARIABLE: &str = "DEDUP_JOB";

/// The hooks of a job, resolved.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// Before anything is done.
    pub before: Vec<JobHook>,
    /// At the end of a run that is not complete, before the others.
    pub error: Vec<JobHook>,
    /// At the end of every run.
    pub after: Vec<JobHook>,
}

impl Hooks {
    /// Resolves them.
    pub fn of(job: &Job) -> Result<Self, HookError> {
        let resolve = |hooks: &[Hook]| -> Result<Vec<JobHook>, HookError> {
            let one = |hook: &Hook| {
                // Job files have no path variables.
                let resolved = ResolvedHook::of_job(hook, &Variables::default())?;
                let hook_of_job = resolved.with_env(JOB_VARIABLE, job.id.as_str());
                Ok(JobHook { hook: hook_of_job, goes_on: hook.on_error == OnError::Continue })
            };
            hooks.iter().map(one).collect()
        };
        Ok(Self {
            before: resolve(&job.hooks.before)?,
            error: resolve(&job.hooks.error)?,
            after: resolve(&job.hooks.after)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the job `night` with `more` in its file.
    pub(super) fn test_job(more: &str) -> Job {
        let text = format!("schema = 1\n[job]\nid = \"night\"\n{more}");
        Job::parse("night.toml", text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn before_fails_a_run_and_after_warns_unless_they_say_otherwise() {
        let job = test_job(
            "[hooks]\nbefore = [{ run = [\"b\"] }, { run = [\"c\"], on_error = \"continue\" }]\n\
             after = [{ run = [\"a\"] }, { run = [\"x\"], on_error = \"fail\" }]\nerror = { run = [\"e\"] }\n",
        );
        let hooks = Hooks::of(&job).unwrap();
        let goes_on = |hooks: &[JobHook]| hooks.iter().map(|hook| hook.goes_on).collect::<Vec<_>>();
        assert_eq!(goes_on(&hooks.before), [false, true]);
        assert_eq!((goes_on(&hooks.after), goes_on(&hooks.error)), (vec![true, false], vec![true]));
    }
}
