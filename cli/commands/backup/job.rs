//! `dedup backup --job`: what a job file says, made the request of one run, and who is told of its end.

use super::BackupArgs;
use super::wanted::Wanted;
use crate::context::{Context, this_host};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::find_repo::{self, Place};
use crate::run_log::{self, LogOf};
use crate::state_dir::state_dir;
use crate::{jobs, runs};
use dedup_engine::error::Kind;
use dedup_engine::planted::{Bug, planted};
use dedup_engine::storage::local::LocalStorage;
use dedup_modules::job::custom::CustomModule;
use dedup_modules::job::notify::{self, News};
use dedup_modules::job::storages::{self, Storages};
use dedup_modules::job::{Hooks, JOB_VARIABLE, names};
use dedup_modules::machine::RUN_VARIABLE;
use dedup_modules::manifest::job::{Job, JobStorage};
use dedup_modules::runlog::{RunId, store};
use jiff::Zoned;
use jiff::civil::DateTime;
use std::cell::Cell;
use std::ffi::OsStr;
use std::path::Path;

/// A job, resolved on this machine, and its run.
pub struct JobRun {
    /// What its file says.
    pub job: Job,
    /// Its hooks.
    pub hooks: Hooks,
    /// Its own paths.
    pub custom: Option<CustomModule>,
    /// Whose run it is, for the log.
    pub log_of: LogOf,
    /// When it began, local time.
    pub begun: DateTime,
    /// Whether those who are to be told have been.
    told: Cell<bool>,
}

/// Runs a job.
pub fn run(ctx: &Context, args: &BackupArgs, wanted: &OsStr) -> Result<Exit, Failure> {
    let job = jobs::find(ctx, &args.modules.job_dirs, wanted)?;
    let run = JobRun::of(args, job)?;
    if let Some(owner) = run.log_of.owner {
        ctx.give_to(owner);
    }
    let result = run.choose_storages(ctx, args).and_then(|()| super::store(ctx, args, Some(&run)));
    // Whatever kept it from beginning is told as well.
    if !run.told.get() && !args.dry_run {
        for failed in run.tell(ctx, "", None, &result) {
            ctx.output.warning(&failed);
        }
    }
    result
}

/// Tells those whom a job names that the process of its run has died: they would hear nothing else of it.
pub fn died(
    ctx: &Context,
    args: &BackupArgs,
    wanted: &OsStr,
    run: &str,
    failure: Failure,
) -> Result<(), Failure> {
    let job = JobRun::of(args, jobs::find(ctx, &args.modules.job_dirs, wanted)?)?;
    let log = RunId::parse(run).ok().zip(state_dir().ok());
    let log = log.map(|(run, state_dir)| store::path_of(&run_log::dir(&state_dir), &run));
    if !args.dry_run {
        for failed in job.tell(ctx, run, log.as_deref(), &Err(failure)) {
            ctx.output.warning(&failed);
        }
    }
    Ok(())
}

impl JobRun {
    fn of(args: &BackupArgs, job: Job) -> Result<Self, Failure> {
        let hooks = Hooks::of(&job).map_err(|error| Failure::of(Kind::Refused, &error))?;
        let custom = CustomModule::of(&job).map_err(|problems| Failure::refused(problems.to_string()))?;
        let owner = job.owner.as_deref().map(owner).transpose()?;
        let log_of = LogOf { job: Some(job.id.clone()), owner, level: job.log_level };
        let begun = args.time.clone().unwrap_or_else(Zoned::now).datetime();
        Ok(Self { job, hooks, custom, log_of, begun, told: Cell::new(false) })
    }

    /// Returns which modules take part and how, and what the command line adds to that.
    pub fn wanted(&self, args: &BackupArgs) -> Wanted {
        let given = &args.modules;
        Wanted {
            modules: self.job.modules.clone(),
            unselected: [&self.job.unselected[..], &given.ignore].concat(),
            dependencies: self.job.dependencies && !given.no_dependencies,
            use_snapshot: given.fs_snapshot.unwrap_or(self.job.snapshot),
            lock_wait: given.lock_wait.or(self.job.lock_wait).unwrap_or_default(),
            allow_partial: self.job.allow_partial,
            is_of_job: true,
            dirs: given.dirs.clone(),
        }
    }

    /// Returns the labels of its snapshot.
    pub fn tags(&self) -> Vec<String> {
        names::tags(&self.job, self.begun)
    }

    /// Chooses the repository, unless the command line names one, and looks for the further storages that this build
    /// can look for (step 5).
    fn choose_storages(&self, ctx: &Context, args: &BackupArgs) -> Result<(), Failure> {
        if self.job.spool.is_some() {
            ctx.output.note("`spool` means nothing for a repository in a directory: nothing is uploaded");
        }
        if ctx.global.repo.is_none()
            && let Some(first) = Storages::of(&self.job).repository
        {
            let named_by = format!("the job {}", self.job.id);
            ctx.prefer(place_of(first, named_by)?);
        }
        for further in self.further(ctx)? {
            let Some(directory) = storages::directory(&further.address)
                .filter(|_| further.require && !planted(Bug::NeedNoStorage))
            else {
                continue;
            };
            if let Err(error) = LocalStorage::open(&directory) {
                if args.dry_run {
                    ctx.output.warning(&error.to_string());
                    continue;
                }
                let failure = Failure::from(error);
                let message = format!("the storage {} is required: {}", further.address, failure.message);
                let hint = "see that it is there, or write require = false: a copy is owed to it then";
                return Err(Failure { message, hint: Some(hint.into()), ..failure });
            }
        }
        Ok(())
    }

    /// Returns the storages that are not the repository of this run.
    pub fn further(&self, ctx: &Context) -> Result<Vec<&JobStorage>, Failure> {
        let place = ctx.place()?;
        let is_other =
            |storage: &&JobStorage| storages::directory(&storage.address).as_ref() != Some(&place.path);
        let all = Storages::of(&self.job);
        // Where the command line names another repository, that one stands for the job's own.
        Ok(all.further.into_iter().filter(is_other).collect())
    }

    /// Tells those who are to be told, once, and returns what failed.
    pub fn tell(
        &self,
        ctx: &Context,
        run: &str,
        log: Option<&Path>,
        result: &Result<Exit, Failure>,
    ) -> Vec<String> {
        self.told.set(true);
        let Some(told) = &self.job.notify else { return Vec::new() };
        let exit = result.as_ref().map_or_else(|failure| failure.exit, |exit| *exit);
        let complete = is_complete(exit);
        if !notify::is_due(told, complete) {
            return Vec::new();
        }
        ctx.output.detail("telling those whom the job names");
        let news = self.news(run, log, result);
        let failed = notify::deliver(told, &news, &runs::surroundings());
        failed.into_iter().map(|why| format!("a notification failed: {why}")).collect()
    }

    fn news(&self, run: &str, log: Option<&Path>, result: &Result<Exit, Failure>) -> News {
        let exit = result.as_ref().map_or_else(|failure| failure.exit, |exit| *exit);
        let (id, host, word) = (&self.job.id, this_host(), word(exit));
        let mut text = format!("The job {id} on {host} is {word} (status {}).\n", exit.code());
        let name = &self.job.name;
        if !name.is_empty() {
            text.push_str(&format!("Name: {name}\n"));
        }
        text.push_str(&format!("Begun: {}\n", self.begun.strftime("%Y-%m-%d %H:%M:%S")));
        if !run.is_empty() {
            text.push_str(&format!("Run: {run} (`dedup log {run}`)\n"));
        }
        if let Err(failure) = result {
            text.push_str(&format!("\n{}\n", failure.message));
            failure.causes.iter().for_each(|cause| text.push_str(&format!("because: {cause}\n")));
            failure.hint.iter().for_each(|hint| text.push_str(&format!("hint: {hint}\n")));
        }
        let state = if is_complete(exit) { "finish" } else { "fail" };
        let env = [
            (RUN_VARIABLE, run),
            (JOB_VARIABLE, id.as_str()),
            ("DEDUP_OPERATION", "backup"),
            ("DEDUP_STATE", state),
        ];
        News {
            subject: format!("dedup: job {id} on {host}: {word}"),
            text,
            log: log.map(notify::log_lines).unwrap_or_default(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }
}

/// Returns whether nothing is missing.
pub fn is_complete(exit: Exit) -> bool {
    matches!(exit, Exit::Complete | Exit::Notices)
}

/// Names an end on one word or two.
fn word(exit: Exit) -> &'static str {
    let meaning = exit.meaning();
    meaning.split([':', ';', ',']).next().unwrap_or(meaning)
}

fn place_of(storage: &JobStorage, named_by: String) -> Result<Place, Failure> {
    match storages::directory(&storage.address) {
        Some(directory) => find_repo::place(directory.as_os_str(), named_by),
        None => Err(Failure::refused(format!("{}: {} is no directory", named_by, storage.address))
            .hint("this version keeps repositories in directories only, named by their whole path; name another with -r")),
    }
}

/// Returns user and group of whoever is given the logs, and what is stored.
fn owner(name: &str) -> Result<(u32, u32), Failure> {
    let found = nix::unistd::User::from_name(name)
        .map_err(|error| Failure::io(format!("cannot ask for the user {name}"), &error.into()))?;
    let user =
        found.ok_or_else(|| Failure::refused(format!("[owner] of the job: there is no user {name}")))?;
    let me = nix::unistd::geteuid();
    if !me.is_root() && user.uid != me {
        return Err(Failure::refused(format!("[owner] of the job: only root may give files to {name}")));
    }
    Ok((user.uid.as_raw(), user.gid.as_raw()))
}
