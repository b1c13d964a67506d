//! Files: every section of every module, below the root.

use super::root::Root;
use super::{BackupJob, Run, RunError};
use crate::conduct::{Cancelled, Standing, path_item};
use crate::files::{FilesOptions, FilesSource, ItemReport, Layout};
use crate::machine::Machine;
use crate::manifest::Manifest;
use crate::manifest::items::Item;
use crate::manifest::paths::Variables;
use crate::manifest::sections::SectionKind;
use crate::manifest::words::Words;
use crate::planted::{Bug, planted};
use dedup_engine::backup::{PartRequest, Parts};
use dedup_engine::snapshot::{Account, Outcome, Section, State};
use std::collections::BTreeSet;
use std::path::Path;

/// Places that an account names at most (`FORMAT.md` 12).
const MAX_SOURCES: usize = 4096;

/// What is read of one member, and where it is told.
pub(super) struct Reading<'r, 'a> {
    pub job: &'r BackupJob<'a>,
    pub machine: &'r Machine<'a>,
    /// The directory that stands for `/`.
    pub base: &'r Path,
    pub at: usize,
    pub standing: &'r mut Standing,
    pub account: &'r mut Account,
}

impl Run<'_, '_> {
    /// Stores the files of all members that still take part, and the plain paths.
    pub(super) fn read(&mut self, parts: &mut Parts<'_>, root: &Root) -> Result<(), RunError> {
        let members = self.job.members;
        for at in self.conduct.members_in() {
            let exported = self.exports[at].declared.take();
            let (manifest, variables) = match &exported {
                Some((manifest, variables)) => (manifest, variables),
                None => (members[at].manifest, members[at].variables),
            };
            let mut reading = Reading {
                job: self.job,
                machine: self.conduct.machine,
                base: root.base(),
                at,
                standing: &mut self.conduct.standings[at],
                account: &mut self.accounts[at],
            };
            reading.declared(parts, manifest, variables)?;
        }
        self.paths_account = paths(self.job, parts)?;
        Ok(())
    }
}

impl Reading<'_, '_> {
    /// Stores what is declared. Only now are links and patterns looked up in what is read.
    pub(super) fn declared(
        &mut self,
        parts: &mut Parts<'_>,
        manifest: &Manifest,
        variables: &Variables,
    ) -> Result<(), RunError> {
        self.unless_cancelled()?;
        match (manifest.layout(variables, self.base), manifest.items(variables)) {
            (Ok(layout), Ok(items)) => self.sections(parts, &layout, &items)?,
            (Err(error), _) => self.standing.fail(error.to_string()),
            (_, Err(error)) => self.standing.fail(error.to_string()),
        }
        Ok(())
    }

    fn unless_cancelled(&self) -> Result<(), Cancelled> {
        if (self.machine.cancelled)() { Err(Cancelled) } else { Ok(()) }
    }

    fn sections(
        &mut self,
        parts: &mut Parts<'_>,
        layout: &Layout,
        items: &[Item<'_>],
    ) -> Result<(), RunError> {
        let member = &self.job.members[self.at];
        // As they were found: a restore must know which of the listed places were meant, and which are only the way.
        let places = (0..items.len()).flat_map(|item| layout.places(item));
        let places = places.map(|place| [b"/", &place.to_slashes()[..]].concat());
        let sources: BTreeSet<Vec<u8>> = places.take(MAX_SOURCES).collect();
        self.account.sources = sources.into_iter().collect();
        for section in SectionKind::WORDS.iter().map(|(_, section)| *section) {
            if !items.iter().any(|item| item.section == section) {
                continue;
            }
            self.unless_cancelled()?;
            let options = FilesOptions {
                skip: self.job.skip.to_vec(),
                base: self.base.to_owned(),
                ..FilesOptions::new(self.job.scratch_dir.to_owned())
            };
            let source = FilesSource::of_section(layout, section.into(), options);
            let request = PartRequest {
                module: member.id().as_str(),
                section: section.into(),
                parent: self.job.parent,
                sources: None,
            };
            let report = parts.store(&source, &request)?;
            report.enter(self.account);
            let mut left = report.totals.problems;
            for item in source.reports() {
                left = left.saturating_sub(u64::from(self.tell_item(&items[item.declared], &item)));
            }
            if left > 0 {
                self.standing.warn(gaps_text(left));
            }
        }
        Ok(())
    }

    /// Takes what became of one declared path into the account; returns whether it is a gap itself.
    fn tell_item(&mut self, item: &Item<'_>, report: &ItemReport) -> bool {
        let name = path_item(item.section, &item.path);
        let (outcome, message) = match report.outcome {
            Outcome::Absent if item.optional => {
                (Outcome::SkippedByChoice, "optional, and not there".to_owned())
            }
            outcome => (outcome, report.message.clone()),
        };
        // A path that may be missing is a gap for the engine all the same.
        let is_gap = report.outcome.is_gap();
        if !planted(Bug::DropItem) {
            self.standing.outcome(name, outcome, message);
        }
        is_gap
    }
}

/// Stores the plain paths; returns their account.
pub(super) fn paths(job: &BackupJob<'_>, parts: &mut Parts<'_>) -> Result<Option<Account>, RunError> {
    let Some(paths) = &job.paths else { return Ok(None) };
    let request = PartRequest {
        module: "files",
        section: Section::Data,
        parent: job.parent,
        sources: Some(&paths.asked),
    };
    let report = parts.store(paths.source, &request)?;
    let mut account = Account { sources: paths.asked.clone(), ..Account::new("files") };
    report.enter(&mut account);
    if report.totals.problems > 0 {
        (account.state, account.reason) = (State::Warned, gaps_text(report.totals.problems));
    }
    Ok(Some(account))
}

pub(super) fn gaps_text(gaps: u64) -> String {
    match gaps {
        1 => "one entry could not be stored as it is".into(),
        n => format!("{n} entries could not be stored as they are"),
    }
}
