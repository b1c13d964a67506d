//! Files: every section of every module, below the root.

use super::root::Root;
use super::standing::path_item;
use super::{Run, RunError};
use crate::files::{Excludes, FilesOptions, FilesSource};
use crate::manifest::items::Item;
use crate::manifest::sections::SectionKind;
use crate::manifest::words::Words;
use dedup_engine::backup::{PartReport, PartRequest, Parts};
use dedup_engine::listing::StoredPath;
use dedup_engine::snapshot::{Account, Outcome, Section};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Run<'_, '_> {
    /// Stores the files of all members that still take part, and the plain paths.
    pub(super) fn read(&mut self, parts: &mut Parts<'_>, root: &Root) -> Result<(), RunError> {
        for at in self.members_in() {
            for section in SectionKind::WORDS.iter().map(|(_, section)| *section) {
                self.unless_cancelled()?;
                self.section(parts, root, at, section)?;
            }
        }
        self.paths(parts)
    }

    fn section(
        &mut self,
        parts: &mut Parts<'_>,
        _root: &Root,
        at: usize,
        section: SectionKind,
    ) -> Result<(), RunError> {
        let member = &self.job.members[at];
        let items: Vec<&Item<'_>> = member.items.iter().filter(|item| item.section == section).collect();
        if items.is_empty() {
            return Ok(());
        }
        let roots: Vec<PathBuf> = items.iter().map(|item| item.path.clone()).collect();
        let patterns = member.manifest.exclude.effective().map(|pattern| ("[exclude]", pattern));
        let excludes = match Excludes::parse(patterns) {
            Ok(excludes) => excludes,
            Err(error) => {
                self.standings[at].fail(error.to_string());
                return Ok(());
            }
        };
        let options = FilesOptions {
            excludes,
            skip: self.job.skip.to_vec(),
            ..FilesOptions::new(self.job.scratch_dir.to_owned())
        };
        let source = match FilesSource::new(&roots, options) {
            Ok(source) => source,
            Err(error) => {
                self.standings[at].fail(error.to_string());
                return Ok(());
            }
        };
        let request = PartRequest {
            module: member.id().as_str(),
            section: of_engine(section),
            parent: self.job.parent,
            sources: None,
        };
        let report = parts.store(&source, &request)?;
        report.enter(&mut self.accounts[at]);
        for item in items {
            let (outcome, message) = outcome(&report, &item.path, item.optional);
            self.item(at, path_item(section, &item.path), outcome, message);
        }
        if report.totals.problems > 0 {
            self.standings[at].warn(problems_text(&report));
        }
        Ok(())
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
        self.paths_account = Some(account);
        Ok(())
    }
}

/// Returns what became of a declared path.
fn outcome(report: &PartReport, path: &Path, optional: bool) -> (Outcome, String) {
    let place = StoredPath::from_slashes(path.as_os_str().as_bytes());
    match place.and_then(|place| report.outcome(&place).map(|(outcome, why)| (outcome, why.to_owned()))) {
        Some((Outcome::Absent, why)) if optional => (Outcome::SkippedByChoice, format!("optional: {why}")),
        Some(found) => found,
        None => (Outcome::Stored, String::new()),
    }
}

fn problems_text(report: &PartReport) -> String {
    match report.totals.problems {
        1 => "one entry could not be stored as it is".into(),
        n => format!("{n} entries could not be stored as they are"),
    }
}

/// Returns the engine's word for a section.
pub(super) fn of_engine(section: SectionKind) -> Section {
    match section {
        SectionKind::Config => Section::Config,
        SectionKind::Data => Section::Data,
        SectionKind::Secrets => Section::Secrets,
    }
}
