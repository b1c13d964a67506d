//! The commands: one file each, with its arguments and its run.

mod backup;
mod check;
mod check_log;
mod check_source;
mod completions;
mod copy;
mod diff;
mod diff_records;
mod dump;
mod export;
mod find;
mod forget;
mod history;
mod import;
mod init;
mod job;
mod key;
mod key_paper;
mod key_rotate;
mod log;
mod ls;
mod ls_parts;
mod man;
mod module;
mod module_helper;
mod parity;
mod prune;
mod records;
mod recover;
mod repair;
mod restore;
mod restore_modules;
mod restore_only;
mod restore_plan;
mod restore_target;
mod restore_tell;
mod restore_whole;
mod rewrite;
mod snapshots;
mod space;
mod space_back;
mod space_module;
mod stats;
mod witness;

use crate::args::Global;
use crate::context::{Context, this_host};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::section::{SectionChoice, left_out};
use crate::select::{self, Chosen, Filter, Wanted};
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::{Body, Node};
use dedup_engine::map::Root;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Account, Snapshot, State};
use jiff::Zoned;
use snapshots::state_word;
use std::collections::BTreeMap;

/// What to do.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    Init(init::InitArgs),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    Recover(recover::RecoverArgs),
    Snapshots(snapshots::SnapshotsArgs),
    Ls(ls::LsArgs),
    Find(find::FindArgs),
    Diff(diff::DiffArgs),
    History(history::HistoryArgs),
    Dump(dump::DumpArgs),
    Stats(stats::StatsArgs),
    Check(check::CheckArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Copy(copy::CopyArgs),
    Rewrite(rewrite::RewriteArgs),
    Forget(Box<forget::ForgetArgs>),
    Prune(prune::PruneArgs),
    Repair(repair::RepairArgs),
    Parity(parity::ParityArgs),
    Key(key::KeyArgs),
    Module(module::ModuleArgs),
    Job(job::JobArgs),
    ModuleHelper(module_helper::HelperArgs),
    Log(log::LogArgs),
    Witness(witness::WitnessArgs),
    Space(space::SpaceArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Command {
    /// Returns whether the JSON of the command is a stream of objects; else it is one document.
    pub fn streams(&self) -> bool {
        matches!(self, Self::Backup(_) | Self::Restore(_) | Self::Check(_) | Self::Repair(_))
    }

    /// Returns whether it does nothing but print, so that it may stop when nobody reads any more.
    pub fn only_shows(&self) -> bool {
        matches!(
            self,
            Self::Ls(_)
                | Self::Find(_)
                | Self::Diff(_)
                | Self::Dump(_)
                | Self::Log(_)
                | Self::Completions(_)
                | Self::Man(_)
        )
    }

    /// Returns whether what it stops, locks or replaces must be brought back even if its process is killed.
    pub fn wants_guard(&self) -> bool {
        match self {
            Self::Backup(args) => args.wants_guard(),
            Self::Restore(args) => args.wants_guard(),
            Self::Space(args) => args.wants_guard(),
            _ => false,
        }
    }

    /// Tells those who are to be told that the process of a guarded run has died.
    pub fn died(&self, global: &Global, output: Output, run: &str, how: &str) {
        if let Self::Backup(args) = self
            && let Err(failure) = Context::new(global.clone(), output)
                .and_then(|ctx| backup::died(&ctx, args, run, Failure::new(Kind::Internal, how)))
        {
            output.failure(&failure);
        }
    }

    /// Runs the command.
    pub fn run(&self, ctx: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Init(args) => init::run(ctx, args),
            Self::Backup(args) => backup::run(ctx, args),
            Self::Restore(args) => restore::run(ctx, args),
            Self::Recover(args) => recover::run(ctx, args),
            Self::Snapshots(args) => snapshots::run(ctx, args),
            Self::Ls(args) => ls::run(ctx, args),
            Self::Find(args) => find::run(ctx, args),
            Self::Diff(args) => diff::run(ctx, args),
            Self::History(args) => history::run(ctx, args),
            Self::Dump(args) => dump::run(ctx, args),
            Self::Stats(args) => stats::run(ctx, args),
            Self::Check(args) => check::run(ctx, args),
            Self::Export(args) => export::run(ctx, args),
            Self::Import(args) => import::run(ctx, args),
            Self::Copy(args) => copy::run(ctx, args),
            Self::Rewrite(args) => rewrite::run(ctx, args),
            Self::Forget(args) => forget::run(ctx, args),
            Self::Prune(args) => prune::run(ctx, args),
            Self::Repair(args) => repair::run(ctx, args),
            Self::Parity(args) => parity::run(ctx, args),
            Self::Key(args) => key::run(ctx, args),
            Self::Module(args) => module::run(ctx, args),
            Self::Job(args) => job::run(ctx, args),
            Self::ModuleHelper(args) => module_helper::run(ctx, args),
            Self::Log(args) => log::run(ctx, args),
            Self::Witness(args) => witness::run(ctx, args),
            Self::Space(args) => space::run(ctx, args),
            Self::Completions(args) => completions::run(ctx, args),
            Self::Man(args) => man::run(ctx, args),
        }
    }
}

/// Returns every snapshot that can be read, and warns of the others, which decide the exit status.
fn all_snapshots(ctx: &Context, repo: &Repository) -> Result<(Vec<(ObjectId, Snapshot)>, Exit), Failure> {
    let (snapshots, faults) = repo.catalog()?;
    for (id, fault) in &faults {
        ctx.output.warning(&format!("snapshot {} cannot be read: {fault}", id.short()));
    }
    let exit = faults.iter().map(|(_, fault)| Exit::from(fault.kind())).fold(Exit::Complete, Exit::merge);
    Ok((snapshots, exit))
}

/// Snapshots named at most that `latest` passed over.
const PASSED_OVER: usize = 3;

/// Chooses a snapshot, and says so if `latest` passed over newer ones.
fn choose(ctx: &Context, repo: &Repository, wanted: &Wanted, filter: &Filter) -> Result<Chosen, Failure> {
    let (snapshots, mut faults) = repo.catalog()?;
    // Damage of one snapshot must not bar the others; but who wants the latest may mean the damaged one.
    let is_wanted = |id: &ObjectId| match wanted {
        Wanted::Prefix(prefix) => id.to_hex().starts_with(prefix),
        Wanted::Latest | Wanted::LatestAny => true,
    };
    if let Some(place) = faults.iter().position(|(id, _)| is_wanted(id)) {
        let failure = Failure::from(faults.swap_remove(place).1);
        return Err(failure.hint("`dedup snapshots` lists those that can be read: name one by its id"));
    }
    let suspects = match wanted {
        Wanted::Latest => repo.suspects(&snapshots)?,
        Wanted::LatestAny | Wanted::Prefix(_) => BTreeMap::new(),
    };
    let chosen = select::choose(snapshots, &suspects, wanted, filter, &this_host(), &Zoned::now())?;
    for (newer, doubt) in chosen.passed_over.iter().take(PASSED_OVER) {
        ctx.output.note(&format!(
            "{} is newer but {doubt}; {} is taken instead (`latest-any` takes the newest as it is)",
            newer.short(),
            chosen.id.short()
        ));
    }
    if chosen.passed_over.len() > PASSED_OVER {
        let more = chosen.passed_over.len() - PASSED_OVER;
        ctx.output.note(&format!(
            "{} are newer and not taken either",
            human::counted(more as u64, "more snapshot", "more snapshots")
        ));
    }
    Ok(chosen)
}

/// Warns of modules that did not get whole into a snapshot: no restore brings back what it lacks.
fn tell_gaps(ctx: &Context, chosen: &Chosen, filter: &Filter) {
    let asked: Vec<&String> = filter.module.iter().chain(&filter.also).collect();
    let is_asked = |account: &&Account| asked.is_empty() || asked.contains(&&account.module);
    for Account { module, state, reason, .. } in chosen.snapshot.accounts.iter().filter(is_asked) {
        if matches!(state, State::Warned | State::Partial) {
            let (id, state) = (chosen.id.short(), state_word(*state));
            ctx.output.warning(&format!(
                "snapshot {id} does not have all of {module} ({state}): {reason}; `dedup ls {id} --parts` tells more"
            ));
        }
    }
}

/// Returns the listing that a path of the snapshot is looked up in.
fn listing<'a>(
    ctx: &Context,
    snapshot: &'a Snapshot,
    filter: &Filter,
    section: SectionChoice,
) -> Result<&'a Root, Failure> {
    let account = select::account(snapshot, filter.module.as_deref())?;
    let root = section.listing(account)?;
    if let Some(note) = left_out(account, root, section) {
        ctx.output.note(&note);
    }
    Ok(root)
}

/// Names the kind of an entry for programs.
fn kind_word(node: &Node) -> &'static str {
    match node.body {
        Body::File { .. } => "file",
        Body::Directory => "directory",
        Body::Symlink(_) => "symlink",
        Body::Fifo => "fifo",
        Body::Socket => "socket",
        Body::CharDevice { .. } => "char_device",
        Body::BlockDevice { .. } => "block_device",
    }
}
