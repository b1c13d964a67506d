//! Before anything is touched: all data verified, modules set up, and asked whether they could be restored.

use super::room::room;
use super::verify::verify;
use super::{End, RestoreError, Run};
use crate::hooks::{HookEnd, ResolvedHook, run_hook};
use crate::manifest::programs::Severity;
use crate::planted::{Bug, planted};
use crate::records::{RecordError, StoredSource};
use crate::setup::{SetupSpec, State};
use dedup_engine::error::Kind;
use dedup_engine::listing::{Node, StoredPath};
use dedup_engine::repo::RepoError;
use dedup_engine::restore::RestoreError as EngineError;
use dedup_engine::snapshot::{Dump, Form};

impl Run<'_, '_> {
    /// Reads and checks every byte that will be needed.
    pub(super) fn verify(&mut self) -> Result<(), RestoreError> {
        let mut reasons = Vec::new();
        for (at, subject) in self.job.subjects.iter().enumerate() {
            self.conduct.unless_cancelled()?;
            let select = |path: &StoredPath, _: &Node| subject.is_meant(path);
            let everything = |_: &StoredPath, _: &Node| true;
            let (threads, events) = (self.job.threads, self.job.events);
            let listings = subject.account.listings.iter().map(|listing| {
                let what = format!("section {}", listing.section.word());
                (what, verify(self.job.repo, &listing.root, &select, threads, events))
            });
            let is_listing = |dump: &&Dump| dump.form == Form::Listing;
            let dumps = subject.account.dumps.iter().filter(is_listing).map(|dump| {
                let what = format!("source {}", dump.name);
                (what, verify(self.job.repo, &dump.root, &everything, threads, events))
            });
            let mut wrong = None;
            for (what, verified) in listings.chain(dumps) {
                match verified {
                    Ok(report) if report.problems_total == 0 => {}
                    Ok(report) => {
                        self.damaged |= report.damaged > 0;
                        let first = report.problems.first();
                        let first =
                            first.map(|problem| format!("{}: {}", shown(&problem.path), problem.message));
                        wrong.get_or_insert(format!("{what}: {}", first.unwrap_or_default()));
                    }
                    Err(EngineError::Repo(RepoError::Cancelled)) => {
                        return Err(crate::conduct::Cancelled.into());
                    }
                    Err(error) => {
                        self.damaged |= error.kind() == Kind::Integrity;
                        wrong.get_or_insert(format!("{what}: {error}"));
                    }
                }
            }
            for dump in subject.account.dumps.iter().filter(|dump| dump.form == Form::Records) {
                let cancelled = || (self.conduct.machine.cancelled)();
                let verified =
                    StoredSource::open(self.job.repo, dump).and_then(|stored| stored.verify(&cancelled));
                match verified {
                    Ok(_) => {}
                    Err(RecordError::Cancelled) => return Err(crate::conduct::Cancelled.into()),
                    Err(error) => {
                        self.damaged |= error.kind() == Kind::Integrity;
                        wrong.get_or_insert(format!("source {}: {error}", dump.name));
                    }
                }
            }
            if let Some(why) = wrong {
                reasons.push(format!("{}: {why}", subject.account.module));
                self.puts[at].end = Some(End::Untouched);
                self.conduct.standings[at].fail(why);
            }
        }
        let all = reasons.len() == self.job.subjects.len();
        if !reasons.is_empty() && (all || !self.job.allow_partial) {
            return Err(RestoreError::Unverified { reasons, damaged: self.damaged });
        }
        Ok(())
    }

    /// Looks whether there is room for everything that will be written, beside what it replaces.
    pub(super) fn find_room(&mut self) -> Result<(), RestoreError> {
        let (job, state_dir) = (self.job, self.conduct.machine.state_dir);
        let mut rooms = room(job.repo, job.subjects, job.members, job.safety, state_dir);
        rooms.retain(|room| !room.is_there());
        if rooms.is_empty() { Ok(()) } else { Err(RestoreError::NoRoom { rooms }) }
    }

    /// Installs or upgrades what needs it: newer data must not meet an older program.
    pub(super) fn make_ready(&mut self) -> Result<(), RestoreError> {
        let asked = || std::net::UdpSocket::bind("0.0.0.0:0")?.connect("192.0.2.1:53");
        if planted(Bug::AskNetwork)
            && let Err(error) = asked()
        {
            let members = self.conduct.members_in();
            members.into_iter().for_each(|at| self.refuse(at, &error.to_string()));
        }
        for at in self.conduct.members_in() {
            self.conduct.unless_cancelled()?;
            let member = &self.job.members[at];
            if !self.job.setup || !member.manifest.restore.setup {
                continue;
            }
            let machine = self.conduct.machine;
            let ready = SetupSpec::of(&member.manifest.setup, member.variables).and_then(|setup| {
                let state = setup.state(machine)?;
                if state != State::Ready {
                    self.conduct.log(Severity::Notice, Some(member.id()), "it is set up first");
                }
                setup.make_ready(member.id(), state, machine)
            });
            if let Err(error) = ready
                && !planted(Bug::IgnoreSetup)
            {
                self.refuse(at, &format!("it cannot be set up: {error}"));
            }
        }
        Ok(())
    }

    /// Asks the modules themselves whether they could be restored; their programs change nothing.
    pub(super) fn check(&mut self) -> Result<(), RestoreError> {
        for at in self.conduct.members_in() {
            self.conduct.unless_cancelled()?;
            let member = &self.job.members[at];
            if let Err(why) = self.check_importer(at) {
                self.refuse(at, &format!("its importer says no: {why}"));
                continue;
            }
            for hook in &member.manifest.hooks.check {
                let resolved = ResolvedHook::of(hook, member.manifest, member.variables);
                let ended = resolved
                    .map_err(|error| error.to_string())
                    .map(|hook| run_hook(&hook, &self.conduct.context(Some(at), None), self.conduct.machine));
                match ended {
                    Ok(HookEnd::Done) => {}
                    Ok(HookEnd::Failed(_)) if planted(Bug::IgnoreCheck) => {}
                    Ok(HookEnd::SkipModule) => {
                        self.refuse(at, "its check ended with status 75: skip this module")
                    }
                    Ok(HookEnd::Failed(why)) | Err(why) => {
                        self.refuse(at, &format!("its check says no: {why}"))
                    }
                }
            }
        }
        Ok(())
    }

    /// Leaves a module out before anything of it was touched.
    fn refuse(&mut self, at: usize, why: &str) {
        self.conduct.log(Severity::Error, Some(self.job.members[at].id()), &format!("left out: {why}"));
        self.puts[at].end = Some(End::Untouched);
        self.conduct.standings[at].fail(why);
    }
}

fn shown(path: &StoredPath) -> String {
    String::from_utf8_lossy(&path.to_slashes()).into_owned()
}
