//! `dedup check --source`: compares a snapshot with what is on this machine now.

use super::choose;
use super::restore::{above_sources, cannot_use, not_there};
use crate::context::Context;
use crate::escape;
use crate::failure::Failure;
use crate::human;
use crate::output::complain;
use crate::select::{Filter, Selection};
use dedup_engine::backup::Problem;
use dedup_engine::listing::{Node, StoredPath};
use dedup_engine::progress::{Event, Events, Phase};
use dedup_engine::repo::Repository;
use dedup_engine::restore::{self, RestoreError, RestoreRequest};
use dedup_engine::snapshot::Section;
use dedup_modules::files::{CompareSink, SinkOptions};
use std::ffi::OsStr;
use std::path::Path;

/// Differences that are told by name.
const SHOWN: usize = 100;

/// What came of the comparison.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compared {
    /// Entries of the snapshot.
    pub entries: u64,
    /// Those that are missing or differ now, or cannot be read.
    pub differ: u64,
    /// Files whose content differs though their size and times do not.
    pub unnoticed: u64,
    /// Entries that the repository could not tell.
    pub damaged: u64,
}

/// A comparison is a restore that writes nothing; nobody should read that it restores.
struct Comparing<'a>(&'a dyn Events);

impl Events for Comparing<'_> {
    fn event(&self, event: Event) {
        self.0.event(match event {
            Event::Phase(_) => Event::Phase(Phase::Compare),
            event => event,
        });
    }

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// Compares everything that the snapshot has of files, of all modules.
pub fn run(ctx: &Context, repo: &Repository, wanted: &OsStr) -> Result<Compared, Failure> {
    let selection = Selection::parse(wanted)?;
    let chosen = choose(ctx, repo, &selection.wanted, &Filter::default())?;
    let root = Path::new("/");
    let mut sum = Compared::default();
    let mut shown = Vec::new();
    let mut found = false;
    let base = selection.path.unwrap_or_default();
    for account in &chosen.snapshot.accounts {
        let above = above_sources(account);
        let select = |path: &StoredPath, _: &Node| !above.contains(path);
        let opened = account
            .listings
            .iter()
            .filter(|listing| listing.section != Section::Secrets || repo.opens_secrets());
        for listing in opened {
            let sink =
                CompareSink::new(root, SinkOptions::default()).map_err(|error| cannot_use(root, &error))?;
            let request = RestoreRequest { base: base.clone(), select: &select, threads: ctx.threads() };
            let report = match restore::run(repo, &listing.root, &sink, &request, &Comparing(ctx.events())) {
                Err(RestoreError::NoSuchPath(_)) => continue,
                report => report?,
            };
            found = true;
            sum.entries += report.entries;
            sum.differ += report.problems_total;
            sum.unnoticed += sink.unnoticed();
            sum.damaged += report.damaged;
            let room = SHOWN - shown.len();
            shown.extend(report.problems.into_iter().take(room));
        }
    }
    ctx.progress.finish();
    if !found && base != StoredPath::root() {
        return Err(not_there(&base, &chosen));
    }
    if !ctx.output.json && sum.differ > 0 {
        tell(&chosen.id.short().to_string(), &shown, sum.differ);
    }
    Ok(sum)
}

fn tell(snapshot: &str, shown: &[Problem], total: u64) {
    complain(&format!("not as in snapshot {snapshot}: {}", human::count(total)));
    for problem in shown {
        let path = escape::name(&problem.path.to_slashes());
        complain(&format!("  /{path}: {}", escape::text(&problem.message)));
    }
    let told = shown.len() as u64;
    if total > told {
        complain(&format!("  … and {} more", human::count(total - told)));
    }
}
