//! `dedup backup`: stores directory trees in a new snapshot.

mod asked;
mod copies;
mod finish;
mod job;
mod modules;
mod retain;
mod tell;
mod wanted;
mod whole;

use super::{choose, space_back};
use crate::context::{Context, this_host, this_user};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human::{self, stored_time};
use crate::select::{Filter, Selection};
use crate::{problems, sizes};
use dedup_engine::backup::{self, BackupReport, BackupRequest, Parent, RunRequest};
use dedup_engine::compress::Level;
use dedup_engine::error::Kind;
use dedup_engine::listing::StoredPath;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::State;
use dedup_modules::files::{Excludes, FilesOptions, FilesSource};
use jiff::Zoned;
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Back up files and directories
///
/// What the repository has already is not stored again. Files whose size and times have not changed since
/// the last snapshot of the same paths are not even read. An interrupted backup loses nothing: the next one
/// takes up what was stored.
///
/// Without a path, all modules are backed up that are declared and set up; see `dedup module list`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup backup ~/Documents /etc
  dedup backup / --one-file-system --exclude-caches --exclude '/var/tmp/*' --tag weekly
  dedup backup ~/Videos --compression off --exclude-larger-than 10G
  dedup backup ~/Documents --dry-run
  dedup backup                                   every module
  dedup backup -m wordpress -m mariadb
  dedup backup --full --comment 'before the upgrade'
  dedup backup --job nightly                     as /etc/dedup/jobs.d/nightly.toml says")]
pub struct BackupArgs {
    /// What to back up
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Leave out what matches, in the manner of .gitignore (repeatable)
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Leave out what matches a pattern of this file, one on each line (repeatable)
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// Leave out the contents of directories marked by a CACHEDIR.TAG
    #[arg(long)]
    exclude_caches: bool,
    /// Leave out files larger than this
    #[arg(long, value_name = "SIZE", value_parser = sizes::size)]
    exclude_larger_than: Option<u64>,
    /// Do not go into other file systems
    #[arg(long, short = 'x')]
    one_file_system: bool,
    /// Give the snapshot this tag (repeatable)
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Give the snapshot this host name instead of the machine's
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Give the snapshot this time instead of now: RFC 3339, or YYYY-MM-DD HH:MM with or without seconds
    #[arg(long, value_name = "TIME", value_parser = sizes::moment)]
    time: Option<Zoned>,
    /// Keep a comment with the snapshot
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    comment: String,
    /// Compare with this snapshot, or `none` to read every file [default: the last one of these paths]
    #[arg(long, value_name = "SNAPSHOT")]
    parent: Option<OsString>,
    /// How hard to compress: off, fast, default, better, best, or 1 to 22
    ///
    /// These are levels of zstd: fast is 1, better 9, best 19. The default is 3, and 1 for data that 3 makes hardly
    /// smaller.
    #[arg(long, value_name = "LEVEL", default_value = "default", value_parser = sizes::level)]
    compression: Level,
    /// Keep times of access
    #[arg(long)]
    with_atime: bool,
    /// The whole system, read from a snapshot of its file system: only where / is on btrfs
    ///
    /// Nothing stands still meanwhile, and modules take no part. Other file systems are not in it: that is told, and the exit
    /// status 3, unless --exclude leaves out what is in them ('/boot/*').
    #[arg(long, conflicts_with_all = ["paths", "modules", "one_file_system"])]
    full: bool,
    /// Only find out what would be stored, and of modules what would be run, dumped, locked and stopped
    ///
    /// Nothing of that is done. So nobody knows what dumps would hold: they are not counted.
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// End with status 4 if there were notices, such as files that vanished meanwhile
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    modules: wanted::ModuleArgs,
}

impl BackupArgs {
    /// Returns whether modules take part: named ones, or all when no path is named.
    pub fn is_about_modules(&self) -> bool {
        !self.full && (self.paths.is_empty() || !self.modules.modules.is_empty())
    }

    /// Returns whether something is stopped or made that must not stay if the process is killed.
    pub fn wants_guard(&self) -> bool {
        !self.dry_run && (self.full || self.is_about_modules())
    }
}

pub fn run(ctx: &Context, args: &BackupArgs) -> Result<Exit, Failure> {
    match &args.modules.job {
        Some(wanted) => job::run(ctx, args, wanted),
        None => store(ctx, args, None),
    }
}

/// Tells those whom a job names that the process of its run has died.
pub fn died(ctx: &Context, args: &BackupArgs, run: &str, failure: Failure) -> Result<(), Failure> {
    args.modules.job.as_ref().map_or(Ok(()), |wanted| job::died(ctx, args, wanted, run, failure))
}

/// Stores what is named, or what a job names.
fn store(ctx: &Context, args: &BackupArgs, job: Option<&job::JobRun>) -> Result<Exit, Failure> {
    let roots = args.paths.iter().map(|path| asked::absolute(path)).collect::<Result<Vec<_>, _>>()?;
    let missing: Vec<&PathBuf> = roots.iter().filter(|root| root.symlink_metadata().is_err()).collect();
    let wanted = job.map_or_else(|| args.modules.wanted(), |job| job.wanted(args));
    let custom = job.and_then(|job| job.custom.as_ref());
    let declared =
        args.is_about_modules().then(|| modules::Declared::read(ctx, wanted, custom)).transpose()?;
    if !roots.is_empty() && missing.len() == roots.len() {
        let named = missing.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(Failure::refused(format!("nothing of what is named can be found: {named}")));
    }
    let mut tags = args.tag.clone();
    tags.extend(job.iter().flat_map(|job| job.tags()));
    tags.sort();
    tags.dedup();
    let comment = match job {
        Some(job) if args.comment.is_empty() => job.job.comment.clone(),
        _ => args.comment.clone(),
    };
    asked::fits_a_snapshot(args, &tags, &comment)?;
    let excludes = asked::excludes(args)?;
    for path in &missing {
        ctx.output.warning(&format!("{} is not there; the snapshot will lack it", path.display()));
    }

    let repo = ctx.open_indexed()?;
    let skipped = Arc::new(Mutex::new(Vec::new()));
    let options = options(ctx, args, &repo, excludes, &skipped)?;
    let time = args.time.clone().unwrap_or_else(Zoned::now);
    let run = RunRequest {
        time: stored_time(time.timestamp()),
        utc_offset_minutes: i16::try_from(time.offset().seconds() / 60).unwrap_or(0),
        host: args.host.clone().unwrap_or_else(this_host),
        user: this_user(),
        program: concat!("dedup ", env!("CARGO_PKG_VERSION")).into(),
        tags,
        comment,
        level: args.compression,
        threads: ctx.threads(),
        dry_run: args.dry_run,
        elapsed: &|| ctx.elapsed(),
    };
    let sources: Vec<_> = roots.iter().map(|root| root.as_os_str().as_bytes().to_vec()).collect();
    let parent = parent(ctx, args, &repo)?;
    if args.full {
        return whole::run(ctx, args, &repo, &run, parent, options);
    }
    let source = FilesSource::new(&roots, options).map_err(|error| Failure::of(Kind::Refused, &error))?;
    if let Some(declared) = declared {
        let index_dir = ctx.index_dir(&repo)?;
        let beside = modules::Beside {
            request: run,
            parent,
            paths: (!roots.is_empty()).then_some((&source, sources)),
            missing: !missing.is_empty(),
            skip: own(ctx, &index_dir)?,
            scratch_dir: index_dir.parent().unwrap_or(&index_dir).to_owned(),
        };
        return declared.backup(ctx, args, &repo, beside, job);
    }
    let request = BackupRequest { run, module: "files".into(), sources, parent };
    let report = {
        let _operation = ctx.operation();
        backup::run(&repo, &source, &request, ctx.events())?
    };
    ctx.progress.finish();
    let skipped = skipped.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for path in &skipped {
        ctx.output.note(&format!("/{} is left out: it belongs to this program itself", shown(path)));
    }
    let noticed = args.strict && !(skipped.is_empty() && report.notices.is_empty());
    let exit = exit(&report, !missing.is_empty(), noticed);
    if ctx.output.json {
        print_json(ctx, args, &report, source.excluded(), exit)?;
    } else {
        print_text(ctx, args, &report, source.excluded())?;
    }
    Ok(exit)
}

fn options(
    ctx: &Context,
    args: &BackupArgs,
    repo: &Repository,
    excludes: Excludes,
    skipped: &Arc<Mutex<Vec<StoredPath>>>,
) -> Result<FilesOptions, Failure> {
    let index_dir = ctx.index_dir(repo)?;
    let skipped = Arc::clone(skipped);
    Ok(FilesOptions {
        excludes,
        exclude_caches: args.exclude_caches,
        one_file_system: args.one_file_system,
        larger_than_bytes: args.exclude_larger_than,
        skip: own(ctx, &index_dir)?,
        on_skip: Some(Arc::new(move |path: &StoredPath| {
            skipped.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        })),
        keep_atime: args.with_atime,
        ..FilesOptions::new(index_dir.parent().unwrap_or(&index_dir).to_owned())
    })
}

/// Returns what is this program's own and no data: the repository and its index, which change while a backup runs, and what
/// restores keep aside.
fn own(ctx: &Context, index_dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut own = vec![ctx.place()?.path, index_dir.to_owned()];
    own.extend(space_back::aside_places());
    Ok(own)
}

fn parent(ctx: &Context, args: &BackupArgs, repo: &Repository) -> Result<Parent, Failure> {
    let Some(text) = &args.parent else { return Ok(Parent::Auto) };
    if text == "none" {
        return Ok(Parent::None);
    }
    let selection = Selection::parse(text)?;
    if selection.path.is_some() {
        return Err(Failure::refused("--parent takes a whole snapshot, not a path of it"));
    }
    Ok(Parent::Snapshot(choose(ctx, repo, &selection.wanted, &Filter::default())?.id))
}

fn exit(report: &BackupReport, missing: bool, noticed: bool) -> Exit {
    let exit = match report.state {
        State::Complete => Exit::Complete,
        State::Warned | State::Partial | State::Skipped => Exit::Partial,
        State::Failed => Exit::Failed,
    };
    let gaps = if missing || !report.problems.is_empty() { Exit::Partial } else { Exit::Complete };
    exit.merge(gaps).merge(if noticed { Exit::Notices } else { Exit::Complete })
}

fn shown(path: &StoredPath) -> String {
    crate::escape::name(&path.to_slashes())
}

fn print_text(ctx: &Context, args: &BackupArgs, report: &BackupReport, excluded: u64) -> Result<(), Failure> {
    let (output, totals, elapsed) = (ctx.output, &report.totals, ctx.elapsed());
    problems::list(
        output,
        "not in the snapshot, or not as they should be",
        &report.problems,
        totals.problems,
    );
    if output.verbose > 0 {
        problems::list(output, "notices", &report.notices, report.notices.len() as u64);
    } else if !report.notices.is_empty() {
        let vanished = human::counted(report.notices.len() as u64, "notice", "notices");
        output.note(&format!("{vanished}, such as entries that vanished meanwhile; -v lists them"));
    }
    let counts = [
        (totals.files_new, "new"),
        (totals.files_changed, "changed"),
        (totals.files_unmodified, "unmodified"),
    ];
    let counts = counts.map(|(count, word)| format!("{} {word}", human::count(count))).join(", ");
    let left_out =
        if excluded > 0 { format!(" ({} left out)", human::count(excluded)) } else { String::new() };
    let stored = if args.dry_run { "would be stored" } else { "stored" };
    output.summary_line(format!("Files:   {counts}{left_out}"))?;
    let entries = human::counted(totals.entries, "entry", "entries");
    output.summary_line(format!("Source:  {} in {entries}", human::bytes(totals.bytes)))?;
    output.summary_line(format!("Read:    {}", human::bytes(totals.bytes_read)))?;
    output.summary_line(format!(
        "New:     {} after deduplication, {} {stored} after compression",
        human::bytes(totals.bytes_new),
        human::bytes(totals.bytes_stored)
    ))?;
    let rate = human::rate(totals.bytes_read, elapsed);
    output.summary_line(format!("Time:    {}, {rate} read", human::duration(elapsed)))?;
    match &report.snapshot {
        Some(id) => output.line(format!("snapshot {} saved", id.short()))?,
        None => output.line("nothing was stored (dry run)")?,
    }
    Ok(())
}

fn print_json(
    ctx: &Context,
    args: &BackupArgs,
    report: &BackupReport,
    excluded: u64,
    exit: Exit,
) -> Result<(), Failure> {
    let totals = &report.totals;
    Ok(ctx.output.object(&json!({
        "type": "summary",
        "snapshot_id": report.snapshot.map(|id| id.to_hex()),
        "parent_id": report.parent.map(|id| id.to_hex()),
        "state": super::snapshots::state_word(report.state),
        "dry_run": args.dry_run,
        "entries": totals.entries,
        "files_new": totals.files_new,
        "files_changed": totals.files_changed,
        "files_unmodified": totals.files_unmodified,
        "entries_excluded": excluded,
        "source_bytes": totals.bytes,
        "read_bytes": totals.bytes_read,
        "new_bytes": totals.bytes_new,
        "new_chunks": totals.chunks_new,
        "stored_bytes": totals.bytes_stored,
        "problems": totals.problems,
        "notices": report.notices.len(),
        "elapsed_seconds": ctx.elapsed().as_secs_f64(),
        "exit_code": exit.code(),
    }))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_never_exit_zero() {
        let report = |state| BackupReport {
            snapshot: None,
            state,
            parent: None,
            totals: Default::default(),
            problems: Vec::new(),
            notices: Vec::new(),
        };
        assert_eq!(exit(&report(State::Complete), false, false), Exit::Complete);
        assert_eq!(exit(&report(State::Complete), true, false), Exit::Partial);
        assert_eq!(exit(&report(State::Complete), false, true), Exit::Notices);
        assert_eq!(exit(&report(State::Warned), false, true), Exit::Partial);
        assert_eq!(exit(&report(State::Failed), true, true), Exit::Failed);
    }
}
