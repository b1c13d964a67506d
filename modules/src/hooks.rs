//! Hooks: programs of a module or a job at named points of a run.
//!
//! What a hook prints goes to the log as notices, line by line; if it fails, the reason holds the last of what it wrote to
//! standard error. When hooks run, and what follows from their end, is the run's business.

use crate::child::{Channel, Ended, Program, run};
use crate::id::ModuleId;
use crate::machine::{Machine, RUN_VARIABLE};
use crate::manifest::Manifest;
use crate::manifest::hooks::{Hook, HookState, Where};
use crate::manifest::paths::{UnknownVariable, Variables};
use crate::manifest::programs::Severity;
use crate::manifest::services::Operation;
use crate::manifest::words::Words;
use crate::services::engine_of;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The status by which a hook before the work says: leave this module out.
pub const SKIP: i32 = 75;

/// The status that stands for a program that could not be started.
const NOT_STARTED: i64 = 127;
/// The signal that ends a program whose time is over.
const TERMINATED: i64 = 15;

/// Most lines of a hook that are kept.
const MAX_LINES: u32 = 2000;
const BEYOND: u32 = MAX_LINES + 1;

/// A hook with everything resolved; it can stand in an undo journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedHook {
    /// The words of the program, the shell included.
    argv: Vec<String>,
    /// The container it runs in, if not on this machine.
    container: Option<String>,
    /// The program itself, if it is a file of this machine that may be missing.
    may_be_missing: Option<PathBuf>,
    user: Option<String>,
    cwd: Option<PathBuf>,
    env: Vec<(String, String)>,
    timeout: Option<Duration>,
}

/// A hook of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobHook {
    /// The program.
    pub hook: ResolvedHook,
    /// Whether its failure is a warning only.
    pub goes_on: bool,
}

/// What a hook is told, in its environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookContext {
    /// The run.
    pub run: String,
    /// The module; none for hooks of a job.
    pub module: Option<ModuleId>,
    /// Whether the run is a restore; else a backup.
    pub is_restore: bool,
    /// Below which directory the data lie.
    pub root: PathBuf,
    /// How the work has ended: whether well; for hooks after it.
    pub ended_well: Option<bool>,
    /// The module's space.
    pub space: Option<String>,
}

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookEnd {
    /// Well.
    Done,
    /// By [`SKIP`].
    SkipModule,
    /// Not well; why.
    Failed(String),
}

/// Why a hook cannot be resolved.
#[derive(Debug, thiserror::Error)]
#[error("a hook: {0}")]
pub struct HookError(#[from] UnknownVariable);

impl ResolvedHook {
    /// Resolves a hook of a module.
    pub fn of(hook: &Hook, manifest: &Manifest, variables: &Variables) -> Result<Self, HookError> {
        let resolved = Self::of_job(hook, variables)?;
        let file = resolved.file(hook).filter(|file| {
            let is_optional = |item: &crate::manifest::items::Item<'_>| item.optional && item.path == *file;
            manifest.items(variables).is_ok_and(|items| items.iter().any(is_optional))
        });
        Ok(Self { may_be_missing: file, ..resolved })
    }

    /// Returns a program of a manifest as a hook that needs nothing but its arguments.
    pub fn plain(argv: &[String]) -> Self {
        let (container, may_be_missing, user, cwd) = (None, None, None, None);
        Self { argv: argv.to_vec(), container, may_be_missing, user, cwd, env: Vec::new(), timeout: None }
    }

    /// Resolves a hook of a job.
    pub fn of_job(hook: &Hook, variables: &Variables) -> Result<Self, HookError> {
        let cwd = hook.cwd.as_ref().map(|path| path.resolve(variables)).transpose()?;
        let container = match &hook.place {
            Where::Host => None,
            Where::Container(name) => Some(name.clone()),
        };
        let mut argv = Vec::new();
        if hook.shell {
            argv.extend(["/bin/sh".to_owned(), "-c".to_owned()]);
        }
        argv.extend(hook.run.iter().cloned());
        Ok(Self {
            argv,
            container,
            may_be_missing: None,
            user: hook.user.clone(),
            cwd,
            env: hook.env.clone(),
            timeout: hook.timeout,
        })
    }

    /// Adds a variable to its environment, which it cannot set itself.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the file of the program, if it is one of this machine.
    fn file(&self, hook: &Hook) -> Option<PathBuf> {
        let name = self.argv.first().filter(|name| name.contains('/') && !hook.shell)?;
        match (&hook.place, &self.cwd) {
            (Where::Container(_), _) => None,
            (Where::Host, Some(cwd)) => Some(clean(&cwd.join(name))),
            (Where::Host, None) => Some(clean(Path::new(name))),
        }
    }

    /// Returns the file of its program, for checks of who may write it; in a container it is none of this machine.
    pub fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    /// Returns its words, for people.
    pub fn line(&self) -> String {
        self.argv.join(" ")
    }

    /// Returns what is run: on this machine, or by the engine that has the container.
    fn runnable(&self, context: &HookContext, machine: &Machine<'_>) -> Result<Program, String> {
        let env: Vec<_> = self.env.iter().cloned().chain(context.env()).collect();
        let Some(container) = &self.container else {
            return Ok(Program {
                argv: self.argv.iter().map(Into::into).collect(),
                user: self.user.clone(),
                cwd: self.cwd.clone(),
                env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            });
        };
        let engine = engine_of(container, machine).map_err(|error| error.to_string())?;
        let mut argv: Vec<OsString> = vec![engine.into(), "exec".into()];
        for (name, value) in env {
            argv.extend(["--env".into(), format!("{name}={value}").into()]);
        }
        if let Some(user) = &self.user {
            argv.extend(["--user".into(), user.into()]);
        }
        if let Some(cwd) = &self.cwd {
            argv.extend(["--workdir".into(), cwd.into()]);
        }
        argv.push(container.into());
        argv.extend(self.argv.iter().map(Into::into));
        Ok(Program::new(argv))
    }
}

/// Takes the single dots out of a path: `/stack/./pre_backup.sh`.
fn clean(path: &Path) -> PathBuf {
    path.components().collect()
}

impl fmt::Display for ResolvedHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.argv.join(" "))
    }
}

impl HookContext {
    fn env(&self) -> Vec<(String, String)> {
        let operation = if self.is_restore { Operation::Restore } else { Operation::Backup };
        let state = self.ended_well.map(|well| if well { HookState::Finish } else { HookState::Fail });
        let known = [
            (RUN_VARIABLE, Some(self.run.clone())),
            ("DEDUP_MODULE", self.module.as_ref().map(ToString::to_string)),
            ("DEDUP_OPERATION", Some(operation.word().to_owned())),
            ("DEDUP_ROOT", Some(self.root.display().to_string())),
            ("DEDUP_STATE", state.map(|state| state.word().to_owned())),
            ("DEDUP_SPACE", self.space.clone()),
        ];
        known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// Runs a hook to its end; what it prints goes to the log.
pub fn run_hook(hook: &ResolvedHook, context: &HookContext, machine: &Machine<'_>) -> HookEnd {
    run_hook_status(hook, context, machine).0
}

/// As [`run_hook`]; returns the status too, or minus the signal that ended it, ours (SIGTERM) too if its time was over.
/// What cannot be started has 127, as shells have it.
pub fn run_hook_status(hook: &ResolvedHook, context: &HookContext, machine: &Machine<'_>) -> (HookEnd, i64) {
    let module = context.module.as_ref();
    if let Some(file) = &hook.may_be_missing
        && file.symlink_metadata().is_err()
    {
        machine.log.log(
            Severity::Info,
            module,
            &format!("there is no hook {}, which is optional", file.display()),
        );
        return (HookEnd::Done, 0);
    }
    let program = match hook.runnable(context, machine) {
        Ok(program) => program,
        Err(why) => return (HookEnd::Failed(why), NOT_STARTED),
    };
    machine.log.log(Severity::Debug, module, &format!("running the hook {hook}"));
    let mut lines = 0;
    let mut line = |_: Channel, text: &str| {
        lines += 1;
        match lines {
            ..=MAX_LINES => machine.log.log(Severity::Notice, module, text),
            BEYOND => machine.log.log(Severity::Notice, module, "… the hook says more than is kept"),
            _ => {}
        }
    };
    match run(&program, machine.around, hook.timeout, machine.cancelled, &mut line) {
        Ok(finished) if finished.is_success() => (HookEnd::Done, 0),
        Ok(finished) if finished.ended == Ended::Exit(SKIP) => (HookEnd::SkipModule, SKIP.into()),
        Ok(finished) => {
            let status = match finished.ended {
                Ended::Exit(status) => i64::from(status),
                Ended::Signal(signal) => -i64::from(signal),
                Ended::TimedOut(_) | Ended::Silent(_) | Ended::Cancelled => -TERMINATED,
            };
            let goes_on = hook.container.is_some() && !matches!(finished.ended, Ended::Exit(_));
            let inside = if goes_on { "; in its container it may go on" } else { "" };
            (HookEnd::Failed(format!("{}{inside}", finished.into_error(&program))), status)
        }
        Err(error) => (HookEnd::Failed(error.to_string()), NOT_STARTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::TestMachine;
    use std::fs;

    fn resolved(test: &TestMachine, hook: &str) -> ResolvedHook {
        let text = format!(
            "schema = 1\n[module]\nid = \"m\"\n[paths]\nHOME = \"{}\"\n[data]\nfiles = [\"${{HOME}}/opt.sh\"]\n\
             optional = [\"${{HOME}}/*.sh\"]\n[hooks]\nbackup_pre = {hook}\n",
            test.path("").display()
        );
        let manifest =
            Manifest::parse("test", text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
        let hook = ResolvedHook::of(&manifest.hooks.backup_pre[0], &manifest, &manifest.paths).unwrap();
        assert_eq!(
            serde_json::from_str::<ResolvedHook>(&serde_json::to_string(&hook).unwrap()).unwrap(),
            hook
        );
        hook
    }

    fn context() -> HookContext {
        HookContext {
            run: "r7".into(),
            module: Some(ModuleId::parse("m").unwrap()),
            is_restore: false,
            root: "/snap".into(),
            ended_well: Some(false),
            space: None,
        }
    }

    fn run_it(test: &TestMachine, hook: &str) -> HookEnd {
        test.with(|machine| run_hook(&resolved(test, hook), &context(), machine))
    }

    #[test]
    fn a_hook_knows_its_run_and_speaks_to_the_log() {
        let test = TestMachine::new();
        test.script("say.sh", "env | grep -v -e PWD -e PATH -e SHLVL -e _= | sort; pwd; echo bad >&2");
        let hook = "{ run = [\"./say.sh\"], cwd = \"${HOME}\", env = { OWN = \"1\" } }";
        assert_eq!(run_it(&test, hook), HookEnd::Done);
        let told: Vec<_> = test.told().into_iter().filter(|(level, _)| *level == Severity::Notice).collect();
        let mut said: Vec<_> = told.iter().map(|(_, text)| text.as_str()).collect();
        said.retain(|line| *line != "m: bad");
        let home = format!("m: {}", test.path("").display().to_string().trim_end_matches('/'));
        assert_eq!(
            said,
            [
                "m: DEDUP_MODULE=m",
                "m: DEDUP_OPERATION=backup",
                "m: DEDUP_ROOT=/snap",
                "m: DEDUP_RUN=r7",
                "m: DEDUP_STATE=fail",
                "m: OWN=1",
                &home
            ]
        );
        assert_eq!(told.len(), said.len() + 1);
    }

    #[test]
    fn ends_of_hooks_are_told_apart() {
        let test = TestMachine::new();
        let end =
            |text: &str| run_it(&test, &format!("{{ run = [{text:?}], shell = true, timeout = \"1s\" }}"));
        assert_eq!(end("exit 75"), HookEnd::SkipModule);
        let failed = |end| match end {
            HookEnd::Failed(why) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(failed(end("echo why >&2; exit 3")), "/bin/sh failed with status 3: why");
        assert!(failed(end("sleep 60")).contains("longer than 1s"));
        assert!(failed(end("no-such-program-here")).contains("status 127"));
        assert!(failed(run_it(&test, "{ run = [\"no-such-program-here\"] }")).contains("in PATH"));
        assert_eq!(end("yes | head -n 5000"), HookEnd::Done);
        assert_eq!(test.told().iter().filter(|(_, text)| text == "m: y").count(), MAX_LINES as usize);
    }

    #[test]
    fn a_script_that_may_be_missing_is_not_run() {
        let test = TestMachine::new();
        let optional = "{ run = [\"./opt.sh\"], cwd = \"${HOME}\" }";
        assert_eq!(run_it(&test, optional), HookEnd::Done);
        assert!(matches!(run_it(&test, "{ run = [\"./must\"], cwd = \"${HOME}\" }"), HookEnd::Failed(_)));
        test.script("opt.sh", "exit 4");
        assert!(matches!(run_it(&test, optional), HookEnd::Failed(_)), "once it is there it counts");
        fs::remove_file(test.path("opt.sh")).unwrap();
    }

    #[test]
    fn in_a_container_the_engine_runs_it() {
        let test = TestMachine::new();
        let inspect =
            r#"test "$2" = inspect && { echo '[{"Name":"/app","State":{"Status":"running"}}]'; exit; }"#;
        test.script("bin/docker", &format!("{inspect}\nfor word; do echo \"<$word>\"; done"));
        let hook = "{ run = [\"sync now\"], shell = true, where = { container = \"app\" }, user = \"web\", cwd = \"/srv\" }";
        assert_eq!(run_it(&test, hook), HookEnd::Done);
        let said: String = test
            .told()
            .into_iter()
            .filter(|(_, text)| text.starts_with("m: <"))
            .map(|(_, text)| text[3..].to_owned())
            .collect();
        assert!(said.starts_with("<exec><--env><DEDUP_RUN=r7><--env>"), "{said}");
        assert!(said.ends_with("<--user><web><--workdir></srv><app></bin/sh><-c><sync now>"), "{said}");
        let other = hook.replace("\"app\"", "\"ap\"");
        assert!(matches!(run_it(&test, &other), HookEnd::Failed(why) if why.contains("no service ap")));
    }
}
