//! `dedup backup` of modules: chooses them, runs, and says what became of each.

use super::BackupArgs;
use super::finish::Finish;
use super::job::JobRun;
use super::tell;
use super::wanted::Wanted;
use crate::context::Context;
use crate::declared;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::runs::{self, ModuleRun};
use crate::setup_state;
use dedup_engine::backup::{Parent, RunRequest};
use dedup_engine::error::Kind;
use dedup_engine::planted::{Bug, planted};
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Account, State};
use dedup_modules::backup::{Act, BackupJob, BackupOutcome, Paths, RunError, Step, dry_run, run};
use dedup_modules::catalog::Catalog;
use dedup_modules::files::FilesSource;
use dedup_modules::id::ModuleId;
use dedup_modules::job::after::After;
use dedup_modules::job::custom::CustomModule;
use dedup_modules::job::ends::Ends;
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::job::Modules;
use dedup_modules::manifest::paths::Variables;
use dedup_modules::manifest::programs::Severity;
use dedup_modules::manifest::services::Operation;
use dedup_modules::member::{Halt, Member, MemberError, halts};
use dedup_modules::selection::{Request, Selection, select};
use std::path::{Path, PathBuf};

/// What is asked for beside modules.
pub struct Beside<'a> {
    /// What the engine is asked for.
    pub request: RunRequest<'a>,
    /// What to compare with.
    pub parent: Parent,
    /// Plain paths, and how they were asked for.
    pub paths: Option<(&'a FilesSource, Vec<Vec<u8>>)>,
    /// Whether a path that was named is missing.
    pub missing: bool,
    /// What must not be stored.
    pub skip: Vec<PathBuf>,
    /// A directory for large sorts.
    pub scratch_dir: PathBuf,
}

/// The modules of a run.
pub struct Declared {
    catalog: Catalog,
    selection: Selection,
    wanted: Wanted,
    /// Whether everything that should be among them is.
    whole: bool,
}

impl Declared {
    /// Reads what is declared and chooses from it. With `custom`, a job's own paths, no module need take part.
    pub fn read(ctx: &Context, mut wanted: Wanted, custom: Option<&CustomModule>) -> Result<Self, Failure> {
        let catalog = declared::catalog(&wanted.dirs)?;
        declared::tell_faults(ctx, &catalog);
        if let Some(id) = custom.map(|custom| &custom.manifest.module.id)
            && let Some(entry) = catalog.get(id)
        {
            let message =
                format!("{} declares {id}, which the paths of the job are stored as", entry.file.display());
            return Err(Failure::refused(message).hint("give the module or the job another id"));
        }
        let named = wanted.modules != Modules::All;
        if !named && custom.is_none() && catalog.entries.is_empty() && catalog.faults.is_empty() {
            return Err(Failure::refused("nothing is named that could be backed up, and no module is declared").hint(
                "name files or directories: `dedup backup PATH…`; `dedup module discover` finds modules of this machine",
            ));
        }
        let mut whole = named || catalog.is_whole();
        for (entry, wrong) in catalog.unusable() {
            let message = format!("module {} cannot be used: {}", entry.id, declared::reason(wrong));
            if wanted.names(&entry.id) {
                return Err(Failure::refused(message).hint(wrong.hint().unwrap_or_default()));
            }
            if !named {
                ctx.output.warning(&message);
            }
        }
        let (candidates, unknown) = catalog.candidates(&mut |manifest| setup_state::ready(ctx, manifest));
        for (id, why) in unknown {
            if wanted.names(&id) {
                return Err(Failure::refused(format!("module {id} cannot be backed up: {why}")));
            }
            whole &= named;
            ctx.output.warning(&format!("module {id} is left out: {why}"));
        }
        if wanted.is_of_job {
            // What was typed may be misspelt; what a file has said for months may be gone, which must not end its backups.
            let (there, gone) =
                std::mem::take(&mut wanted.unselected).into_iter().partition(|id| catalog.find(id).is_some());
            wanted.unselected = there;
            let gone: Vec<ModuleId> = gone;
            for id in gone {
                ctx.output.warning(&format!("there is no module {id}, which is to be left out"));
            }
        }
        let request = Request {
            unselected: wanted.unselected.clone(),
            dependencies: wanted.dependencies,
            ..Request::backup(wanted.modules.clone())
        };
        let selection = select(&candidates, &request).map_err(|error| Failure::of(Kind::Refused, &error))?;
        for remark in &selection.remarks {
            ctx.output.warning(&remark.to_string());
        }
        for left in selection.left_out.iter().filter(|left| left.wanted) {
            ctx.output.warning(&format!("module {} is left out: {}", left.id, left.why));
            whole = false;
        }
        if selection.chosen.is_empty() && custom.is_none() {
            return Err(Failure::refused("no module takes part; see above")
                .hint("`dedup module list` tells the state of each"));
        }
        Ok(Self { catalog, selection, wanted, whole })
    }

    /// Runs the backup.
    pub fn backup(
        &self,
        ctx: &Context,
        args: &BackupArgs,
        repo: &Repository,
        beside: Beside<'_>,
        job: Option<&JobRun>,
    ) -> Result<Exit, Failure> {
        let refused = |error: &MemberError| Failure::of(Kind::Refused, error);
        let custom = job.and_then(|job| job.custom.as_ref());
        let chosen: Vec<(&Manifest, &[u8], Variables)> = self
            .selection
            .chosen
            .iter()
            .filter_map(|chosen| self.catalog.get(&chosen.id))
            .filter_map(|entry| Some((entry.what.as_ref().ok()?, &entry.text[..])))
            .chain(custom.map(|custom| (&custom.manifest, custom.text.as_bytes())))
            .map(|(manifest, text)| (manifest, text, ctx.config.paths.of(manifest)))
            .collect();
        let members = chosen
            .iter()
            .map(|(manifest, text, variables)| Member::new(manifest, text, variables, Operation::Backup))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| refused(&error))?;
        let halts = halts(&members, Operation::Backup).map_err(|error| refused(&error))?;
        if args.dry_run {
            return self.dry_run(ctx, args, repo, &beside, &members, &halts, job);
        }
        let log_of = job.map(|job| job.log_of.clone()).unwrap_or_default();
        let module_run = ModuleRun::begin_of(ctx, "backup", self.wanted.lock_wait, &log_of)?;
        let result = self.run(ctx, args, repo, &beside, &members, &halts, &module_run, job);
        module_run.expire(&ctx.output, &self.catalog);
        module_run.finish(&result);
        result
    }

    #[expect(clippy::too_many_arguments, reason = "what one run works with, borrowed from its caller")]
    fn run(
        &self,
        ctx: &Context,
        args: &BackupArgs,
        repo: &Repository,
        beside: &Beside<'_>,
        members: &[Member<'_>],
        halts: &[Halt],
        module_run: &ModuleRun<'_>,
        job: Option<&JobRun>,
    ) -> Result<Exit, Failure> {
        let machine = module_run.machine();
        let copies = declared::copies(&ctx.config)?;
        let mut undoing = module_run.undoing(&machine)?;
        let ends = job.map(|job| Ends::note(&job.hooks, machine.run, &mut undoing)).transpose()?;
        let run_job = self.job(ctx, repo, beside, (members, halts), copies.as_deref(), job);
        // Until the end: what comes after the snapshot is not cut short either.
        let _operation = ctx.operation();
        let outcome = run(&run_job, &machine, &mut undoing).map_err(failure);
        let mut after = After::default();
        let finish = Finish { ctx, repo, machine: &machine, job, host: &beside.request.host };
        let whole = self.whole && !beside.missing;
        let mut result = match &outcome {
            Ok(outcome) => finish.follow(outcome, exit(outcome, whole), whole, &mut after),
            Err(failure) => Err(failure.clone()),
        };
        if let Some(ends) = ends {
            finish.end(ends, &mut undoing, &mut result, &mut after);
        }
        runs::settle(ctx, undoing)?;
        if let Some(job) = job {
            for failed in job.tell(ctx, machine.run, Some(module_run.log_path()), &result) {
                machine.log.log(Severity::Warning, None, &failed);
                after.notes.push(failed);
                if planted(Bug::CountNotification) {
                    return Ok(Exit::Partial);
                }
            }
        }
        let outcome = outcome?;
        finish.record(&outcome.report, &after);
        for left in &outcome.left_undone {
            ctx.output.warning(left);
        }
        let exit = result?;
        if ctx.output.json {
            tell::json(ctx, args, &outcome, &after, job, exit)?;
        } else {
            tell::text(ctx, args, &outcome, &after)?;
        }
        Ok(exit)
    }

    /// Finds out what the backup would store and do; nothing is done.
    #[expect(clippy::too_many_arguments, reason = "what one run works with, borrowed from its caller")]
    fn dry_run(
        &self,
        ctx: &Context,
        args: &BackupArgs,
        repo: &Repository,
        beside: &Beside<'_>,
        members: &[Member<'_>],
        halts: &[Halt],
        job: Option<&JobRun>,
    ) -> Result<Exit, Failure> {
        let copies = declared::copies(&ctx.config)?;
        let run_job = self.job(ctx, repo, beside, (members, halts), copies.as_deref(), job);
        let outcome = {
            let _operation = ctx.operation();
            runs::dry(ctx, |machine| dry_run(&run_job, machine))?
        };
        ctx.progress.finish();
        let mut outcome = outcome.map_err(failure)?;
        let after = job.iter().flat_map(|job| &job.hooks.after);
        let step = |what: String| Step { act: Act::Run, module: None, what };
        outcome.plan.extend(after.map(|after| step(after.hook.line())));
        let exit = exit(&outcome, self.whole && !beside.missing);
        if ctx.output.json {
            tell::json(ctx, args, &outcome, &After::default(), job, exit)?;
        } else {
            tell::text(ctx, args, &outcome, &After::default())?;
        }
        Ok(exit)
    }

    fn job<'j>(
        &'j self,
        ctx: &'j Context,
        repo: &'j Repository,
        beside: &'j Beside<'j>,
        (members, halts): (&'j [Member<'j>], &'j [Halt]),
        copies: Option<&'j Path>,
        job: Option<&'j JobRun>,
    ) -> BackupJob<'j> {
        BackupJob {
            repo,
            request: &beside.request,
            parent: beside.parent,
            members,
            halts,
            left_out: &self.selection.left_out,
            paths: beside.paths.as_ref().map(|(source, asked)| Paths { source, asked: asked.clone() }),
            use_snapshot: self.wanted.use_snapshot,
            before: job.map_or(&[], |job| &job.hooks.before),
            allow_partial: self.wanted.allow_partial,
            copies,
            skip: &beside.skip,
            scratch_dir: &beside.scratch_dir,
            events: ctx.events(),
        }
    }
}

pub(super) fn failure(error: RunError) -> Failure {
    match error {
        RunError::Engine(error) => error.into(),
        error => Failure::of(error.kind(), &error),
    }
}

pub(super) fn exit(outcome: &BackupOutcome, whole: bool) -> Exit {
    let is_right = |account: &Account| account.state == State::Complete;
    let late = outcome.published_ends.iter().any(|hook| hook.why.is_some());
    let exit = if outcome.report.accounts.iter().all(is_right) { Exit::Complete } else { Exit::Partial };
    let gaps = if whole && !late && outcome.left_undone.is_empty() { Exit::Complete } else { Exit::Partial };
    exit.merge(gaps)
}
