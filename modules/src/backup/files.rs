//! Files: every section of every module, below the root.

use super::root::Root;
use super::{Run, RunError};
use crate::conduct::path_item;
use crate::files::{FilesOptions, FilesSource, ItemReport, Layout};
use crate::manifest::items::Item;
use crate::manifest::sections::SectionKind;
use crate::manifest::words::Words;
use dedup_engine::backup::{PartRequest, Parts};
use dedup_engine::planted::{Bug, planted};
use dedup_engine::snapshot::{Account, Outcome, Section, State};
use std::collections::BTreeSet;

/// Places that an account names at most (`FORMAT.md` 12).
const MAX_SOURCES: usize = 4096;

impl Run<'_, '_> {
    /// Stores the files of all members that still take part, and the plain paths.
    pub(super) fn read(&mut self, parts: &mut Parts<'_>, root: &Root) -> Result<(), RunError> {
        let members = self.job.members;
        for at in self.conduct.members_in() {
            self.conduct.unless_cancelled()?;
            // Only now: links and patterns are looked up in what is read.
            let exported = self.exports[at].declared.take();
            let (manifest, variables) = match &exported {
                Some((manifest, variables)) => (manifest, variables),
                None => (members[at].manifest, members[at].variables),
            };
            match (manifest.layout(variables, root.base()), manifest.items(variables)) {
                (Ok(layout), Ok(items)) => self.sections(parts, root, at, &layout, &items)?,
                (Err(error), _) => self.conduct.standings[at].fail(error.to_string()),
                (_, Err(error)) => self.conduct.standings[at].fail(error.to_string()),
            }
        }
        self.paths(parts)
    }

    fn sections(
        &mut self,
        parts: &mut Parts<'_>,
        root: &Root,
        at: usize,
        layout: &Layout,
        items: &[Item<'_>],
    ) -> Result<(), RunError> {
        let member = &self.job.members[at];
        // As they were found: a restore must know which of the listed places were meant, and which are only the way.
        let places = (0..items.len()).flat_map(|item| layout.places(item));
        let places = places.map(|place| [b"/", &place.to_slashes()[..]].concat());
        let sources: BTreeSet<Vec<u8>> = places.take(MAX_SOURCES).collect();
        self.accounts[at].sources = sources.into_iter().collect();
        for section in SectionKind::WORDS.iter().map(|(_, section)| *section) {
            if !items.iter().any(|item| item.section == section) {
                continue;
            }
            self.conduct.unless_cancelled()?;
            let options = FilesOptions {
                skip: self.job.skip.to_vec(),
                base: root.base().to_owned(),
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
            report.enter(&mut self.accounts[at]);
            let mut left = report.totals.problems;
            for item in source.reports() {
                left = left.saturating_sub(u64::from(self.tell_item(at, &items[item.declared], &item)));
            }
            if left > 0 {
                self.conduct.standings[at].warn(gaps_text(left));
            }
        }
        Ok(())
    }

    /// Takes what became of one declared path into the account; returns whether it is a gap itself.
    fn tell_item(&mut self, at: usize, item: &Item<'_>, report: &ItemReport) -> bool {
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
            self.item(at, name, outcome, message);
        }
        is_gap
    }

    fn paths(&mut self, parts: &mut Parts<'_>) -> Result<(), RunError> {
        let Some(paths) = &self.job.paths else { return Ok(()) };
        let request = PartRequest {
            module: "files",
            section: Section::Data,
            parent: self.job.parent,
            sources: Some(&paths.asked),
        };
        let report = parts.store(paths.source, &request)?;
        let mut account = Account { sources: paths.asked.clone(), ..Account::new("files") };
        report.enter(&mut account);
        if report.totals.problems > 0 {
            (account.state, account.reason) = (State::Warned, gaps_text(report.totals.problems));
        }
        self.paths_account = Some(account);
        Ok(())
    }
}

pub(super) fn gaps_text(gaps: u64) -> String {
    match gaps {
        1 => "one entry could not be stored as it is".into(),
        n => format!("{n} entries could not be stored as they are"),
    }
}
