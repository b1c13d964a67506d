//! `dedup restore`: writes the files of a snapshot, below a directory or where they came from.

use super::records::spec;
use super::restore_only::RowConflict;
use super::restore_tell::{show_plan, summary};
use super::{choose, listing, restore_modules, restore_only, restore_target, restore_whole, tell_gaps};
use crate::context::Context;
use crate::declared::ModuleDirs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::patterns::Patterns;
use crate::section::SectionChoice;
use crate::select::{self, Chosen, Filter, Selection};
use crate::{escape, problems, sizes};
use dedup_engine::browse;
use dedup_engine::error::Kind;
use dedup_engine::listing::{Node, StoredPath};
use dedup_engine::map::Root;
use dedup_engine::repo::Repository;
use dedup_engine::restore::sink::SinkError;
use dedup_engine::restore::{self, RestorePlan, RestoreReport, RestoreRequest};
use dedup_engine::snapshot::Account;
use dedup_modules::files::{FilesSink, OwnerChoice, SinkOptions, XattrChoice};
use dedup_modules::id::ModuleId;
use dedup_modules::records::RecordSpec;
use jiff::Span;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Restore files from a snapshot
///
/// With --target, everything goes below that directory and nothing else is touched: files keep their whole
/// path below it, and SNAPSHOT:PATH leaves PATH off. Without, files go back to where they came from, after
/// a plan and a question. Files that are right already are left as they are; nothing is deleted.
///
/// Modules go back whole: everything is verified before anything is touched, their services stand still meanwhile, and
/// what is replaced is put back if a module fails. With --target nothing of them is stopped or run: the files of a module
/// and the dumps of its sources are written to DIR/MODULE.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup restore latest --target /tmp/restored
  dedup restore 1a2b3c4d:/home/ann/Documents --target ~/old-documents
  dedup restore latest --target out --include '*.odt' --exclude '/home/*/.cache'
  dedup restore latest:/etc/nginx --dry-run      shows the plan for /etc/nginx itself
  dedup restore latest -m wordpress              the module, back to where it was
  dedup restore latest -m wiki -m shop --target out
  dedup restore latest --full --into-subvolume /mnt/@
  dedup restore latest -m wiki --only source:db:pages[17]     one row")]
pub struct RestoreArgs {
    /// The snapshot: first digits of its id, latest or latest-any; and perhaps a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    snapshot: OsString,
    /// Write below this directory; it is made if it is not there
    #[arg(long, short, value_name = "DIR")]
    pub(super) target: Option<PathBuf>,
    /// The whole system, of a snapshot made by `dedup backup --full`
    #[arg(long, requires = "into_subvolume", conflicts_with_all = ["target", "include", "exclude", "section", "module"])]
    full: bool,
    /// Restore into an empty subvolume, which then takes the place of this one
    ///
    /// Whatever was written to it since the backup is not in the new one. The old one stays beside it as NAME.before-RUN.
    #[arg(long, requires = "full", value_name = "PATH")]
    into_subvolume: Option<PathBuf>,
    /// Only what matches, in the manner of .gitignore, and all below it (repeatable)
    #[arg(long, short, value_name = "PATTERN")]
    include: Vec<String>,
    /// Leave out what matches, in the manner of .gitignore (repeatable)
    #[arg(long, short, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Only show the plan
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Take owners by their numbers even if their names are known here
    #[arg(long)]
    numeric_owner: bool,
    /// Leave everything to the user who runs this
    #[arg(long, conflicts_with = "numeric_owner")]
    no_owner: bool,
    /// Which extended attributes to set: with `user`, only user.* and access control lists
    #[arg(long, value_name = "WHICH", default_value = "all", value_parser = ["all", "user", "none"])]
    xattrs: String,
    /// Make no device nodes; only root can
    #[arg(long)]
    no_devices: bool,
    /// Only this table, or these rows of it, put beside what is there: `source:NAME:TABLE[KEY]` (repeatable)
    #[arg(long, value_name = "SPEC", value_parser = spec)]
    pub only: Vec<RecordSpec>,
    /// With --only: what to do with rows that are there already
    #[arg(long, value_name = "WHAT", default_value = "replace", requires = "only")]
    pub on_conflict: RowConflict,
    #[command(flatten)]
    pub section: SectionChoice,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub modules: ModuleRestore,
}

/// Which snapshot is meant, and which of its modules.
#[derive(clap::Args, Debug)]
pub struct Which {
    /// Only snapshots of this host (repeatable)
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Only snapshots with this tag (repeatable: with all of them)
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only this module (repeatable), of a snapshot that has it
    #[arg(long, short, value_name = "NAME")]
    pub module: Vec<String>,
    /// Only snapshots that are not older than this, such as 12h, 7d or 6mo
    #[arg(long, value_name = "TIME", value_parser = sizes::span)]
    within: Option<Span>,
}

impl Which {
    pub fn filter(&self) -> Filter {
        let mut modules = self.module.iter().cloned();
        let (host, tag, within) = (self.host.clone(), self.tag.clone(), self.within);
        Filter { host, tag, module: modules.next(), within, also: modules.collect() }
    }
}

/// Arguments about modules.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Modules")]
pub struct ModuleRestore {
    /// Leave this module as it is (repeatable)
    #[arg(long, value_name = "MODULE")]
    pub ignore: Vec<ModuleId>,
    /// Restore what the module requires as well
    #[arg(long)]
    pub with_dependencies: bool,
    /// Restore the other modules if the data of one cannot be read
    #[arg(long)]
    pub allow_partial: bool,
    /// Roll a module back if something of it was stored and nothing here takes it
    #[arg(long)]
    pub strict: bool,
    /// Set nothing up before
    #[arg(long)]
    pub no_setup: bool,
    /// Keep nothing of what is replaced: needs less room, but a module that fails stays as it is then
    #[arg(long)]
    pub no_safety: bool,
    #[command(flatten)]
    pub dirs: ModuleDirs,
}

impl RestoreArgs {
    /// Returns whether everything goes back to where it came from, and is not narrowed to some files.
    pub fn is_in_place(&self) -> bool {
        self.target.is_none() && self.is_whole()
    }

    /// Returns whether it is about whole modules, and not only some files of one.
    pub fn is_whole(&self) -> bool {
        let whole = !self.snapshot.as_encoded_bytes().contains(&b':');
        whole && self.include.is_empty() && self.exclude.is_empty() && self.section.section.is_none()
    }

    /// Returns whether something may be replaced where it is.
    pub fn wants_guard(&self) -> bool {
        self.is_in_place() && !self.dry_run
    }
}

pub fn run(ctx: &Context, args: &RestoreArgs) -> Result<Exit, Failure> {
    let selection = Selection::parse(&args.snapshot)?;
    let patterns = Patterns::new(&args.include, &args.exclude)?;
    let asks = args.target.is_none() && !args.dry_run;
    if asks {
        ctx.can_confirm()?;
    }
    let repo = ctx.open_indexed()?;
    let filter = args.which.filter();
    let chosen = choose(ctx, &repo, &selection.wanted, &filter)?;
    tell_gaps(ctx, &chosen, &filter);
    if let Some(subvolume) = &args.into_subvolume {
        return restore_whole::run(ctx, args, &repo, &chosen, subvolume);
    }
    if !args.only.is_empty() {
        return restore_only::run(ctx, args, &repo, &chosen);
    }
    if restore_modules::is_meant(args, &chosen) {
        return match &args.target {
            Some(target) => restore_target::run(ctx, args, &repo, &chosen, target),
            None => restore_modules::run(ctx, args, &repo, &chosen),
        };
    }
    if !filter.also.is_empty() {
        return Err(Failure::refused("single files are restored of one module at a time"));
    }
    let root = listing(ctx, &chosen.snapshot, &filter, args.section)?;
    let base = selection.path.unwrap_or_default();
    let options = sink_options(args, strip(&repo, root, &base, &chosen)?);
    let account = select::account(&chosen.snapshot, filter.module.as_deref())?;
    let above = if args.target.is_none() { above_sources(account) } else { Vec::new() };
    let select = |path: &StoredPath, node: &Node| patterns.select(path, node) && !above.contains(path);
    let request = RestoreRequest { base: base.clone(), select: &select, threads: ctx.threads() };

    if asks || args.dry_run {
        let plan = restore::plan(&repo, root, &request, ctx.events())?;
        ctx.progress.finish();
        if plan.entries == 0 {
            return Err(nothing_fits(&chosen));
        }
        show_plan(ctx, args, &chosen, &base, &plan)?;
        if args.dry_run {
            let RestorePlan { entries, files, bytes, .. } = plan;
            let report = RestoreReport { entries, files, bytes, ..RestoreReport::default() };
            if ctx.output.json {
                summary(ctx, args, &chosen, &report, Exit::Complete)?;
            }
            return Ok(Exit::Complete);
        }
        if !ctx.confirm("Restore these files to where they came from?")? {
            return Err(Failure::refused("nothing was restored: the answer was no"));
        }
    }
    let target = args.target.as_deref().unwrap_or(Path::new("/"));
    let sink = FilesSink::new(target, options).map_err(|error| cannot_use(target, &error))?;
    let report = {
        let _operation = ctx.operation();
        restore::run(&repo, root, &sink, &request, ctx.events())?
    };
    let synced = sink.sync();
    ctx.progress.finish();
    problems::list(ctx.output, "not restored, or not as they were", &report.problems, report.problems_total);
    synced.map_err(|error| cannot_use(target, &error))?;
    if report.entries == 0 {
        return Err(nothing_fits(&chosen));
    }
    let exit = exit(&report);
    summary(ctx, args, &chosen, &report, exit)?;
    Ok(exit)
}

pub(super) fn exit(report: &RestoreReport) -> Exit {
    match (report.damaged, report.problems_total) {
        (0, 0) => Exit::Complete,
        (0, _) => Exit::Partial,
        _ => Exit::Integrity,
    }
}

pub(super) fn sink_options(args: &RestoreArgs, strip: StoredPath) -> SinkOptions {
    SinkOptions {
        strip: if args.target.is_some() { strip } else { StoredPath::root() },
        owner: if args.no_owner { OwnerChoice::Keep } else { OwnerChoice::Restore },
        numeric_owner: args.numeric_owner,
        xattrs: match &args.xattrs[..] {
            "none" => XattrChoice::None,
            "user" => XattrChoice::UserOnly,
            _ => XattrChoice::All,
        },
        devices: !args.no_devices,
        ..SinkOptions::default()
    }
}

/// Returns the directories above what was backed up that are there: on the way, but nobody asked for them to
/// be set back, and often nobody but root may.
pub(super) fn above_sources(account: &Account) -> Vec<StoredPath> {
    let sources: Vec<_> =
        account.sources.iter().filter_map(|source| StoredPath::from_slashes(source)).collect();
    let mut above: Vec<_> = sources
        .iter()
        .flat_map(|source| std::iter::successors(source.parent(), StoredPath::parent))
        .collect();
    above.sort();
    above.dedup();
    above.retain(|path| {
        let place = Path::new("/").join(OsStr::from_bytes(&path.to_slashes()));
        // A source within another one is asked for all the same.
        !sources.iter().any(|source| path.is_within(source)) && place.is_dir()
    });
    above
}

/// Returns the directory whose path is left off below a target: the path that was typed, or, if that is no
/// directory, the one that holds it.
fn strip(repo: &Repository, root: &Root, base: &StoredPath, chosen: &Chosen) -> Result<StoredPath, Failure> {
    if *base == StoredPath::root() {
        return Ok(StoredPath::root());
    }
    match browse::find_entry(repo, root, base)? {
        Some(node) if node.is_directory() => Ok(base.clone()),
        Some(_) => Ok(base.parent().unwrap_or_default()),
        None => Err(not_there(base, chosen)),
    }
}

/// Says that a snapshot has no such path.
pub fn not_there(path: &StoredPath, chosen: &Chosen) -> Failure {
    let (path, id) = (escape::name(&path.to_slashes()), chosen.id.short());
    Failure::new(Kind::Missing, format!("/{path} is not in snapshot {id}"))
        .hint(format!("`dedup ls {id}` lists what is in it"))
}

/// Says that the patterns let nothing through: a restore of nothing is none.
fn nothing_fits(chosen: &Chosen) -> Failure {
    let id = chosen.id.short();
    Failure::new(Kind::Missing, format!("nothing in snapshot {id} fits --include and --exclude"))
        .hint(format!("`dedup ls {id}` lists what is in it"))
}

pub(super) fn cannot_use(target: &Path, error: &SinkError) -> Failure {
    let kind = match error {
        SinkError::Refused(_) => Kind::Refused,
        _ => Kind::Io,
    };
    let failure = Failure::of(kind, error);
    Failure { message: format!("cannot restore to {}: {}", target.display(), failure.message), ..failure }
}
