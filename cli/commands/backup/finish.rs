//! What follows a backup of modules once its snapshot is there: further storages, verification, retention, hooks at the end
//! of the job, the record (steps 14 to 18).

use super::copies::Copies;
use super::job::{JobRun, is_complete};
use super::retain::ForgetIn;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::record;
use dedup_engine::backup::RunReport;
use dedup_engine::check::{Extent, Severity as Found, written};
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::planted::{Bug, planted};
use dedup_engine::repo::Repository;
use dedup_modules::backup::BackupOutcome;
use dedup_modules::job::after::After;
use dedup_modules::job::ends::Ends;
use dedup_modules::job::retention::{RunEnd, Spared, retention};
use dedup_modules::machine::Machine;
use dedup_modules::manifest::job::VerifyAfter;
use dedup_modules::manifest::programs::Severity;
use dedup_modules::undo::Undoing;
use serde_json::{Value, json};

/// Findings of a verification that are told.
const TOLD: usize = 10;

/// What follows a backup works with this.
pub struct Finish<'f> {
    pub ctx: &'f Context,
    pub repo: &'f Repository,
    pub machine: &'f Machine<'f>,
    pub job: Option<&'f JobRun>,
    pub host: &'f str,
}

impl Finish<'_> {
    /// Does what follows the snapshot of a run that ended so; returns how it stands then. `whole`: nothing was left out.
    pub fn follow(
        &self,
        outcome: &BackupOutcome,
        exit: Exit,
        whole: bool,
        after: &mut After,
    ) -> Result<Exit, Failure> {
        after.hooks.clone_from(&outcome.published_ends);
        let (Some(job), Some(id)) = (self.job, outcome.report.snapshot) else { return Ok(exit) };
        let verified = self.verify(job, &id, &outcome.report, after);
        if after.suspect.is_some() {
            // At once: a process that dies now must not leave it unsaid.
            self.record(&outcome.report, after);
        }
        // After the verification: what it finds damaged goes nowhere.
        let copied = Copies { finish: self, job }.make(&id, after)?;
        let exit = exit.merge(verified).merge(copied);
        let made = Some((id, outcome.report.state));
        // Not the status: warned accounts end with 3 as well, and do not keep retention back.
        let whole = whole
            && outcome.left_undone.is_empty()
            && after.hooks.iter().all(|hook| hook.why.is_none())
            && copied == Exit::Complete
            && matches!(verified, Exit::Complete);
        self.retain(job, &RunEnd { made, whole, suspect: after.suspect.is_some() });
        Ok(exit)
    }

    /// Reads again what was written (step 15).
    fn verify(&self, job: &JobRun, id: &ObjectId, report: &RunReport, after: &mut After) -> Exit {
        let now = self.ctx.now();
        let extent = match job.job.verify {
            VerifyAfter::Off => return Exit::Complete,
            _ if planted(Bug::VerifyNothing) => return Exit::Complete,
            VerifyAfter::Sample => {
                let seed = now.secs.unsigned_abs().rotate_left(32) ^ u64::from(now.nanos);
                Extent::Sample(seed ^ u64::from(std::process::id()))
            }
            VerifyAfter::All => Extent::All,
        };
        let threads = self.ctx.threads();
        match written(self.repo, id, &report.packs, extent, threads, self.ctx.events()) {
            Ok(checked) if checked.is_sound() => {
                let packs =
                    format!("{} of {} packs it wrote were read again", checked.packs_read, checked.packs);
                self.machine.log.log(Severity::Info, None, &format!("verified: {packs}"));
                after.notes.push(format!("verified: {packs}"));
                Exit::Complete
            }
            Ok(checked) => {
                let damage = checked.findings.iter().filter(|finding| finding.severity == Found::Damage);
                for finding in damage.clone().take(TOLD) {
                    let text = format!("{}: {}", finding.object, finding.message);
                    self.machine.log.log(Severity::Critical, None, &text);
                }
                let first = damage.map(|finding| format!("{}: {}", finding.object, finding.message)).next();
                let first = first.unwrap_or_default();
                let more = checked.damage_total.saturating_sub(1);
                let and = if more > 0 { format!(", and {more} more") } else { String::new() };
                after.suspect = Some(format!("what this run wrote is damaged: {first}{and}"));
                Exit::Integrity
            }
            Err(error) if error.kind() == Kind::Cancelled => {
                self.warn("the verification was interrupted; nothing is known of what it did not reach");
                Exit::Interrupted
            }
            Err(error) => {
                let why = format!("what this run wrote could not be read again: {error}");
                self.machine.log.log(Severity::Critical, None, &why);
                after.suspect = Some(why);
                Exit::from(error.kind())
            }
        }
    }

    /// Forgets what the rules of the job do not keep (step 16).
    fn retain(&self, job: &JobRun, end: &RunEnd) {
        let asked = match retention(&job.job, self.host, job.begun, end) {
            Ok(asked) => asked,
            Err(Spared::NoRules) => return,
            Err(why) => return self.warn(&format!("nothing is removed by the rules of the job: {why}")),
        };
        match (ForgetIn { repo: self.repo, now: self.ctx.now() }).forget(&asked) {
            Ok(done) => {
                let text = format!("retention: {} kept, {} forgotten", done.kept, done.removed);
                self.machine.log.log(Severity::Info, None, &text);
                let hint = if done.removed > 0 { "; `dedup prune` frees their room" } else { "" };
                self.ctx.output.note(&format!("{text}{hint}"));
            }
            Err(why) => self.warn(&format!("retention failed: {why}")),
        }
    }

    /// Runs the hooks at the end of the job (step 18).
    pub fn end(
        &self,
        ends: Ends,
        undoing: &mut Undoing<'_>,
        result: &mut Result<Exit, Failure>,
        after: &mut After,
    ) {
        let well = result.as_ref().is_ok_and(|exit| is_complete(*exit));
        for hook in ends.run(well, self.machine, undoing) {
            if let (Ok(exit), true) = (&mut *result, hook.weighs) {
                *exit = exit.merge(Exit::Partial);
            }
            after.hooks.push(hook.ended);
        }
    }

    /// Writes what is to be said of the run beside its snapshot; a record that says the same is there already.
    pub fn record(&self, report: &RunReport, after: &After) {
        let (Some(session), Some(id)) = (report.session, report.snapshot) else { return };
        let Some(record) = after.record(id, self.ctx.now()) else { return };
        let known = self.repo.run_records(session).ok().and_then(|mut records| records.pop());
        let same = known.is_some_and(|known| {
            (known.verdict, &known.text, &known.hooks) == (record.verdict, &record.text, &record.hooks)
        });
        if same {
            return;
        }
        if let Err(error) = self.repo.add_run_record(session, &record) {
            self.warn(&format!("what is to be said of snapshot {} could not be stored: {error}", id.short()));
        }
    }

    pub(super) fn warn(&self, message: &str) {
        self.machine.log.log(Severity::Warning, None, message);
    }
}

/// Describes what was said of a run in JSON; `null` if nothing was.
pub fn record_json(after: &After) -> Value {
    if *after == After::default() {
        return Value::Null;
    }
    json!({
        "verdict": record::verdict_word(after.verdict()),
        "suspect": after.suspect,
        "owed": after.owed,
        "notes": after.notes,
        "hooks": after.hooks.iter().map(|hook| json!({ "name": hook.name, "status": hook.status })).collect::<Vec<_>>(),
    })
}
